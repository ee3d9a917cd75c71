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

__all__ = ["FILE", "Store", "StoreError", "utc_text"]

FILE = "restage.db"
LOCK_TIMEOUT_SECONDS = 30.0  # seconds to wait for another writer
WRITES = "restage_writes"


class Store:
    """A database that is ours and up to date."""

    def __init__(self, database: Database, clock: Clock = system_clock) -> None:
        self._database, self.clock = database, clock
        event.listen(database.engine, "begin", self._begin_transaction)

    @classmethod
    def open(
        cls,
        url: str | SecretStr,
        studio: Path,
        patience: float = LOCK_TIMEOUT_SECONDS,
        known: Sequence[Migration] = migrations.ALL_MIGRATIONS,
        clock: Clock = system_clock,
    ) -> Store:
        """Open the database at a PostgreSQL address, or the studio's own file if that is empty; create it if needed."""
        address = url if isinstance(url, str) else url.get_secret_value()
        store = cls(Postgres(address, patience) if address else Sqlite(studio / FILE, patience), clock)
        try:
            store._apply_migrations(known)
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        self._database.engine.dispose()

    def reading(self) -> AbstractContextManager[Connection]:
        """Begin a transaction that sees one state and changes nothing."""
        return self._open_transaction(writes=False)

    def writing(self) -> AbstractContextManager[Connection]:
        """Begin the only writing transaction: committed when the block ends, rolled back when it fails."""
        return self._open_transaction(writes=True)

    @contextmanager
    def _open_transaction(self, writes: bool) -> Iterator[Connection]:
        try:
            with self._database.engine.connect() as connection:
                connection = connection.execution_options(**{WRITES: writes})
                with connection.begin():
                    yield connection
        except DBAPIError as error:
            # Not `from error`: its text and its frames may hold the address, and that a password.
            raise self._database.explain_error(error) from None

    def _begin_transaction(self, connection: Connection) -> None:
        self._database.begin_transaction(connection, connection.get_execution_options().get(WRITES, False))

    def _apply_migrations(self, known: Sequence[Migration]) -> None:
        """Bring the tables up to date, one change in each transaction: killed anywhere, a change is there or not."""
        with self.reading() as connection:
            applied = self._applied_numbers(connection, known)
        if not applied:
            self._database.prepare_database()
        for migration in known:
            if migration.number not in applied:
                with self.writing() as connection:
                    self._apply_migration(connection, migration, known)

    def _apply_migration(self, connection: Connection, change: Migration, known: Sequence[Migration]) -> None:
        applied = self._applied_numbers(connection, known)  # another process may have been quicker
        if change.number in applied:
            return
        if not applied:
            APPLIED.create(connection, checkfirst=True)
            self._database.mark_as_ours(connection)
        for statement in change.statements:
            connection.exec_driver_sql(statement)
        row = {"number": change.number, "name": change.name, "applied_at": utc_text(self.clock())}
        connection.execute(insert(APPLIED).values(row))

    def _applied_numbers(self, connection: Connection, known: Sequence[Migration]) -> set[int]:
        """Return the numbers of the applied migrations, after checking that the database is ours and not newer than we are."""
        tables = inspect(connection).get_table_names()
        ours = APPLIED.name in tables
        self._database.check_ownership(connection, tables, ours)
        applied = set(connection.scalars(select(APPLIED.c.number))) if ours else set()
        if unknown := applied - {migration.number for migration in known}:
            raise StoreError(
                f"this store was written by a newer restage (change {max(unknown)}): update restage, or use a backup"
            )
        return applied


def utc_text(at: datetime) -> str:
    """Return a moment as the store keeps it: UTC, to the millisecond, so that texts sort as times do."""
    assert at.tzinfo is not None, "a time without its zone means something else on another machine"
    return at.astimezone(UTC).isoformat(timespec="milliseconds")
