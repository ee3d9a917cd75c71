"""Whatever is sent to the API, it is an answer and never a failure of the board; and nothing is approved by accident."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from board.app import create_app
from tasks.posts import post_store
from tests.board.conftest import HERE, Browser
from tests.support.studios import put, studio

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
EXAMPLES = 25


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    """With two posts, and whatever the tests make of them."""
    folder: Path = tmp_path_factory.mktemp("fuzz")
    loaded = studio(folder)
    browser = Browser(create_app(loaded), base_url=HERE)
    for day in (23, 24):
        put(browser.app.state.context.store, loaded, f"pip/walk/2026-11-{day}")  # type: ignore[attr-defined]
    return browser


@pytest.fixture(scope="module")
def described(board: Browser) -> Any:
    return schemathesis.openapi.from_asgi("/api/openapi.json", board.app, headers={"host": "127.0.0.1:8420"})


def test_anything_gets_an_answer(described: Any, board: Browser) -> None:
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) >= 12
    for operation in operations:
        _send(operation, board)
    assert not post_store.find(board.app.state.context.store, ("approved",))  # type: ignore[attr-defined]


def _send(operation: Any, board: Browser) -> None:
    headers = {"host": "127.0.0.1:8420", "origin": HERE, "x-restage-token": board.token()}

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @given(case=operation.as_strategy())
    def sent(case: Any) -> None:
        answer = case.call(headers=headers)
        assert answer.status_code < 500
        assert answer.status_code != 403, "then the API itself would not be reached"
        if answer.status_code >= 400:
            assert answer.json()["problem"]

    sent()
