"""A day: what is due is made and left for review, what is approved goes out, and one does not stop the other."""

import json
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.daily import format_result, run_daily, summarize_result
from tasks.posts import post_store
from tasks.settings.settings import load_settings
from tasks.store.store import Store
from tests.flows.test_render import CALENDAR, HEAD, NOON, OPEN, PREVIEW, learn
from tests.support.approved import approved, put
from tests.support.calendars import toml

SHOT: dict[str, Any] = {"id": "plain", "prompt": "a photo of a red cat on the beach", "when": "daily"}


@pytest.fixture
def place(project: Path) -> Path:
    """Settings with gates that let everything through, a persona without shots, and a word."""
    with (project / "settings.toml").open("a") as file:
        file.write(
            "\n[gates]\n" + toml(OPEN | {"candidates": 1}) + '[publishing]\naccount = "pip_daily"\nquiet_hours = ""\n'
        )
    shots(project)
    learn(project)
    return project


def shots(place: Path, *found: dict[str, Any]) -> None:
    text = HEAD + PREVIEW + "[calendar]\n" + toml(CALENDAR)
    (place / "prompts").mkdir(exist_ok=True)
    (place / "prompts" / "pip.toml").write_text(text + "".join("[[calendar.shot]]\n" + toml(each) for each in found))


def states(place: Path) -> list[str]:
    with closing(Store.open("", place / "studio")) as store:
        return [post.state for post in post_store.find(store)]


def test_nothing_due_says_so_and_loads_nothing_heavy(place: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from flows.daily import format_result, run_daily;"
        " from tasks.settings.settings import load_settings; "
        "known = load_settings(); print(*format_result(run_daily('pip', known), known)); sys.exit('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "nothing is due\n"), run.stderr


def test_what_is_due_awaits_review_and_what_is_approved_goes_out(place: Path) -> None:
    shots(place, SHOT)
    known = load_settings(place / "settings.toml")
    with closing(Store.open("", known.studio)) as store:
        old = approved(store, known.studio, 1)
    done = run_daily("pip", known, now=NOON)
    assert done.failures == []
    assert [post.state for post in done.to_review] == ["awaiting review"]
    assert [each.post.id for each in done.published.last] == [old.id]
    assert sorted(states(place)) == ["awaiting review", "published"]
    assert "1 to review: restage review" in format_result(done, known)
    said = summarize_result(done)
    assert said["to review"] == [post.id for post in done.to_review]
    assert json.dumps(said)
    again = run_daily("pip", known, now=NOON)
    assert (again.rendered, again.published.outcomes) == (None, [])
    assert sorted(states(place)) == ["awaiting review", "published"]


def test_a_dry_run_publishes_nothing(place: Path) -> None:
    known = load_settings(place / "settings.toml")
    with closing(Store.open("", known.studio)) as store:
        approved(store, known.studio, 1)
    assert len(run_daily("pip", known, dry_run=True).published.last) == 1
    assert states(place) == ["approved"]


def test_what_cannot_be_made_does_not_keep_what_is_approved(place: Path) -> None:
    known = load_settings(place / "settings.toml")
    with closing(Store.open("", known.studio)) as store:
        approved(store, known.studio, 1)
    shots(place, SHOT | {"prompt": "{{ colour }}"})
    done = run_daily("pip", known, now=NOON)
    assert "colour" in done.failures[0]
    assert states(place) == ["published"]
    (place / "prompts" / "pip.toml").write_text("name = ")
    assert "not valid TOML" in run_daily("pip", known).failures[0]


def test_a_fault_of_a_driver_does_not_either(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no kernel image is available")

    shots(place, SHOT)
    known = load_settings(place / "settings.toml")
    with closing(Store.open("", known.studio)) as store:
        approved(store, known.studio, 1)
    monkeypatch.setattr("flows.daily.render_due", broken)
    with pytest.raises(RuntimeError, match="no kernel image"):
        run_daily("pip", known, now=NOON)
    assert states(place) == ["published"]


def test_only_who_says_so_has_posts_approved_without_a_person(place: Path) -> None:
    shots(place, SHOT)
    known = load_settings(place / "settings.toml")
    with closing(Store.open("", known.studio)) as store:
        waiting = put(store, known.studio, 7)
    with (place / "settings.toml").open("a") as file:
        file.write("[review]\nautomatic = true\n")
    done = run_daily("pip", load_settings(place / "settings.toml"), now=NOON)
    assert (len(done.approved), done.to_review) == (1, [])
    with closing(Store.open("", known.studio)) as store:
        assert post_store.get_post(store, waiting.id).state == "awaiting review", "made when a person was still asked"
        (event,) = [each for each in post_store.history(store, done.approved[0].id) if each.state == "approved"]
    assert event.by == "review.automatic"


def test_the_command_ends_with_1_where_something_could_not_be_made(place: Path) -> None:
    assert CliRunner().invoke(app, ["daily", "pip"]).exit_code == 0
    shots(place, SHOT | {"prompt": "{{ colour }}", "when": f"{datetime.now(UTC):%Y-%m-%d}", "at": "00:00"})
    run = CliRunner().invoke(app, ["daily", "pip", "--json"])
    assert run.exit_code == 1
    assert "colour" in json.loads(run.stdout)["problems"][0]


def test_the_flow_ends_as_failed_and_shows_the_day(place: Path, prefect: None) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    from flows.deployments import flow_for

    assert json.loads(flow_for("daily")("pip"))["problems"] == []
    (place / "prompts" / "pip.toml").write_text("name = ")
    with pytest.raises(RuntimeError, match="not valid TOML"):
        flow_for("daily")("pip")
    with get_client(sync_client=True) as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["daily-pip"]))
        shown = client.read_artifacts(artifact_filter=wanted)
    assert any("nothing is due" in each.data for each in shown)
    assert any("not valid TOML" in each.data for each in shown)
