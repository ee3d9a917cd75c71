"""The calendar as weeks: what was published, what is due, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from board.context import BoardContext
from tasks.calendar.due import DueShot, local_midnight
from tasks.calendar.wording import plan_ahead
from tasks.persona.persona import Persona
from tasks.posts import post_store
from tasks.posts.post import Post

WEEKS = 5
MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True)
class CalendarEntry:
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
    entries: list[CalendarEntry] = field(default_factory=list)


@dataclass(frozen=True)
class CalendarWeeks:
    first: date
    days: list[list[Day]]
    problems: list[str]

    @property
    def earlier(self) -> date:
        return self.first - timedelta(weeks=WEEKS - 1)

    @property
    def later(self) -> date:
        return self.first + timedelta(weeks=WEEKS - 1)


def calendar_weeks(context: BoardContext, first: date, persona: str = "") -> CalendarWeeks:
    """Collect whole weeks from the Monday of the week that this day is in."""
    monday = first - timedelta(days=first.weekday())
    end = monday + timedelta(weeks=WEEKS)
    now = context.now()
    people, problems = context.read_personas()
    shown_people = [person for person in people if persona in ("", person.name)]
    entries = _post_entries(context, monday, end, persona)
    post_keys = {entry.post.key for entry in entries if entry.post}
    for person in shown_people:
        occurrences, mistakes = _due_between(context, person, monday, end)
        problems += mistakes
        begun = next((post.content.when for post in post_store.find(context.store, persona=person.name, limit=1)), now)
        # Occurrences before the persona's first post are not missing.
        entries += [
            _entry_of_due(due, now) for due in occurrences if due.key not in post_keys and due.when >= min(begun, now)
        ]
    today = now.astimezone(shown_people[0].calendar.zone if shown_people else UTC).date()
    days = {day: Day(day, day == today) for day in (monday + timedelta(days=n) for n in range(7 * WEEKS))}
    for entry in sorted(entries, key=lambda entry: entry.when.astimezone(UTC)):
        if entry.when.date() in days:
            days[entry.when.date()].entries.append(entry)
    all_days = list(days.values())
    return CalendarWeeks(
        monday, [all_days[at : at + 7] for at in range(0, len(all_days), 7)], list(dict.fromkeys(problems))
    )


def _post_entries(context: BoardContext, first: date, end: date, persona: str) -> list[CalendarEntry]:
    """List the posts, one day more on both sides: days begin at other times in other zones."""
    since, until = (datetime.combine(day, datetime.min.time(), UTC) for day in (first, end))
    day = timedelta(days=1)
    posts = post_store.find(context.store, persona=persona, since=since - day, until=until + day)
    return [
        CalendarEntry(post.persona, post.shot, post.content.when, post.state, post, post.content.caption)
        for post in posts
    ]


def _due_between(
    context: BoardContext, persona: Persona, first: date, end: date
) -> tuple[Sequence[DueShot], list[str]]:
    since, until = (local_midnight(persona, day).astimezone(UTC) - MOMENT for day in (first, end))
    published = post_store.last_published(context.store, persona.name)
    plan = plan_ahead(persona, since, until, published)
    return plan.due, [str(problem) for problem in plan.problems]


def _entry_of_due(due: DueShot, now: datetime) -> CalendarEntry:
    state = "missing" if due.when <= now else "due"
    return CalendarEntry(due.persona, due.shot, due.when, state, said=due.words.prompt)
