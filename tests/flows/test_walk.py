"""The whole walk in a real browser: a form on Prefect's page, a run, its pictures, an approval, a publication, a folder."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from flows.serving.serve import find_addresses
from tasks.posts import post_store
from tasks.store.store import Store
from tests.flows.serving.test_serve import Serving, free_port, soon
from tests.flows.serving.test_supervisor import is_gone
from tests.flows.test_daily import SHOT, place, shots  # noqa: F401
from tests.support.walks import CHROMIUM, browser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux" or not shutil.which(CHROMIUM), reason="needs Chromium on Linux"),
]


@pytest.fixture
def serving(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:  # noqa: F811
    """A studio with a word and one shot that is due, and everything running."""
    for name in ("PREFECT_API_URL", "PREFECT_HOME"):
        monkeypatch.delenv(name, raising=False)
    with (place / "settings.toml").open("a") as file:
        file.write(f"[server]\nport = {free_port()}\n[board]\nport = {free_port()}\n")
    shots(place, SHOT)
    running = Serving(place)
    yield running
    for each in [*running.parts(), running.process.pid]:
        if not is_gone(each):
            os.killpg(each, signal.SIGKILL)
    running.process.wait()


def states(studio: Path) -> list[str]:
    with closing(Store.open("", studio)) as store:
        return [post.state for post in post_store.find(store)]


@pytest.mark.timeout(600)
def test_from_a_form_to_a_post(serving: Serving, place: Path) -> None:  # noqa: F811
    where, studio = find_addresses(serving.settings), place / "studio"
    assert soon(lambda: "scheduled" in {each["name"] for each in serving.deployments()}), serving.log.read_text()
    photos = os.environ.get("WALK_PHOTOS")
    with browser(where.prefect_url, where.review_url, Path(photos) if photos else None) as walk:
        for name in ("by-hand", "pip"):
            walk.form("daily", name)
            assert "The name of a file in prompts/" in walk.field("persona").inner_text()
            assert "leave them approved, whatever the settings say" in walk.field("dry_run").inner_text()
            assert walk.switch("dry_run").is_checked(), "who starts it by hand tries it first"
        walk.switch("dry_run").click()
        walk.photo("form")
        walk.submit()
        assert walk.end() == "Completed"
        walk.photo("run")
        shown = walk.artifacts()
        assert walk.pictures(shown["render-pip"])[0] > 100
        walk.photo("pictures")
        assert states(studio) == ["awaiting review"]

        walk.follow_to_review(shown["daily-pip"])
        walk.approve()
        walk.photo("approved")
        assert states(studio) == ["approved"]

        walk.form("publish", "by-hand")
        walk.submit()
        assert walk.end() == "Completed"
        assert states(studio) == ["approved"], "a dry run changes nothing"
        walk.form("publish", "by-hand")
        walk.switch("dry_run").click()
        walk.submit()
        assert walk.end() == "Completed"
        walk.photo("published")
    assert states(studio) == ["published"]
    (post,) = (studio / "posts").glob("*-pip-plain")
    assert {each.name for each in post.iterdir()} == {"1.jpg", "caption.txt", "post.json"}
    assert json.loads((post / "post.json").read_text())
    assert serving.end(signal.SIGTERM) == 0
