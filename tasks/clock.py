"""The time. Code asks a clock that it was given; the machine's own is named at the edges, and in tests there is another."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]

CLOCK_DIFFERENCE = timedelta(minutes=20)
"""By so much the clocks of two machines may differ. A stamp further ahead comes from a wrong clock and counts for nothing."""


def system_clock() -> datetime:
    return datetime.now(UTC)


def clock_set_to(moment: datetime) -> Clock:
    """Give a clock that shows this moment now, and goes on from there."""
    ahead = moment - system_clock()
    return lambda: system_clock() + ahead


def is_from_a_wrong_clock(stamp: datetime, now: datetime) -> bool:
    """Tell whether a stamp lies in the future."""
    return stamp > now + CLOCK_DIFFERENCE
