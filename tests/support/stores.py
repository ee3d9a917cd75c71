"""Fixtures for tests that run the same on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import postgres

if TYPE_CHECKING:
    from tasks.store.store import Store

Opened = Callable[..., "Store"]


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    pytest.importorskip("psycopg", reason="PostgreSQL's driver is not installed")
    programs = postgres.programs()
    if programs is None:
        pytest.skip("there is no PostgreSQL server on this machine")
    with postgres.running(programs) as started:
        yield started


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """The address of a database that nobody has used yet."""
    return request.getfixturevalue("server").new_database() if request.param == "postgres" else ""


@pytest.fixture
def opened(url: str, tmp_path: Path) -> Iterator[Opened]:
    """Open the test's database, as often as one likes."""
    from tasks.store.store import Store

    stores: list[Store] = []

    def call(**options: object) -> Store:
        stores.append(Store.open(url, tmp_path, **options))  # type: ignore[arg-type]
        return stores[-1]

    yield call
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Opened) -> Store:
    return opened()
