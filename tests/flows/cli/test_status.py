"""`restage status`: what is due, waiting, published and failing, and when the runs were and will be."""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.cli.init import Answers, write_starter_files
from flows.cli.status import collect_status, format_status, summarize_status
from models.system import file_lock
from tasks.posts import post_store
from tasks.settings.settings import load_settings
from tasks.store.store import Store
from tests.support.approved import approved, put

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)  # a Monday


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """With a server that nobody answers at."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("RESTAGE_SERVER__PORT", "1")
    write_starter_files(Answers(tmp_path, at="13:30"))
    yield tmp_path


def test_a_new_folder_has_a_calendar_and_no_database(folder: Path) -> None:
    found = collect_status(load_settings(), NOON)
    assert [each["when"] for each in found.due] == [
        "2026-11-23T13:30:00+00:00",
        "2026-11-25T13:30:00+00:00",
        "2026-11-27T13:30:00+00:00",
    ]
    assert found.next == {"pip": datetime(2026, 11, 23, 13, 30, tzinfo=UTC)}
    assert (found.runs_at, found.last) == ("", None)
    assert not (folder / "studio").exists(), "looking makes nothing"
    assert "nothing runs: restage serve" in format_status(found)[-1]


def test_every_post_is_where_it_belongs(folder: Path) -> None:
    known = load_settings()
    with closing(Store.open("", known.studio)) as store:
        put(store, known.studio, 1)
        approved(store, known.studio, 2)
        out = approved(store, known.studio, 3)
        post_store.change(store, out, "published", "restage", "sent")
        odd = post_store.change(store, approved(store, known.studio, 4), "preparing", "restage", "sending")
        post_store.change(store, odd, "needs a person", "restage", "asked", problem="Instagram asks who you are")
    found = collect_status(known, NOON)
    counts = [len(each) for each in (found.waiting, found.approved, found.published, found.trouble)]
    assert counts == [1, 1, 1, 1]
    text = "\n".join(format_status(found))
    assert re.search(r"1 to review: restage review", text)
    assert "needs a person  walk of pip: Instagram asks who you are" in text
    assert f"last published: walk of pip, {found.published[0].content.when:%Y-%m-%d}" in text
    said = summarize_status(found)
    assert [row["state"] for row in said["trouble"]] == ["needs a person"]
    assert json.dumps(said)


def test_what_has_a_post_is_not_due_any_more(folder: Path) -> None:
    known = load_settings()
    first = collect_status(known, NOON).due[0]
    with closing(Store.open("", known.studio)) as store:
        content = put(store, known.studio, 1).content
        post_store.create_post(store, first["key"], "pip", "weekdays", "square", content, [], "restage", "rendered")
    assert first not in collect_status(known, NOON).due


def test_a_persona_in_error_hides_nothing_else(folder: Path) -> None:
    (folder / "prompts" / "bad.toml").write_text("name = ")
    run = CliRunner().invoke(app, ["status", "--json"])
    assert run.exit_code == 0, run.output
    said = json.loads(run.stdout)
    assert "bad.toml" in said["problems"][0]
    assert said["due"]


def test_the_last_run_is_what_prefect_says(folder: Path, prefect: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect import flow
    from prefect.settings import PREFECT_API_URL

    @flow(name="daily", flow_run_name="day of pip")
    def day() -> None:
        pass

    day()
    api = PREFECT_API_URL.value()
    known = load_settings()
    with file_lock.hold_lock(known.studio / "serve.lock", {"prefect": api.removesuffix("/api")}):
        found = collect_status(known, NOON)
    assert found.runs_at == api.removesuffix("/api")
    last: dict[str, Any] = found.last or {}
    assert (last["name"], last["state"]) == ("day of pip", "Completed")
    assert "last run: day of pip, Completed" in "\n".join(format_status(found))
