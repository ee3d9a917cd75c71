"""Which shots of a persona's calendar are due, and what is missed after a time off. Nothing here knows the clock.

The same file, span and moment give the same answer, whenever it is asked for.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from models.system.errors import UserError
from tasks.calendar.recurrence import Occurrence, local_time, occurrences_between
from tasks.persona.calendar_section import CalendarShot
from tasks.persona.persona import Persona

MAX_MISSED = 60
"""Occurrences of one shot that are caught up at most; the newest count."""
MAX_AHEAD = 500
"""Occurrences of one shot that a look ahead shows."""
NOT_MISSED_WITHIN = timedelta(days=1)
"""What was due since the same time yesterday is not missed: the daily run comes once a day."""


@dataclass(frozen=True)
class ShotTexts:
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
        """Return caption and hashtags as they appear under the picture."""
        return "\n\n".join(part for part in (self.caption, " ".join(f"#{tag}" for tag in self.hashtags)) if part)


@dataclass(frozen=True)
class DueShot:
    """One occurrence of a calendar entry."""

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
    words: ShotTexts = ShotTexts()
    """Empty until `tasks.calendar.wording` has worded it."""
    init: Path | None = None
    """The picture file to start from."""
    init_key: str = ""
    """The occurrence whose picture to start from."""
    loras: tuple[tuple[Path, float], ...] = ()
    """The files of the LoRAs, and how much each of them counts."""


@dataclass(frozen=True)
class ShotProblem:
    """The reason why a shot cannot be made, in one sentence with its file and id."""

    shot: str
    text: str
    key: str = ""
    """The occurrence it is about; empty where it is about all of them."""

    def __str__(self) -> str:
        return self.text


@dataclass
class DuePlan:
    due: list[DueShot] = field(default_factory=list)
    """In order of time, then as in the file."""
    problems: list[ShotProblem] = field(default_factory=list)
    """The shots that cannot be made; the others are due all the same."""
    notes: list[str] = field(default_factory=list)
    """What was left out on purpose."""


def due_shots(persona: Persona, since: datetime, now: datetime) -> list[DueShot]:
    """Return what is due after `since`, up to and including `now`, by each shot's `catch_up`; invalid shots are left out."""
    return due_with_problems(persona, since, now).due


def upcoming_shots(persona: Persona, since: datetime, until: datetime) -> DuePlan:
    """Return everything that will be due after `since`, up to and including `until`; nothing counts as missed."""
    return _plan_span(persona, since, until, catching_up=False)


def due_with_problems(persona: Persona, since: datetime, now: datetime) -> DuePlan:
    """Return what `due_shots` returns, and what is wrong with the other shots."""
    return _plan_span(persona, since, now, catching_up=True)


def shot_message(persona: Persona, shot: str, text: object) -> str:
    """Return a sentence about a shot that names its file and the shot."""
    return f"{persona.file}: shot {shot!r}: {text}"


def latest_occurrence(persona: Persona, entry: CalendarShot, until: datetime) -> DueShot | None:
    """Return the last occurrence of a shot up to and including a moment."""
    start = until
    for days in (32, 400, 366 * 9):  # most shots come every month at least, and 29 February every eight years
        start = until - timedelta(days=days)
        occurrences = list(occurrences_between(entry, persona.calendar.zone, start, until))
        if occurrences:
            return _due_shot(persona, entry, occurrences[-1])
    return None


def _plan_span(persona: Persona, since: datetime, now: datetime, catching_up: bool) -> DuePlan:
    assert since.tzinfo and now.tzinfo, "moments without a time zone mean another time on every machine"
    broken = [(shot.id, shot_message(persona, shot.id, shot.problem)) for shot in persona.calendar.invalid_shots]
    plan = DuePlan(problems=[ShotProblem(shot, text) for shot, text in broken])
    for entry in persona.calendar.shots:
        try:
            occurrences = list(occurrences_between(entry, persona.calendar.zone, since, now))
        except UserError as error:
            plan.problems.append(ShotProblem(entry.id, shot_message(persona, entry.id, error)))
            continue
        selected = _caught_up(entry, occurrences, now) if catching_up else occurrences
        limit = MAX_MISSED if catching_up else MAX_AHEAD
        if len(selected) > limit:
            excess = len(selected) - limit
            plan.notes.append(
                shot_message(persona, entry.id, f"{excess} occurrences are left out: {limit} at a time at most")
            )
            selected = selected[-limit:] if catching_up else selected[:limit]
        plan.due += [_due_shot(persona, entry, occurrence) for occurrence in selected]
    plan.due.sort(key=lambda shot: shot.when.astimezone(UTC))
    return plan


def _caught_up(entry: CalendarShot, missed: list[Occurrence], now: datetime) -> list[Occurrence]:
    """Leave out the occurrences that were missed and are not to be made any more."""
    if entry.catch_up == "all" or not missed:
        return missed
    # By the clock on the wall: a day on which the clocks change is still a day.
    clock = now.astimezone(missed[0].when.tzinfo).replace(tzinfo=None)
    fresh = [occurrence for occurrence in missed if clock - occurrence.when.replace(tzinfo=None) < NOT_MISSED_WITHIN]
    return fresh or (missed[-1:] if entry.catch_up == "latest" else [])


def _due_shot(persona: Persona, entry: CalendarShot, occurrence: Occurrence) -> DueShot:
    key = f"{persona.name}/{entry.id}/{occurrence.name}"
    return DueShot(
        persona.name, entry.id, occurrence.when, key, occurrence.count, _seed_for(persona.calendar.seed, key), entry
    )


def _seed_for(base: int, key: str) -> int:
    """Derive the seed from the calendar's seed and the key, which holds persona, shot and occurrence."""
    return int.from_bytes(hashlib.sha256(f"{base} {key}".encode()).digest()[:4])


def local_midnight(persona: Persona, day: date) -> datetime:
    """Return the moment at which a day begins in the calendar's time zone."""
    return local_time(datetime.combine(day, datetime.min.time()), persona.calendar.zone)
