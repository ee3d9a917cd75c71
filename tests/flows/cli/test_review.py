"""`restage review`, `approve` and `reject` at the keyboard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flows.cli import app
from models.system.errors import UserError
from tasks.posts import post_store, review
from tasks.settings.settings import LoadedSettings
from tasks.store.store import Store
from tests.support.studios import put, studio


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadedSettings:
    monkeypatch.chdir(tmp_path)
    return studio(tmp_path)


@pytest.fixture
def one(loaded: LoadedSettings) -> Store:
    return Store.open("", loaded.studio)


def restage(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def test_it_lists_what_waits_and_says_where_the_page_is(one: Store, loaded: LoadedSettings) -> None:
    assert "nothing awaits review" in restage("review").stdout
    made, draft = put(one, loaded), put(one, loaded, "pip/walk/2026-11-24", problem="none passed: 3 blurred")
    said = restage("review").stdout
    assert made.id in said
    assert f"{draft.id}  draft" in said
    assert "none passed: 3 blurred" in said
    assert "1 post awaits review" in said
    assert "http://127.0.0.1:8420/" in said


def test_scripts_get_the_same(one: Store, loaded: LoadedSettings) -> None:
    made = put(one, loaded)
    found = json.loads(restage("review", "--json").stdout)
    assert [each["id"] for each in found["posts"]] == [made.id]
    assert found["posts"][0]["content"]["hash"] == made.content.hash
    one_post = json.loads(restage("review", made.id[:6], "--json").stdout)
    assert [each["state"] for each in one_post["history"]] == ["awaiting review"]
    assert [each["number"] for each in one_post["candidates"]] == [0, 1, 2]


def test_one_post_comes_with_all_that_is_known(one: Store, loaded: LoadedSettings) -> None:
    made = put(one, loaded)
    said = restage("review", made.key).stdout
    for part in (
        "Hello — “fox” 🦊",
        "#pip",
        "A fox in the snow.",
        "* candidate 0",
        "blurred: it is",
        "restage: awaiting",
    ):
        assert part in said


def test_posts_are_approved_by_name_or_all_together(one: Store, loaded: LoadedSettings) -> None:
    made = [put(one, loaded, f"pip/walk/2026-11-2{day}") for day in range(3, 6)]
    restage("approve", made[0].id[:6])
    assert restage("approve", "--all").stdout.count("  approved  ") == 2
    assert post_store.count(one) == {"approved": 3}
    assert post_store.history(one, made[0].id)[-1].by == review.user()
    assert "nothing awaits review" in restage("approve", "--all").stdout


def test_what_cannot_be_approved_is_told_and_the_others_are(one: Store, loaded: LoadedSettings) -> None:
    good, bad = put(one, loaded), put(one, loaded, "pip/walk/2026-11-24")
    restage("reject", bad.id, "--why", "the ears")
    result = restage("approve", bad.id, good.id, code=1)
    assert f"post {bad.id} is rejected" in result.stderr
    assert post_store.get_post(one, good.id).state == "approved"
    assert post_store.history(one, bad.id)[-1].why == "the ears"


@pytest.mark.parametrize("words", [["approve"], ["approve", "--all", "abcd"]])
def test_it_is_said_which_ones(words: list[str], loaded: LoadedSettings) -> None:
    with pytest.raises(UserError, match="name the posts to approve, or all of them"):
        restage(*words)
