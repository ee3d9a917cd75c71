"""The time. Code is given a clock to ask; only the edges name the machine's own clock, and tests use another."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]

MAX_CLOCK_DIFFERENCE = timedelta(minutes=20)
"""Allowed difference between the clocks of two machines. A stamp further ahead comes from a wrong clock and is ignored."""


def system_clock() -> datetime:
    return datetime.now(UTC)


def clock_set_to(moment: datetime) -> Clock:
    """Return a clock that shows this moment now and runs on from there."""
    ahead = moment - system_clock()
    return lambda: system_clock() + ahead


def is_from_a_wrong_clock(stamp: datetime, now: datetime) -> bool:
    """Tell whether a stamp lies in the future."""
    return stamp > now + MAX_CLOCK_DIFFERENCE
