"""The first page: posts that wait for a person, posts of today, and what to do if there are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from board.context import BoardContext
from board.post_card import WAITS, Card, build_card, day_and_time
from tasks.calendar.wording import plan_ahead
from tasks.persona.persona import Persona
from tasks.posts import post_store
from tasks.posts.post import Post
from tasks.posts.states import IN_FLIGHT
from tasks.training import versions

PER_PAGE = 10
MAX_DRAFTS = 50
AHEAD = timedelta(days=31)


@dataclass(frozen=True)
class NextStep:
    """Something that somebody could do next."""

    text: str
    command: str = ""


@dataclass(frozen=True)
class HomePage:
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
    steps: Sequence[NextStep]
    """What to do, where nothing waits."""
    problems: Sequence[str]


def home_page(context: BoardContext, number: int) -> HomePage:
    count = post_store.count(context.store)
    waiting = count.get("awaiting review", 0)
    offset = (number - 1) * PER_PAGE
    posts = post_store.find(context.store, ("awaiting review",), limit=PER_PAGE, offset=offset)
    people, problems = context.read_personas()
    return HomePage(
        trouble=post_store.find(context.store, WAITS, limit=PER_PAGE),
        waiting=[build_card(context, post) for post in posts],
        count=waiting,
        number=number,
        last=max(1, -(-waiting // PER_PAGE)),
        drafts=post_store.find(context.store, ("draft",), limit=MAX_DRAFTS) if number == 1 else [],
        approved=[build_card(context, post) for post in _posts_of_today(context)] if number == 1 else [],
        steps=() if waiting else _next_steps(context, people, sum(count.values())),
        problems=problems,
    )


def _posts_of_today(context: BoardContext) -> list[Post]:
    """List what is still to be published today, in each post's own time zone, and what is overdue."""
    now = context.now()
    posts = post_store.find(context.store, ("approved", *IN_FLIGHT), until=now + timedelta(days=1), limit=PER_PAGE)
    return [post for post in posts if post.content.when.date() <= now.astimezone(post.content.when.tzinfo).date()]


def _next_steps(context: BoardContext, people: Sequence[Persona], count: int) -> list[NextStep]:
    if not people:
        return [NextStep("There is no persona yet. Write one, and say who it is:", "restage new persona NAME")]
    steps = [step for persona in people if (step := _missing_step(context, persona))]
    if len(steps) < len(people):
        steps.append(_next_due_step(context, people))
        ready_persona = next(persona for persona in people if not _missing_step(context, persona))
        steps.append(NextStep("Make what is due now, or days ahead:", f"restage render {ready_persona.name} --days 7"))
    return steps


def _missing_step(context: BoardContext, persona: Persona) -> NextStep | None:
    """Return the step a persona needs before anything can be rendered of it, if any."""
    taught = versions.current_version(context.store, persona.name)
    if not taught and context.current_references(persona.name) is None:
        return NextStep(
            f"{persona.name} has no reference pictures yet. Make and choose them:", f"restage references {persona.name}"
        )
    if not taught:
        return NextStep(
            f"{persona.name} has references, and its word is still to be learned:", f"restage train {persona.name}"
        )
    if not persona.calendar.shots:
        return NextStep(f"{persona.name} has no calendar: say in {persona.file.name} what is due when, and look at it:",
                    f"restage calendar {persona.name}")  # fmt: skip
    return None


def _next_due_step(context: BoardContext, people: Sequence[Persona]) -> NextStep:
    now: datetime = context.now()
    due = [occurrence for persona in people for occurrence in plan_ahead(persona, now, now + AHEAD).due]
    if not due:
        return NextStep("Nothing is due in the next month.")
    first = min(due, key=lambda occurrence: occurrence.when)
    return NextStep(f"Next is {first.persona}'s {first.shot}, on {day_and_time(first.when)}.")
