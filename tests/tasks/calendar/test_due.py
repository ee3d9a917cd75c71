"""What is due after a time off, and what an occurrence is called, counted as and seeded with."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.system.errors import UserError
from tasks.calendar.due import (
    MAX_MISSED,
    due_shots,
    due_with_problems,
    latest_occurrence,
    local_midnight,
    upcoming_shots,
)
from tests.support.calendars import entry, pip

DAY = timedelta(days=1)
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)  # a Monday
FORTY = NOON - 40 * DAY


def keys(found: list) -> list[str]:
    return [each.key.split("/", 1)[1] for each in found]


def test_a_due_shot_says_all_about_itself(tmp_path: Path) -> None:
    persona = pip(
        tmp_path, {"id": "walk", "when": "mon"}, timezone="Europe/Berlin", at="09:30", **{"from": date(2026, 11, 9)}
    )
    (found,) = due_shots(persona, NOON - DAY, NOON)
    assert (found.persona, found.shot, found.key) == ("pip", "walk", "pip/walk/2026-11-23")
    assert (found.when.isoformat(), found.count) == ("2026-11-23T09:30:00+01:00", 3)
    assert found.seed == 359080599  # somebody's pictures were made with it
    assert found.entry.size == "portrait"


# After a time off


@pytest.mark.parametrize(
    ("catch_up", "expected"),
    [
        ("skip", ["d/2026-11-23"]),
        ("latest", ["m/2026-10-31", "d/2026-11-23", "w/2026-11-19"]),
        ("all", None),
    ],
)
def test_catching_up_after_forty_days_off(catch_up: str, expected: list[str] | None, tmp_path: Path) -> None:
    shots = [{"id": "d"}, {"id": "w", "when": "thu"}, {"id": "m", "when": "last"}, {"id": "x", "when": "2027-01-01"}]
    found = due_shots(pip(tmp_path, *shots, at="09:00", catch_up=catch_up), FORTY, NOON)
    if expected is None:
        assert [len([each for each in found if each.shot == name]) for name in "dwmx"] == [40, 6, 1, 0]
    else:
        assert sorted(keys(found)) == sorted(expected)
    assert [each.when for each in found] == sorted(each.when for each in found)


def test_each_shot_has_its_own_way_of_catching_up(tmp_path: Path) -> None:
    shots = [{"id": name, "when": "tue", "catch_up": name} for name in ("skip", "latest", "all")]
    assert keys(due_shots(pip(tmp_path, *shots), FORTY, NOON)) == [
        *(f"all/2026-{day}" for day in ("10-20", "10-27", "11-03", "11-10")),
        "latest/2026-11-17",
        "all/2026-11-17",
    ]


def test_what_was_due_since_the_last_daily_run_is_not_missed(tmp_path: Path) -> None:
    """A shot at six in the evening is made by the run of the next morning, however little is caught up."""
    persona = pip(tmp_path, {"id": "evening", "when": "sun", "at": "18:00", "catch_up": "skip"})
    morning = NOON.replace(hour=9)
    assert keys(due_shots(persona, morning - DAY, morning)) == ["evening/2026-11-22"]
    assert due_shots(persona, morning - DAY, morning + 12 * timedelta(hours=1)) == []


def test_a_day_with_a_change_of_clocks_is_still_a_day(tmp_path: Path) -> None:
    persona = pip(tmp_path, {"catch_up": "skip", "at": "09:30", "when": "2026-10-24"}, timezone="Europe/Berlin")
    run = datetime(2026, 10, 25, 8, 0, tzinfo=UTC)  # nine o'clock, 24.5 hours later
    assert keys(due_shots(persona, run - 2 * DAY, run)) == ["s0/2026-10-24"]


def test_a_day_ago_is_a_day_ago_where_the_calendar_is_at_home(tmp_path: Path) -> None:
    persona = pip(tmp_path, {"catch_up": "skip", "at": "09:00", "when": "2026-11-22"}, timezone="Pacific/Auckland")
    due_at = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)  # nine o'clock in Auckland
    since = due_at - DAY
    assert keys(due_shots(persona, since, due_at + DAY - timedelta(minutes=1))) == ["s0/2026-11-22"]
    assert due_shots(persona, since, due_at + DAY) == []


def test_how_much_is_caught_up_has_a_bound_and_a_note(tmp_path: Path) -> None:
    persona = pip(tmp_path, {"catch_up": "all"}, {"when": "mon"}, **{"from": date(2026, 1, 1)})
    plan = due_with_problems(persona, NOON - 200 * DAY, NOON)
    daily = [each for each in plan.due if each.shot == "s0"]
    assert len(daily) == MAX_MISSED
    assert daily[-1].when.date() == NOON.date()
    assert [
        note.endswith(f"shot 's0': 140 occurrences are left out: {MAX_MISSED} at a time at most") for note in plan.notes
    ] == [True]


@given(
    days=st.integers(0, 60),
    catch_up=st.sampled_from(["skip", "latest", "all"]),
    when=st.sampled_from(["daily", "mon, thu", "every 9 days", "last"]),
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_catching_up_only_ever_leaves_out(days: int, catch_up: str, when: str, tmp_path: Path) -> None:
    persona = pip(tmp_path, {"when": when, "catch_up": catch_up, "at": "07:00"})
    every = upcoming_shots(persona, NOON - days * DAY, NOON).due
    kept = due_shots(persona, NOON - days * DAY, NOON)
    assert [each for each in every if each in kept] == kept
    today = [each for each in every if each.when > NOON - DAY]
    expected = {"all": every, "skip": today, "latest": today or every[-1:]}[catch_up]
    assert kept == expected


def test_an_empty_span_and_one_that_runs_backwards_hold_nothing(tmp_path: Path) -> None:
    persona = pip(tmp_path, {"when": "cron * * * * *"})
    assert due_shots(persona, NOON, NOON) == due_shots(persona, NOON, NOON - DAY) == []


# Keys, counts and seeds


def test_keys_stay_when_the_time_of_day_changes_and_hold_it_where_a_day_has_several(tmp_path: Path) -> None:
    assert keys(due_shots(pip(tmp_path, {}, at="05:00"), NOON - DAY, NOON)) == keys(
        due_shots(pip(tmp_path, {}, at="11:00"), NOON - DAY, NOON)
    )
    found = due_shots(pip(tmp_path, {"when": "cron 0 9,11 * * 1"}), NOON - DAY, NOON)
    assert keys(found) == ["s0/2026-11-23T0900", "s0/2026-11-23T1100"]


def test_a_count_depends_on_the_rule_alone(tmp_path: Path) -> None:
    persona = pip(tmp_path, {"when": "mon, wed"}, **{"from": date(2026, 11, 2)})
    counts = {each.key: each.count for each in upcoming_shots(persona, NOON - 60 * DAY, NOON + 60 * DAY).due}
    assert list(counts.values()) == list(range(1, len(counts) + 1))
    for each in due_shots(persona, NOON - DAY, NOON):
        assert each.count == counts[each.key] == 7


def test_seeds_differ_by_day_shot_and_base_seed_and_by_nothing_else(tmp_path: Path) -> None:
    def seeds(*shots: dict, **calendar: int) -> dict[str, int]:
        found = upcoming_shots(pip(tmp_path, *shots, **calendar), NOON - 50 * DAY, NOON).due
        return {each.key: each.seed for each in found}

    base = seeds({}, {})
    assert len(set(base.values())) == len(base) == 100
    assert base == seeds({"prompt": "another", "at": "01:00"}, {"when": "every 1 days"})
    assert not set(base.values()) & set(seeds({}, {}, seed=1).values())


def test_the_order_is_by_time_then_as_in_the_file(tmp_path: Path) -> None:
    shots = [{"id": "b"}, {"id": "a"}, {"id": "early", "at": "00:00"}]
    assert keys(due_shots(pip(tmp_path, *shots, at="09:00"), NOON - DAY, NOON)) == [
        "early/2026-11-23",
        "b/2026-11-23",
        "a/2026-11-23",
    ]


def test_a_bad_shot_keeps_no_other_from_being_due(tmp_path: Path) -> None:
    persona = pip(
        tmp_path, {"when": "cron 0 9 30 2 *"}, {}, {"sise": "square"}, {"until": date(2025, 1, 1)}, {"when": "mondy"}
    )
    plan = due_with_problems(persona, NOON - DAY, NOON)
    assert keys(plan.due) == ["s1/2026-11-23"]
    assert [(problem.shot, problem.key) for problem in plan.problems] == [
        ("s2", ""),
        ("s0", ""),
        ("s3", ""),
        ("s4", ""),
    ]
    sentences = [str(problem).removeprefix(f"{persona.file}: ") for problem in plan.problems]
    assert sentences[:3] == [
        "shot 's2': key sise is unknown: did you mean size?",
        "shot 's0': when = \"cron 0 9 30 2 *\" is never due from 2026-01-01: change when, from or until",
        "shot 's3': until = 2025-01-01 lies before from = 2026-01-01: change one of them",
    ]


def test_the_newest_occurrence_is_found_however_long_ago(tmp_path: Path) -> None:
    persona = pip(tmp_path, {}, **{"from": date(2000, 1, 1)})
    for when, expected in [
        ("daily", "2026-11-23"),
        ("last", "2026-10-31"),
        ("29", "2026-10-29"),
        ("2019-05-05", "2019-05-05"),
    ]:
        found = latest_occurrence(persona, entry(when, **{"from": "2000-01-01"}), NOON)
        assert found
        assert found.key == f"pip/s/{expected}"
    leap = latest_occurrence(persona, entry("cron 0 0 29 2 *", **{"from": "2000-01-01"}), NOON)
    assert leap
    assert leap.key == "pip/s/2024-02-29T0000"
    assert latest_occurrence(persona, entry("2027-01-01"), NOON) is None


def test_a_day_begins_at_midnight_where_there_is_one(tmp_path: Path) -> None:
    assert (
        local_midnight(pip(tmp_path, timezone="America/Havana"), date(2026, 3, 8)).isoformat()
        == "2026-03-08T01:00:00-04:00"
    )


def test_moments_need_a_time_zone(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="moments without a time zone"):
        due_shots(pip(tmp_path), datetime(2026, 1, 1), datetime(2026, 1, 2))


def test_a_fresh_process_with_another_hash_seed_gives_the_same_answer(tmp_path: Path) -> None:
    lists = tmp_path / "prompts" / "wildcards"
    persona = pip(tmp_path, {"prompt": "a {red|2::blue|} {{ season }} fox __place__", "caption": "{a|b|c} __place__"})
    lists.mkdir()
    (lists / "place.txt").write_text("here\nthere\n2::{every|no}where\n")
    code = f"""
from datetime import *
from pathlib import Path
from tasks.persona.persona import load_persona
from tasks.calendar.wording import plan_ahead
now = datetime(2026, 11, 23, 12, tzinfo=UTC)
for each in plan_ahead(load_persona(Path({str(persona.file)!r})), now - timedelta(40), now).due:
    print(each.key, each.seed, each.count, each.words)
"""
    answers = set()
    for seed in ("0", "1", "12345"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        answers.add(run.stdout)
    (answer,) = answers
    assert len(answer.splitlines()) == 40
    assert answer.splitlines()[0] == FIRST  # and the same between versions: somebody has read this prompt already


FIRST = (
    "pip/s0/2026-10-15 4261317759 288 ShotTexts(prompt='a blue autumn fox there', negative=None, caption='c there',"
    " alt='', hashtags=())"
)


def test_a_rule_in_error_has_no_newest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no rule"):
        latest_occurrence(pip(tmp_path), entry("now and then"), NOON)
