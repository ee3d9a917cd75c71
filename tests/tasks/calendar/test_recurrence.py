"""When a shot is due, against a slow reference that looks at every minute of a few days."""

import calendar
import itertools
from bisect import bisect_left
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.system.errors import UserError
from tasks.calendar.recurrence import WEEKDAYS, local_time, occurrences_between, recurrence_of
from tasks.persona.calendar_section import LAST_DAY, CalendarShot
from tasks.settings import mistakes
from tests.support.calendars import entry

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour
    "America/Havana",  # at midnight
    "Africa/Casablanca",  # around Ramadan
    "Asia/Kathmandu",
    "Pacific/Apia",  # left out a whole day
]
# Days worth looking at: clocks change, the year ends, February has a 29th or not.
DAYS = [
    *(date(2026, *day) for day in [(3, 8), (3, 29), (4, 5), (10, 4), (10, 25), (11, 1), (12, 31), (2, 28), (2, 15), (3, 22)]),
    *(date(2027, *day) for day in [(1, 1), (3, 14), (3, 28), (11, 7)]),
    *(date(2028, *day) for day in [(2, 28), (2, 29), (3, 1), (2, 25)]),
    date(2011, 12, 30),
    date(2100, 2, 28),
]  # fmt: skip
Predicate = Callable[[datetime], bool]
"""Whether a rule names a minute of the clock on the wall."""


# The slow reference


def moments(zone: ZoneInfo, first: date, last: date) -> dict[datetime, datetime]:
    """What the clock shows, for the first time, at each minute of universal time."""
    shown: dict[datetime, datetime] = {}
    moment = datetime.combine(first - 2 * DAY, time(), UTC)
    while moment < datetime.combine(last + 3 * DAY, time(), UTC):
        shown.setdefault(moment.astimezone(zone).replace(tzinfo=None), moment)
        moment += MINUTE
    return shown


def slow(fits: Predicate, zone: ZoneInfo, start: date, first: date, last: date) -> list[tuple[datetime, int]]:
    """(universal time, count) of every minute that fits from `first` to `last`, counted from `start`."""
    shown = moments(zone, first, last)
    clocks = sorted(shown)
    found = []
    count = 0
    clock = datetime.combine(start, time())
    while clock.date() <= last:
        if fits(clock):
            count += 1
            if clock.date() >= first:
                found.append((shown[clocks[bisect_left(clocks, clock)]], count))
        clock += MINUTE
    return found


# Rules, each as a text and as a test of one minute


@st.composite
def cron_fields(draw: st.DrawFn, low: int, high: int, names: tuple[str, ...] = ()) -> tuple[str, set[int]]:
    """One field as text and as numbers: lists of numbers, ranges and steps."""

    def spelled(number: int) -> str:
        return (
            draw(st.sampled_from([str(number), names[number - low]]))
            if names and number - low < len(names)
            else str(number)
        )

    parts, values = [], set()
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["number", "range", "step", "star step"]))
        one, two = sorted((draw(st.integers(low, high)), draw(st.integers(low, high))))
        step = draw(st.integers(1, high))
        if kind == "number":
            parts.append(spelled(one))
            values.add(one)
        elif kind == "range":
            parts.append(f"{spelled(one)}-{spelled(two)}")
            values |= set(range(one, two + 1))
        elif kind == "step" and one < two:
            parts.append(f"{one}-{two}/{step}")
            values |= set(range(one, two + 1, step))
        else:
            parts.append(f"*/{step}")
            values |= set(range(low, high + 1, step))
    return ",".join(parts), values


MONTHS = ("jan", "FEB", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
SUNDAY_FIRST = ("sun", "mon", "TUE", "wed", "thu", "fri", "sat")


@st.composite
def crons(draw: st.DrawFn) -> tuple[str, Predicate]:
    def field(low: int, high: int, names: tuple[str, ...] = ()) -> tuple[str, set[int]]:
        return draw(st.one_of(st.just(("*", set(range(low, high + 1)))), cron_fields(low, high, names)))

    minute = draw(st.integers(0, 59))
    hour, hours = field(0, 23)
    day, days = field(1, 31)
    month, months = draw(st.one_of(st.just(("*", set(range(1, 13)))), cron_fields(1, 12, MONTHS)))
    weekday, weekdays = field(0, 7, SUNDAY_FIRST)
    both = day.startswith("*") or weekday.startswith("*")

    def fits(clock: datetime) -> bool:
        by_day, by_weekday = clock.day in days, bool({clock.isoweekday(), clock.isoweekday() % 7} & weekdays)
        of_day = by_day and by_weekday if both else by_day or by_weekday
        return clock.minute == minute and clock.hour in hours and clock.month in months and of_day

    return f"cron {minute} {hour} {day} {month} {weekday}", fits


@st.composite
def plain(draw: st.DrawFn, start: date, near: date) -> tuple[str, time, Predicate]:
    at = draw(st.one_of(st.times(), st.sampled_from([time(0), time(2, 30), time(1, 30), time(0, 15)])))
    at = time(at.hour, at.minute)
    kind = draw(st.sampled_from(["date", "daily", "weekdays", "every", "month days"]))
    days: Callable[[date], bool]
    if kind == "date":
        text, days = near.isoformat(), lambda day: day == near
    elif kind == "daily":
        text, days = "daily", lambda day: True
    elif kind == "weekdays":
        chosen = draw(st.sets(st.integers(0, 6), min_size=1))
        text = ", ".join(draw(st.sampled_from([WEEKDAYS[n], WEEKDAYS[n][:3].title()])) for n in sorted(chosen))
        days = lambda day: day.weekday() in chosen  # noqa: E731
    elif kind == "every":
        step = draw(st.integers(1, 40))
        text, days = f"every {step} days", lambda day: (day - start).days % step == 0
    else:
        numbers = draw(st.sets(st.integers(1, 31), min_size=1, max_size=4))
        last = draw(st.booleans())
        text = ",".join([*map(str, numbers), *(["last"] if last else [])])
        days = lambda day: day.day in numbers or (last and (day + DAY).day == 1)  # noqa: E731
    return text, at, lambda clock: clock.time() == at and days(clock.date())


def compare(shot: CalendarShot, fits: Predicate, zone: ZoneInfo, near: date) -> None:
    first, last = max(near - DAY, shot.from_), min(near + DAY, shot.until)
    expected = slow(fits, zone, shot.from_, first, last)
    since = datetime.combine(near - 3 * DAY, time(), UTC)
    try:
        found = list(occurrences_between(shot, zone, since, since + 7 * DAY))
    except UserError as error:
        assert "never due" in str(error)
        found = []
    within = [each for each in found if first <= date.fromisoformat(each.name[:10]) <= last]
    assert sorted((each.when.astimezone(UTC), each.count) for each in within) == sorted(expected)
    assert len({each.name for each in found}) == len(found)


@given(st.data(), st.sampled_from(ZONES), st.sampled_from(DAYS), st.integers(0, 40), st.integers(0, 3))
@settings(deadline=None, max_examples=50)
def test_every_plain_rule_is_due_as_the_slow_reference_says(
    data: st.DataObject, zone: str, near: date, before: int, after: int
) -> None:
    start = near - before * DAY
    text, at, fits = data.draw(plain(start, near))
    compare(entry(text, at=at, **{"from": start, "until": near + after * DAY}), fits, ZoneInfo(zone), near)


@given(crons(), st.sampled_from(ZONES), st.sampled_from(DAYS), st.integers(0, 20))
@settings(deadline=None, max_examples=50)
def test_every_cron_is_due_as_the_slow_reference_says(
    cron: tuple[str, Predicate], zone: str, near: date, before: int
) -> None:
    text, fits = cron
    compare(entry(text, **{"from": near - before * DAY}), fits, ZoneInfo(zone), near)


@given(
    st.sampled_from(ZONES),
    st.datetimes(datetime(2000, 1, 2), datetime(2100, 1, 1)),
    st.integers(1, 60),
    st.integers(0, 59),
)
@settings(deadline=None, max_examples=50)
def test_two_spans_in_a_row_give_what_one_gives(zone: str, start: datetime, days: int, split: int) -> None:
    """Nothing is due twice or never, wherever the day of a run ends."""
    begin = start.replace(tzinfo=UTC)
    middle, end = begin + split * days * DAY / 60, begin + days * DAY
    shot = entry("cron 30 1,2 * * *", **{"from": date(2000, 1, 1)})
    spans = [
        list(occurrences_between(shot, ZoneInfo(zone), *span))
        for span in ((begin, middle), (middle, end), (begin, end))
    ]
    assert spans[0] + spans[1] == spans[2]


# Cases that people ask about


def due(when: str, first: date, last: date, zone: str = "UTC", **values: Any) -> list[str]:
    shot = entry(when, **{"from": first, "until": last} | values)
    moments = occurrences_between(
        shot, ZoneInfo(zone), datetime(1999, 1, 1, tzinfo=UTC), datetime(2200, 6, 1, tzinfo=UTC)
    )
    return [f"{each.when:%Y-%m-%d %H:%M%z}" for each in moments]


def test_a_time_that_the_clocks_skip_moves_to_the_next_minute_there_is() -> None:
    assert due("daily", date(2026, 3, 28), date(2026, 3, 30), "Europe/Berlin", at="02:30") == [
        "2026-03-28 02:30+0100",
        "2026-03-29 03:00+0200",
        "2026-03-30 02:30+0200",
    ]
    assert due("daily", date(2026, 10, 4), date(2026, 10, 4), "Australia/Lord_Howe", at="02:10") == [
        "2026-10-04 02:30+1100"
    ]
    assert due("2011-12-30", date(2011, 12, 1), date(2011, 12, 31), "Pacific/Apia", at="09:00") == [
        "2011-12-31 00:00+1400"
    ]


def test_a_time_that_comes_twice_counts_once_the_first_time() -> None:
    assert due("daily", date(2026, 10, 25), date(2026, 10, 25), "Europe/Berlin", at="02:30") == [
        "2026-10-25 02:30+0200"
    ]
    assert due("cron 30 1 * * *", date(2026, 11, 1), date(2026, 11, 1), "America/New_York") == ["2026-11-01 01:30-0400"]


def test_days_that_not_every_month_has() -> None:
    year = (date(2027, 1, 1), date(2027, 12, 31))
    assert [day[5:10] for day in due("31", *year)] == ["01-31", "03-31", "05-31", "07-31", "08-31", "10-31", "12-31"]
    lasts = [f"{month:02}-{calendar.monthrange(2027, month)[1]}" for month in range(1, 13)]
    assert [day[5:10] for day in due("last", *year)] == lasts
    assert [day[:10] for day in due("cron 0 9 29 2 *", date(2096, 1, 1), date(2108, 1, 1))] == [
        "2096-02-29",
        "2104-02-29",
    ]
    assert due("last", date(2028, 2, 1), date(2028, 2, 29)) == ["2028-02-29 00:00+0000"]


def test_from_and_until_are_both_included_and_a_year_may_end_in_between() -> None:
    assert [day[:10] for day in due("every 3 days", date(2026, 12, 28), date(2027, 1, 3))] == [
        "2026-12-28",
        "2026-12-31",
        "2027-01-03",
    ]
    assert len(due("daily", date(2026, 12, 31), date(2027, 1, 1))) == 2


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("Mon", ["11-23"]),
        ("monday,THURSDAY", ["11-23", "11-26"]),
        ("  Every  2   Days ", ["11-22", "11-24", "11-26", "11-28"]),
        ("every 1 day", ["11-22", "11-23", "11-24", "11-25", "11-26", "11-27", "11-28"]),
        ("23, 25", ["11-23", "11-25"]),
        ("2026-11-24", ["11-24"]),
        ("cron 0 9 * * 7", ["11-22"]),
        ("cron 0 9 * * sun", ["11-22"]),
        ("cron 0 9 23 * mon-tue", ["11-23", "11-24"]),
        ("CRON 0 9 */5 11 *", ["11-26"]),
    ],
)
def test_spellings(when: str, expected: list[str]) -> None:
    assert [day[5:10] for day in due(when, date(2026, 11, 22), date(2026, 11, 28))] == expected


BAD = [
    ("mondy", "when = \"mondy\": 'mondy' is no weekday: did you mean mon?"),
    ("mon, xyzzy", "'xyzzy' is no weekday: write \"2026-12-24\", \"daily\""),
    ("now and then", 'when = "now and then" is no rule: write it as "2026-12-24", "daily", "mon, thu", "every 3 days"'),
    ("mon,", 'when = "mon," is no rule'),
    ("0", 'when = "0" names day 0 of the month: use 1 to 31, or last'),
    ("1, 32", "names day 32 of the month"),
    ("every 0 days", "names no number of days"),
    ("every days", "is no rule"),
    ("every -1 days", "is no rule"),
    ("2026-02-30", 'when = "2026-02-30" is no date: write it as "2026-12-24"'),
    ("2026-2-3", "is no date"),
    ("2025-12-24", 'when = "2025-12-24" is never due from 2026-01-01: change when, from or until'),
    ("2250-12-24", "is never due"),
    ("cron", "needs five fields after cron: minute hour day month weekday"),
    ("cron 0 0 9 * * *", "needs five fields"),
    ("cron 0 9 30 2 *", 'when = "cron 0 9 30 2 *" is never due from 2026-01-01: change when, from or until'),
    ("cron 0 9 31 4,6,9,11 *", "is never due"),
    ("cron 0 9 31 2 */2", "is never due"),
    ("cron 60 9 * * *", "bad minute"),
    ("cron 0 24 * * *", "bad hour"),
    ("cron 0 9 32 * *", "bad day-of-month"),
    ("cron 0 9 * 13 *", "bad month"),
    ("cron 0 9 * * 8", "bad day-of-week"),
    ("cron */0 9 * * *", "bad minute"),
    ("cron a b c d e", "bad day-of-month: see its five fields"),
    ("cron 5-1 9 * * *", "bad minute"),
    ("cron ,, 9 * * *", "bad minute"),
    ("1" * 5000, "when has 5000 characters: write it with at most 200"),
]  # fmt: skip


@pytest.mark.parametrize(("when", "sentence"), BAD)
def test_what_is_no_rule_is_told_in_one_sentence(when: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        recurrence_of(entry(when))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_end_before_the_beginning_and_a_span_without_a_day() -> None:
    with pytest.raises(UserError, match="until = 2026-01-31 lies before from = 2026-02-01: change one of them"):
        recurrence_of(entry("daily", **{"from": "2026-02-01", "until": "2026-01-31"}))
    with pytest.raises(UserError, match='when = "mon" is never due from 2026-11-24 to 2026-11-28'):
        recurrence_of(entry("mon", **{"from": "2026-11-24", "until": "2026-11-28"}))


@given(st.text(max_size=60) | st.text("0123456789*,-/ LWmontuefriday#", max_size=40).map("cron {}".format))
@settings(deadline=None, max_examples=200)
def test_any_text_is_a_rule_or_one_sentence(text: str) -> None:
    if not text.strip() or mistakes.control_character_problem(text):  # which the calendar does not take
        return
    try:
        found = recurrence_of(entry(text))
    except UserError:
        return
    assert next(found.between(date(2026, 1, 1), LAST_DAY))
    assert found.times == tuple(sorted(set(found.times)))


@given(st.sampled_from(ZONES), st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)))
@settings(deadline=None)
def test_a_settled_time_is_on_the_clock_and_never_early(zone: str, clock: datetime) -> None:
    clock = clock.replace(second=0, microsecond=0)
    when = local_time(clock, ZoneInfo(zone))
    shown = when.astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    assert shown == when.replace(tzinfo=None) >= clock
    assert when.fold == 0


def test_a_rule_of_every_minute_counts_fast_and_right() -> None:
    shot = entry("cron * * * * *")
    since = datetime(2035, 12, 31, 23, 58, tzinfo=UTC)
    found = list(occurrences_between(shot, ZoneInfo("UTC"), since, since + 3 * MINUTE))
    days = (date(2036, 1, 1) - date(2026, 1, 1)).days
    assert [each.count for each in found] == [days * 1440 + number for number in (0, 1, 2)]
    assert [each.name for each in found] == ["2035-12-31T2359", "2036-01-01T0000", "2036-01-01T0001"]
    assert all(two.count == one.count + 1 for one, two in itertools.pairwise(found))
