"""A board over a small studio, as a browser on this machine meets it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from board.app import create_app
from board.context import BoardContext
from tasks.settings.settings import LoadedSettings
from tests.support.studios import studio

HERE = "http://127.0.0.1:8420"
NOW = datetime(2026, 11, 23, 6, tzinfo=UTC)
PASSWORD = "correct horse — 🐎"


class Browser(TestClient):
    """Sends what a browser sends from a page of the board: its origin, and the token that stands in the page."""

    def do(self, path: str, body: Any = None, **headers: str) -> Any:
        known = {"origin": str(self.base_url).rstrip("/"), "x-restage-token": self.token()}
        return self.post(path, json={} if body is None else body, headers=known | headers)

    def token(self, page: str = "/posts") -> str:
        found = re.search(r'(?:restage-token" content|name="token" value)="([0-9a-f]+)"', self.get(page).text)
        return found[1] if found else ""

    def log_in(self, password: str, **more: str) -> Any:
        form = {"password": password, "token": self.token("/login"), **more}
        return self.post("/login", data=form, headers={"origin": str(self.base_url)}, follow_redirects=False)


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


Opened = Callable[..., Browser]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedSettings:
    return studio(tmp_path)


@pytest.fixture
def opened(loaded: LoadedSettings, clock: Clock) -> Iterator[Opened]:
    """Another browser, at a board of its own unless one is given."""
    clients = []

    def call(of: LoadedSettings = loaded, base: str = HERE, app: Any = None) -> Browser:
        app = app or create_app(replace(of, clock=lambda: NOW), clock=clock)
        clients.append(Browser(app, base_url=base, raise_server_exceptions=True, headers={"accept": "text/html"}))
        return clients[-1]

    yield call
    for client in clients:
        client.app.state.context.store.close()  # type: ignore[attr-defined]
        client.close()


@pytest.fixture
def browser(opened: Opened) -> Browser:
    return opened()


@pytest.fixture
def desk(browser: Browser) -> BoardContext:
    found: BoardContext = browser.app.state.context  # type: ignore[attr-defined]
    return found


@pytest.fixture
def locked(tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> Browser:
    """A board with a password."""
    from tasks.settings.settings import load_settings

    monkeypatch.setenv("RESTAGE_SECRETS__BOARD_PASSWORD", PASSWORD)
    studio(tmp_path)
    return opened(load_settings(tmp_path / "settings.toml"))
