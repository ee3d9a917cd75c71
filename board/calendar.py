"""The calendar as weeks: what went out, what will, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from board.context import Desk
from tasks.calendar.due import Due, local_midnight
from tasks.calendar.wording import plan_ahead
from tasks.persona.persona import Persona
from tasks.posts import post_store
from tasks.posts.post import Post

WEEKS = 5
MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Entry:
    """A post, or an occurrence that has none yet."""

    persona: str
    shot: str
    when: datetime
    state: str
    """Of the post; `due` for what will be, `missing` for what should be there."""
    post: Post | None = None
    said: str = ""


@dataclass
class Day:
    date: date
    today: bool
    entries: list[Entry] = field(default_factory=list)


@dataclass(frozen=True)
class Weeks:
    first: date
    days: list[list[Day]]
    problems: list[str]

    @property
    def earlier(self) -> date:
        return self.first - timedelta(weeks=WEEKS - 1)

    @property
    def later(self) -> date:
        return self.first + timedelta(weeks=WEEKS - 1)


def weeks(desk: Desk, first: date, persona: str = "") -> Weeks:
    """Whole weeks from the Monday of the one that this day is in."""
    monday = first - timedelta(days=first.weekday())
    end = monday + timedelta(weeks=WEEKS)
    now = desk.now()
    people, problems = desk.personas()
    wanted = [each for each in people if persona in ("", each.name)]
    entries = _posts(desk, monday, end, persona)
    known = {each.post.key for each in entries if each.post}
    for each in wanted:
        made = _due(desk, each, monday, end)
        problems += made[1]
        begun = next((post.content.when for post in post_store.find(desk.store, persona=each.name, limit=1)), now)
        # Before its first post nobody expected any.
        entries += [_entry(due, now) for due in made[0] if due.key not in known and due.when >= min(begun, now)]
    today = now.astimezone(wanted[0].calendar.zone if wanted else UTC).date()
    days = {day: Day(day, day == today) for day in (monday + timedelta(days=n) for n in range(7 * WEEKS))}
    for found in sorted(entries, key=lambda each: each.when.astimezone(UTC)):
        if found.when.date() in days:
            days[found.when.date()].entries.append(found)
    flat = list(days.values())
    return Weeks(monday, [flat[at : at + 7] for at in range(0, len(flat), 7)], list(dict.fromkeys(problems)))


def _posts(desk: Desk, first: date, end: date, persona: str) -> list[Entry]:
    """A day more on both sides: days begin at other times elsewhere."""
    since, until = (datetime.combine(day, datetime.min.time(), UTC) for day in (first, end))
    day = timedelta(days=1)
    found = post_store.find(desk.store, persona=persona, since=since - day, until=until + day)
    return [Entry(each.persona, each.shot, each.content.when, each.state, each, each.content.caption) for each in found]


def _due(desk: Desk, persona: Persona, first: date, end: date) -> tuple[Sequence[Due], list[str]]:
    since, until = (local_midnight(persona, day).astimezone(UTC) - MOMENT for day in (first, end))
    published = post_store.last_published(desk.store, persona.name)
    plan = plan_ahead(persona, since, until, published)
    return plan.due, [str(each) for each in plan.problems]


def _entry(due: Due, now: datetime) -> Entry:
    state = "missing" if due.when <= now else "due"
    return Entry(due.persona, due.shot, due.when, state, said=due.words.prompt)
