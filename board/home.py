"""The first page: what waits for a person, what goes out today, and what to do where there is nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from board.context import Desk
from board.post_card import WAITS, Card, card, day_and_time
from tasks.calendar.wording import plan_ahead
from tasks.persona.persona import Persona
from tasks.posts import post_store
from tasks.posts.post import Post
from tasks.posts.states import IN_FLIGHT
from tasks.training import versions

PER_PAGE = 10
MOST_DRAFTS = 50
AHEAD = timedelta(days=31)


@dataclass(frozen=True)
class Step:
    """What somebody could do next."""

    text: str
    command: str = ""


@dataclass(frozen=True)
class Today:
    trouble: Sequence[Post]
    """What a person has to settle."""
    waiting: Sequence[Card]
    count: int
    """Of all that await review."""
    number: int
    last: int
    """Pages of them."""
    drafts: Sequence[Post]
    approved: Sequence[Card]
    """Those that go out today."""
    steps: Sequence[Step]
    """What to do, where nothing waits."""
    problems: Sequence[str]


def today(desk: Desk, number: int) -> Today:
    count = post_store.count(desk.store)
    waiting = count.get("awaiting review", 0)
    at = (number - 1) * PER_PAGE
    found = post_store.find(desk.store, ("awaiting review",), limit=PER_PAGE, offset=at)
    people, problems = desk.personas()
    return Today(
        trouble=post_store.find(desk.store, WAITS, limit=PER_PAGE),
        waiting=[card(desk, each) for each in found],
        count=waiting,
        number=number,
        last=max(1, -(-waiting // PER_PAGE)),
        drafts=post_store.find(desk.store, ("draft",), limit=MOST_DRAFTS) if number == 1 else [],
        approved=[card(desk, each) for each in _today(desk)] if number == 1 else [],
        steps=() if waiting else _steps(desk, people, sum(count.values())),
        problems=problems,
    )


def _today(desk: Desk) -> list[Post]:
    """What is still to go out on the day that it is where each post is at home, and what should have."""
    now = desk.now()
    found = post_store.find(desk.store, ("approved", *IN_FLIGHT), until=now + timedelta(days=1), limit=PER_PAGE)
    return [each for each in found if each.content.when.date() <= now.astimezone(each.content.when.tzinfo).date()]


def _steps(desk: Desk, people: Sequence[Persona], count: int) -> list[Step]:
    if not people:
        return [Step("There is no persona yet. Write one, and say who it is:", "restage new persona NAME")]
    steps = [step for each in people if (step := _missing(desk, each))]
    if len(steps) < len(people):
        steps.append(_next(desk, people))
        ready = next(each for each in people if not _missing(desk, each))
        steps.append(Step("Make what is due now, or days ahead:", f"restage render {ready.name} --days 7"))
    return steps


def _missing(desk: Desk, persona: Persona) -> Step | None:
    """What a persona needs before anything can be rendered of it."""
    taught = versions.current(desk.store, persona.name)
    if not taught and desk.references(persona.name) is None:
        return Step(
            f"{persona.name} has no reference pictures yet. Make and choose them:", f"restage references {persona.name}"
        )
    if not taught:
        return Step(
            f"{persona.name} has references, and its word is still to be learned:", f"restage train {persona.name}"
        )
    if not persona.calendar.shots:
        return Step(f"{persona.name} has no calendar: say in {persona.file.name} what is due when, and look at it:",
                    f"restage calendar {persona.name}")  # fmt: skip
    return None


def _next(desk: Desk, people: Sequence[Persona]) -> Step:
    now: datetime = desk.now()
    due = [each for persona in people for each in plan_ahead(persona, now, now + AHEAD).due]
    if not due:
        return Step("Nothing is due in the next month.")
    first = min(due, key=lambda each: each.when)
    return Step(f"Next is {first.persona}'s {first.shot}, on {day_and_time(first.when)}.")
