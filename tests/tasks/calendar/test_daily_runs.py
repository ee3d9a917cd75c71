"""When daily runs start: the persona's own time counts more than the settings', and of missed ones only the newest."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.system.errors import UserError
from tasks.calendar.daily_runs import CronSchedule, daily_schedule, next_runs
from tasks.persona import persona
from tasks.persona.starter_file import write_starter_file
from tasks.settings.settings import LoadedSettings, load_settings

DAY = CronSchedule("0 9 * * *", "UTC")
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedSettings:
    """Three personas: one without a time of its own, one with both parts of it, one with half."""
    (tmp_path / "settings.toml").write_text('[schedule]\ncron = "30 7 * * *"\ntimezone = "Europe/Berlin"\n')
    for name, own in (("pip", ""), ("mara", 'cron = "0 20 * * 1-5"\ntimezone = "UTC"'), ("kit", 'cron = "0 6 * * *"')):
        with_schedule(tmp_path, name, own)
    return load_settings(tmp_path / "settings.toml")


def with_schedule(folder: Path, name: str, own: str) -> None:
    file = folder / "prompts" / f"{name}.toml"
    file.unlink(missing_ok=True)
    path = write_starter_file(name, folder)
    path.write_text(path.read_text().replace("[schedule]\n", f"[schedule]\n{own}\n"))


def test_the_persona_counts_more_than_the_settings(loaded: LoadedSettings) -> None:
    assert daily_schedule("pip", loaded) == ("30 7 * * *", "Europe/Berlin")
    assert daily_schedule("mara", loaded) == ("0 20 * * 1-5", "UTC")
    assert daily_schedule("kit", loaded) == ("0 6 * * *", "Europe/Berlin")


def test_a_persona_in_error_starts_at_the_usual_time(loaded: LoadedSettings) -> None:
    (loaded.folder / "prompts" / "mara.toml").write_text("name = ")
    assert daily_schedule("mara", loaded) == daily_schedule("pip", loaded)


def test_the_next_starts_come_in_order_of_time(loaded: LoadedSettings) -> None:
    saturday = datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert list(next_runs(loaded, saturday).items()) == [
        ("kit", datetime(2026, 11, 22, 6, tzinfo=BERLIN)),
        ("pip", datetime(2026, 11, 22, 7, 30, tzinfo=BERLIN)),
        ("mara", datetime(2026, 11, 23, 20, tzinfo=UTC)),
    ]


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ('cron = "0 9 * *"', r"mara\.toml: schedule\.cron = '0 9 \* \*' is not allowed: use five cron fields"),
        ('cron = "61 9 * * *"', "use five cron fields"),
        ('cron = "0 0 31 2 *"', "use five cron fields"),
        ('timezone = "Europe/Berln"', "use the name of a time zone, such as Europe/Berlin"),
        ('at = "09:00"', "key schedule.at is unknown here: put it in .calendar"),
    ],
)
def test_a_time_that_cannot_be_is_told_with_its_remedy(own: str, says: str, loaded: LoadedSettings) -> None:
    with_schedule(loaded.folder, "mara", own)
    with pytest.raises(UserError, match=says):
        persona.find_persona("mara", loaded.folder)


@pytest.mark.parametrize(
    ("after", "stale"),
    [(timedelta(hours=0), False), (timedelta(hours=23), False), (timedelta(hours=24), True), (timedelta(days=9), True)],
)
def test_a_run_whose_successor_is_due_is_not_worth_making(after: timedelta, stale: bool) -> None:
    scheduled = datetime(2026, 11, 20, 9, tzinfo=UTC)
    assert DAY.is_superseded(scheduled, scheduled + after) is stale


@given(
    days=st.lists(st.integers(0, 400), min_size=1, max_size=6, unique=True).map(sorted),
    late=st.timedeltas(timedelta(0), timedelta(hours=22)),
)
def test_after_an_outage_exactly_the_newest_run_is_made(days: Sequence[int], late: timedelta) -> None:
    first = datetime(2026, 1, 1, 8, 30, tzinfo=BERLIN)
    missed = [(first + timedelta(days=each)).astimezone(UTC) for each in range(days[0], days[-1] + 1)]
    now, times = missed[-1] + late, CronSchedule("30 8 * * *", "Europe/Berlin")
    assert [times.is_superseded(each, now) for each in missed] == [True] * (len(missed) - 1) + [False]
