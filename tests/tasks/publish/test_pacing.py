"""When posts may go out."""

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tasks.posts.post import Post
from tasks.publish.pacing import PacingRules, quiet_hours
from tasks.store.store import Store
from tests.support import approved

NINE = datetime(2026, 11, 23, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def post(tmp_path: Path) -> Post:
    store = Store.open("", tmp_path)
    made = approved.approved(store, tmp_path, 1, when=NINE)
    store.close()
    return made


def test_nothing_goes_out_before_it_is_due(post: Post) -> None:
    assert PacingRules().wait(post, NINE - HOUR, []) == (NINE, "it is not due yet")
    assert PacingRules().wait(post, NINE, []) is None


def test_what_is_late_stays(post: Post) -> None:
    week = PacingRules(late=timedelta(days=7))
    assert not week.too_late(post, NINE + timedelta(days=7))
    assert week.too_late(post, NINE + timedelta(days=7, seconds=1))
    assert not week.at_once.too_late(post, NINE + timedelta(days=700))


def test_posts_keep_their_distance(post: Post) -> None:
    pace = PacingRules(spacing=HOUR)
    assert pace.wait(post, NINE, [NINE - HOUR]) is None
    wait = pace.wait(post, NINE, [NINE - 3 * HOUR, NINE - HOUR / 2])
    assert wait == (NINE + HOUR / 2, "the account posted at 08:30")
    assert pace.at_once.wait(post, NINE, [NINE]) is None


def test_only_so_many_go_out_in_a_day(post: Post) -> None:
    sent = [NINE - timedelta(hours=each) for each in (30, 20, 10, 1)]
    assert PacingRules(daily_cap=4).wait(post, NINE, sent) is None
    assert PacingRules(daily_cap=3).wait(post, NINE, sent) == (NINE + 4 * HOUR, "3 posts went out within 24 hours")
    assert PacingRules(daily_cap=3).at_once.wait(post, NINE, sent) is not None
    assert PacingRules(daily_cap=3, spacing=30 * HOUR).full(NINE, sent[:-1]) is None, "the cap alone"


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.times(), end=st.times(), after=st.integers(0, 400_000))
@example(time(22), time(7), 13 * 3600)
def test_quiet_hours_end(post: Post, start: time, end: time, after: int) -> None:
    start, end = start.replace(second=0, microsecond=0), end.replace(second=0, microsecond=0)
    if start == end:
        return
    pace, now = PacingRules(quiet=(start, end)), NINE + timedelta(seconds=after)
    wait = pace.wait(post, now, [])
    minute = now.time()
    inside = start <= minute < end if start < end else not end <= minute < start
    assert (wait is not None) == inside
    if wait:
        assert wait[0].time() == end
        assert timedelta(0) < wait[0] - now <= timedelta(days=1)
        assert pace.wait(post, wait[0], []) is None


def test_quiet_hours_go_by_the_calendar(tmp_path: Path) -> None:
    store, berlin = Store.open("", tmp_path), ZoneInfo("Europe/Berlin")
    post = approved.approved(store, tmp_path, 1, when=NINE.astimezone(berlin))
    store.close()
    pace = PacingRules(quiet=(time(22), time(7)))
    wait = pace.wait(post, datetime(2026, 11, 24, 5, 30, tzinfo=UTC), [])
    assert wait and wait[0] == datetime(2026, 11, 24, 7, tzinfo=berlin)
    assert pace.wait(post, datetime(2026, 11, 24, 6, 30, tzinfo=UTC), []) is None


def test_quiet_hours_are_read() -> None:
    assert quiet_hours("22:00-07:00") == (time(22), time(7))
    assert quiet_hours("") is None
    with pytest.raises(ValueError):
        quiet_hours("22:00-22:00")
