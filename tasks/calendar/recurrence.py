"""When a shot is due: the days and times of day that the key `when` of the calendar stands for, in a time zone.

A rule knows days and times of day only. A time that the clocks skip moves to the next minute there is, one that comes
twice counts the first time.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from models.system.errors import UserError
from tasks.persona.calendar_section import LAST_DAY, CalendarShot, day_of
from tasks.settings import mistakes

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
FORMS = '"2026-12-24", "daily", "mon, thu", "every 3 days", "1, 15, last" or "cron 0 9 * * 1-5"'
MAX_LENGTH = 200
START = datetime(2000, 1, 1)
"""Some day: fields are read by themselves first, since a day that no month has is no mistake of its field."""
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
MARGIN = 2 * DAY
"""Local and universal dates differ by less, the day that Samoa left out included."""


@dataclass(frozen=True)
class Recurrence:
    between: Callable[[date, date], Iterator[date]]
    """The days from one to another, both included, in order."""
    times: tuple[time, ...]
    """The times on each of these days, in order."""
    timed: bool
    """Whether the times are part of the rule, and so of what an occurrence is called."""


@dataclass(frozen=True)
class Occurrence:
    """One time that a shot is due."""

    when: datetime
    """Local, in the calendar's time zone."""
    name: str
    """What it is called for ever: the day, and the time as well where the rule has several."""
    count: int
    """The how manieth since the shot's first day, from 1."""


def recurrence_of(shot: CalendarShot) -> Recurrence:
    """Return the recurrence that the shot's `when` describes. Errors leave out file and shot, which the caller adds."""
    if shot.until < shot.from_:
        raise UserError(f"until = {shot.until} lies before from = {shot.from_}: change one of them")
    recurrence = _read_rule(shot)
    if next(recurrence.between(shot.from_, shot.until), None) is None:
        span = f"from {shot.from_}" + ("" if shot.until == LAST_DAY else f" to {shot.until}")
        raise UserError(f'when = "{shot.when}" is never due {span}: change when, from or until')
    return recurrence


def occurrences_between(shot: CalendarShot, zone: ZoneInfo, since: datetime, now: datetime) -> Iterator[Occurrence]:
    """Yield the occurrences of a shot after `since`, up to and including `now`."""
    recurrence = recurrence_of(shot)
    since, now = since.astimezone(UTC), now.astimezone(UTC)
    first, last = since.date() - MARGIN, min(shot.until, now.date() + MARGIN)
    for place, day in enumerate(recurrence.between(shot.from_, last)):
        if day < first:
            continue
        for number, clock in enumerate(recurrence.times, 1):
            moment = local_time(datetime.combine(day, clock), zone)
            if since < moment.astimezone(UTC) <= now:
                name = f"{day}T{clock:%H%M}" if recurrence.timed else str(day)
                yield Occurrence(moment, name, place * len(recurrence.times) + number)


def local_time(clock: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment at which clocks in the zone show this time, or the next minute that they do show."""
    moment = clock.replace(tzinfo=zone, fold=0)
    while moment.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment.replace(tzinfo=None):
        moment += MINUTE  # on the clock face; no zone ever left out more than a day
    return moment


def _read_rule(shot: CalendarShot) -> Recurrence:
    text = " ".join(shot.when.lower().split())
    if len(text) > MAX_LENGTH:
        raise UserError(f"when has {len(text)} characters: write it with at most {MAX_LENGTH}, as {FORMS}")
    if re.match(r"cron\b", text):
        return _cron_recurrence(text.removeprefix("cron"), shot.when)
    return Recurrence(_days_that_fit(_day_test(text, shot)), (shot.at,), timed=False)


def _days_that_fit(fits: Callable[[date], bool]) -> Callable[[date, date], Iterator[date]]:
    def between(first: date, last: date) -> Iterator[date]:
        days = (last - first).days + 1
        return (day for day in (first + number * DAY for number in range(days)) if fits(day))

    return between


def _day_test(text: str, shot: CalendarShot) -> Callable[[date], bool]:
    """Return a function that tells whether a day is one of those that the text names."""
    if text == "daily":
        return lambda day: True
    if re.fullmatch(r"\d+-\d+-\d+", text):
        return _single_day_test(text)
    if every := re.fullmatch(r"every (\d{1,5}) days?", text, re.ASCII):
        step = int(every[1])
        if step < 1:
            raise UserError(f'when = "{shot.when}" names no number of days: write it as "every 3 days"')
        return lambda day: (day - shot.from_).days % step == 0
    parts = [part.strip() for part in text.split(",")]
    if all(re.fullmatch(r"\d+|last", part, re.ASCII) for part in parts):
        return _month_day_test(parts, shot.when)
    if all(part.isalpha() for part in parts):
        return _weekday_test(parts, shot.when)
    raise UserError(f'when = "{shot.when}" is no rule: write it as {FORMS}')


def _single_day_test(text: str) -> Callable[[date], bool]:
    the_day = day_of(text)
    if the_day is None:
        raise UserError(f'when = "{text}" is no date: write it as "2026-12-24"')
    return lambda day: day == the_day


def _month_day_test(parts: list[str], when: str) -> Callable[[date], bool]:
    days = {int(part) for part in parts if part != "last"}
    if wrong := sorted(days - set(range(1, 32))):
        raise UserError(f'when = "{when}" names day {wrong[0]} of the month: use 1 to 31, or last')
    last = "last" in parts
    return lambda day: day.day in days or (last and day.day == calendar.monthrange(day.year, day.month)[1])


def _weekday_test(parts: list[str], when: str) -> Callable[[date], bool]:
    numbers = {spelling: number for number, name in enumerate(WEEKDAYS) for spelling in (name[:3], name)}
    if wrong := next((part for part in parts if part not in numbers), None):
        close = mistakes.did_you_mean(wrong, [name[:3] for name in WEEKDAYS])
        raise UserError(f'when = "{when}": {wrong!r} is no weekday{close if "mean" in close else f": write {FORMS}"}')
    days = {numbers[part] for part in parts}
    return lambda day: day.weekday() in days


def _cron_recurrence(text: str, when: str) -> Recurrence:
    fields = text.split()
    if len(fields) != 5:
        raise UserError(
            f'when = "{when}" needs five fields after cron: minute hour day month weekday, as "cron 0 9 * * 1-5"'
        )
    minute, hour, day, month, weekday = fields
    try:
        CronSim(f"0 0 {day} * {weekday}", START)
        CronSim(f"0 0 1 {month} *", START)
        moments = CronSim(f"{minute} {hour} * * *", START - timedelta(seconds=1))
    except CronSimError as error:
        raise UserError(f'when = "{when}": {str(error)[:1].lower()}{str(error)[1:]}: see its five fields') from None
    times = []
    for moment in moments:
        if moment.date() > START.date():
            break
        times.append(moment.time())
    return Recurrence(_days_that_fit(_cron_days(day, month, weekday)), tuple(times), timed=True)


def _cron_days(day: str, month: str, weekday: str) -> Callable[[date], bool]:
    try:
        cron = CronSim(f"0 0 {day} {month} {weekday}", START)
    except CronSimError:  # no month has such a day, such as 30 February
        return lambda day: False
    return lambda day: day.month in cron.months and cron.match_day(day)
