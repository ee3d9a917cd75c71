"""A full disk, a place where nothing can be written, a clock that went back: one sentence, and nothing lost or done twice."""

import os
import resource
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.daily import run_daily
from tasks.posts import post_store
from tasks.publish.steps import has_work
from tasks.settings.settings import load_settings
from tasks.store.store import Store
from tests.flows.test_daily import SHOT, place, shots, states  # noqa: F401
from tests.flows.test_render import NOON
from tests.support.approved import approved

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and places as Linux has them")
RESTAGE = [sys.executable, "-P", "-c", "from flows.cli import main; main()"]
PICTURE = 4096
"""Bytes of the largest file that may still be written: no picture is so small, and SQLite's log has room for little."""


def restage(*words: str, largest: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
    def limited() -> None:
        if largest:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    more: dict[str, Any] = {"preexec_fn": limited, "env": os.environ | env}
    return subprocess.run([*RESTAGE, *words], capture_output=True, text=True, **more)


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_what_is_due_is_made_once_there_is_room(place: Path) -> None:  # noqa: F811
    shots(place, SHOT)
    full = restage("daily", "pip", largest=PICTURE)
    assert full.returncode == 1
    assert "Traceback" not in full.stderr
    assert "free space" in full.stdout + full.stderr
    assert states(place) == []
    assert restage("daily", "pip").returncode == 0
    assert states(place) == ["awaiting review"]


def test_an_unknown_persona_is_one_sentence_with_the_nearest_one(place: Path) -> None:  # noqa: F811
    run = restage("daily", "pipp")
    assert run.returncode == 1
    assert (run.stdout + run.stderr).count("\n") == 1
    assert "there is no persona 'pipp'" in run.stdout
    assert "did you mean pip?" in run.stdout


@pytest.mark.parametrize("words", [("daily", "pip"), ("serve",), ("status",)])
def test_where_nothing_can_be_written_one_sentence_says_so(words: tuple[str, ...], place: Path) -> None:  # noqa: F811
    run = restage(*words, RESTAGE_STORAGE__STUDIO="/sys/restage")
    assert "Traceback" not in run.stderr
    if words == ("status",):
        assert run.returncode == 0, "looking makes nothing"
    else:
        assert run.returncode == 1
        assert "/sys/restage" in run.stdout + run.stderr
        assert "check the rights" in run.stdout + run.stderr


@pytest.mark.slow
def test_a_clock_that_went_back_makes_and_sends_nothing_twice(place: Path) -> None:  # noqa: F811
    shots(place, SHOT)
    known, before = load_settings(place / "settings.toml"), NOON - timedelta(days=1)
    with closing(Store.open("", known.studio)) as store:
        approved(store, known.studio, 1)
    keys = []
    for now in (NOON, before, NOON):
        assert run_daily("pip", known, now=now).failures == []
        with closing(Store.open("", known.studio)) as store:
            keys.append([(post.key, post.state) for post in post_store.find(store)])
    assert len({key for key, _ in keys[-1]}) == len(keys[-1])
    assert set(keys[0]) <= set(keys[1])
    assert keys[1] == keys[2]
    assert [state for _, state in keys[-1]].count("published") == 1


def test_a_run_every_few_minutes_looks_at_what_may_go_out_and_at_nothing_else(place: Path) -> None:  # noqa: F811
    known = load_settings(place / "settings.toml")
    assert not has_work(known, NOON)
    with closing(Store.open("", known.studio)) as store:
        post = approved(store, known.studio, 1, when=NOON)
    late = timedelta(days=known.settings.publishing.late_days)
    for now, there in ((NOON - timedelta(minutes=1), False), (NOON, True), (NOON + late + timedelta(hours=1), False)):
        assert has_work(known, now) is there
    with closing(Store.open("", known.studio)) as store:
        post_store.change(store, post, "preparing", "restage", "a run that was killed")
    assert has_work(known, NOON - timedelta(days=1)), "what an ended run left is looked after at once"
