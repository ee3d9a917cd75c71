"""Which shots of a persona's calendar are due, and what is missed after a time off. Nothing here knows the clock.

The same file, span and moment give the same answer, whenever it is asked for.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from models.system.errors import UserError
from tasks.calendar.recurrence import Occurrence, occurrences, settled
from tasks.persona.calendar_section import CalendarShot
from tasks.persona.persona import Persona

MOST_MISSED = 60
"""Occurrences of one shot that are caught up at most; the newest count."""
MOST_AHEAD = 500
"""Occurrences of one shot that a look ahead shows."""
FRESH = timedelta(days=1)
"""What was due since the same time yesterday is not missed: the daily run comes once a day."""


@dataclass(frozen=True)
class Words:
    """The texts of one occurrence, as they go into the picture and onto the page."""

    prompt: str = ""
    negative: str | None = None
    """None: what the settings say."""
    caption: str = ""
    alt: str = ""
    hashtags: tuple[str, ...] = ()
    """Without the #."""

    @property
    def post_text(self) -> str:
        """Caption and hashtags, as they stand under the picture."""
        return "\n\n".join(part for part in (self.caption, " ".join(f"#{tag}" for tag in self.hashtags)) if part)


@dataclass(frozen=True)
class Due:
    """One shot at one time it is due."""

    persona: str
    shot: str
    """The id of the shot in the calendar."""
    when: datetime
    """Local, in the calendar's time zone."""
    key: str
    """Such as pip/monday-walk/2026-11-23. It never changes, so it says whether something was made already."""
    count: int
    """The how manieth time since the shot's first day."""
    seed: int
    """Of the first candidate."""
    entry: CalendarShot
    """What the calendar says of the shot: size, candidates, account and so on."""
    words: Words = Words()
    """Empty until `tasks.calendar.wording` has worded it."""
    init: Path | None = None
    """The picture file to start from."""
    init_key: str = ""
    """The occurrence whose picture to start from."""
    loras: tuple[tuple[Path, float], ...] = ()
    """The files of the LoRAs, and how much each of them counts."""


@dataclass(frozen=True)
class Problem:
    """Why a shot cannot be made, in one sentence with its file and id."""

    shot: str
    text: str
    key: str = ""
    """The occurrence it is about; empty where it is about all of them."""

    def __str__(self) -> str:
        return self.text


@dataclass
class Plan:
    due: list[Due] = field(default_factory=list)
    """In order of time, then as in the file."""
    problems: list[Problem] = field(default_factory=list)
    """The shots that cannot be made; the others are due all the same."""
    notes: list[str] = field(default_factory=list)
    """What was left out on purpose."""


def due(persona: Persona, since: datetime, now: datetime) -> list[Due]:
    """What is due after `since`, up to and including `now`, by each shot's way of catching up. Shots in error are left out."""
    return look(persona, since, now).due


def ahead(persona: Persona, since: datetime, until: datetime) -> Plan:
    """Everything that will be due after `since`, up to and including `until`; nothing counts as missed."""
    return _plan(persona, since, until, catching_up=False)


def look(persona: Persona, since: datetime, now: datetime) -> Plan:
    """What `due` gives, and what is wrong with the other shots."""
    return _plan(persona, since, now, catching_up=True)


def sentence(persona: Persona, shot: str, text: object) -> str:
    """About a shot, with its file."""
    return f"{persona.file}: shot {shot!r}: {text}"


def newest(persona: Persona, entry: CalendarShot, until: datetime) -> Due | None:
    """The last occurrence of a shot up to and including a moment."""
    start = until
    for days in (32, 400, 366 * 9):  # most shots come every month at least, and 29 February every eight years
        start = until - timedelta(days=days)
        found = list(occurrences(entry, persona.calendar.zone, start, until))
        if found:
            return _due(persona, entry, found[-1])
    return None


def _plan(persona: Persona, since: datetime, now: datetime, catching_up: bool) -> Plan:
    assert since.tzinfo and now.tzinfo, "moments without a time zone mean another time on every machine"
    broken = [(each.id, sentence(persona, each.id, each.problem)) for each in persona.calendar.broken]
    plan = Plan(problems=[Problem(shot, text) for shot, text in broken])
    for entry in persona.calendar.shots:
        try:
            found = list(occurrences(entry, persona.calendar.zone, since, now))
        except UserError as error:
            plan.problems.append(Problem(entry.id, sentence(persona, entry.id, error)))
            continue
        kept = _caught_up(entry, found, now) if catching_up else found
        most = MOST_MISSED if catching_up else MOST_AHEAD
        if len(kept) > most:
            left = len(kept) - most
            plan.notes.append(sentence(persona, entry.id, f"{left} occurrences are left out: {most} at a time at most"))
            kept = kept[-most:] if catching_up else kept[:most]
        plan.due += [_due(persona, entry, each) for each in kept]
    plan.due.sort(key=lambda each: each.when.astimezone(UTC))
    return plan


def _caught_up(entry: CalendarShot, found: list[Occurrence], now: datetime) -> list[Occurrence]:
    """Without those that were missed and are not to be made any more."""
    if entry.catch_up == "all" or not found:
        return found
    # By the clock on the wall: a day on which the clocks change is still a day.
    clock = now.astimezone(found[0].when.tzinfo).replace(tzinfo=None)
    fresh = [each for each in found if clock - each.when.replace(tzinfo=None) < FRESH]
    return fresh or (found[-1:] if entry.catch_up == "latest" else [])


def _due(persona: Persona, entry: CalendarShot, found: Occurrence) -> Due:
    key = f"{persona.name}/{entry.id}/{found.name}"
    return Due(persona.name, entry.id, found.when, key, found.count, _seed(persona.calendar.seed, key), entry)


def _seed(base: int, key: str) -> int:
    """Persona, shot and occurrence are in the key."""
    return int.from_bytes(hashlib.sha256(f"{base} {key}".encode()).digest()[:4])


def local_midnight(persona: Persona, day: date) -> datetime:
    """When a day begins where the calendar is at home."""
    return settled(datetime.combine(day, datetime.min.time()), persona.calendar.zone)
