"""The store: what restage knows beyond files, in SQLite by default or in PostgreSQL, behind short transactions.

    store = Store.open(loaded.database, loaded.studio, clock=loaded.clock)
    with store.writing() as connection:
        connection.execute(...)

Writing transactions come one after another, on both databases and from however many processes; a reading one sees one
state throughout. What goes wrong with the database itself is a `StoreError`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, event, insert, inspect, select
from sqlalchemy.exc import DBAPIError

from tasks.clock import Clock, system_clock
from tasks.store import migrations
from tasks.store.databases import Database, Postgres, Sqlite, StoreError
from tasks.store.migrations import Migration
from tasks.store.tables import APPLIED

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["FILE", "Store", "StoreError", "instant"]

FILE = "restage.db"
PATIENCE = 30.0  # seconds to wait for another writer
WRITES = "restage_writes"


class Store:
    """A database that is ours and up to date."""

    def __init__(self, database: Database, clock: Clock = system_clock) -> None:
        self._database, self.clock = database, clock
        event.listen(database.engine, "begin", self._begin)

    @classmethod
    def open(
        cls,
        url: str | SecretStr,
        studio: Path,
        patience: float = PATIENCE,
        known: Sequence[Migration] = migrations.ALL,
        clock: Clock = system_clock,
    ) -> Store:
        """The database at a PostgreSQL address, or the studio's own file where that is empty; made if need be."""
        address = url if isinstance(url, str) else url.get_secret_value()
        store = cls(Postgres(address, patience) if address else Sqlite(studio / FILE, patience), clock)
        try:
            store._migrate(known)
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        self._database.engine.dispose()

    def reading(self) -> AbstractContextManager[Connection]:
        """A transaction that sees one state and changes nothing."""
        return self._transaction(writes=False)

    def writing(self) -> AbstractContextManager[Connection]:
        """A transaction that is alone in writing: kept whole when the block ends, gone whole when it fails."""
        return self._transaction(writes=True)

    @contextmanager
    def _transaction(self, writes: bool) -> Iterator[Connection]:
        try:
            with self._database.engine.connect() as connection:
                connection = connection.execution_options(**{WRITES: writes})
                with connection.begin():
                    yield connection
        except DBAPIError as error:
            # Not `from error`: its text and its frames may hold the address, and that a password.
            raise self._database.told(error) from None

    def _begin(self, connection: Connection) -> None:
        self._database.begin(connection, connection.get_execution_options().get(WRITES, False))

    def _migrate(self, known: Sequence[Migration]) -> None:
        """Bring the tables up to date, one change in each transaction: killed anywhere, a change is there or not."""
        with self.reading() as connection:
            applied = self._applied(connection, known)
        if not applied:
            self._database.prepare()
        for each in known:
            if each.number not in applied:
                with self.writing() as connection:
                    self._apply(connection, each, known)

    def _apply(self, connection: Connection, change: Migration, known: Sequence[Migration]) -> None:
        applied = self._applied(connection, known)  # another process may have been quicker
        if change.number in applied:
            return
        if not applied:
            APPLIED.create(connection, checkfirst=True)
            self._database.sign(connection)
        for statement in change.statements:
            connection.exec_driver_sql(statement)
        row = {"number": change.number, "name": change.name, "applied_at": instant(self.clock())}
        connection.execute(insert(APPLIED).values(row))

    def _applied(self, connection: Connection, known: Sequence[Migration]) -> set[int]:
        """The changes that the database has seen, once it is clear that it is ours and not from the future."""
        tables = inspect(connection).get_table_names()
        ours = APPLIED.name in tables
        self._database.check(connection, tables, ours)
        found = set(connection.scalars(select(APPLIED.c.number))) if ours else set()
        if unknown := found - {each.number for each in known}:
            raise StoreError(
                f"this store was written by a newer restage (change {max(unknown)}): update restage, or use a backup"
            )
        return found


def instant(at: datetime) -> str:
    """A moment as the store keeps it: UTC, to the millisecond, so that texts sort as times do."""
    assert at.tzinfo is not None, "a time without its zone means something else on another machine"
    return at.astimezone(UTC).isoformat(timespec="milliseconds")
