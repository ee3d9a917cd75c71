"""SQLite and PostgreSQL: all in which they differ, so that the store need not know which one it has."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError

from models.system.errors import UserError

# Written into SQLite's header, so that another program's database is never taken for ours.
APPLICATION_ID = 0x52535447  # "RSTG"
# The lock that writers on one PostgreSQL database take in turn.
WRITERS_LOCK = 0x72657374
CONNECT_SECONDS = 15
SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
# SQLite's result codes (sqlite.org/rescode.html) and PostgreSQL's classes of errors that pass by themselves.
BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
PASSING = ("08", "40", "53", "55", "57")
DISK_FULL = "53100"
FOR_GOOD = ("authentication failed", "no password", "does not exist", "not known")  # connecting gives no code


class StoreError(UserError):
    """The store cannot do what was asked. `permanent` says that trying again cannot help."""

    def __init__(self, text: str, permanent: bool = True) -> None:
        super().__init__(text)
        self.permanent = permanent


class Database(Protocol):
    """The methods that the store needs of a database."""

    engine: Engine

    def prepare_database(self) -> None: ...

    def begin_transaction(self, connection: Connection, writes: bool) -> None: ...

    def check_ownership(self, connection: Connection, tables: Collection[str], ours: bool) -> None: ...

    def mark_as_ours(self, connection: Connection) -> None: ...

    def explain_error(self, error: DBAPIError) -> Exception: ...


class Sqlite:
    """One file, readable while somebody writes."""

    def __init__(self, path: Path, patience: float) -> None:
        self.path, self.patience = path, patience
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise StoreError(
                f"{path.parent} cannot be made ({reason}): check the rights, or set storage.studio"
            ) from None
        # isolation_level: transactions begin where `begin` says so, nowhere else.
        options = {"timeout": patience, "isolation_level": None}
        self.engine = create_engine(
            URL.create("sqlite", database=str(path)), hide_parameters=True, connect_args=options
        )
        event.listen(self.engine, "connect", self._configure_connection)

    @staticmethod
    def _configure_connection(connection: Any, _: object) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
        # FULL keeps every transaction through a power cut, where NORMAL may lose the last ones: among them could be the
        # one that says that a post is about to be sent.
        connection.execute("PRAGMA synchronous = FULL")

    def prepare_database(self) -> None:
        """Switch to WAL, and retry: processes that create the file together collide here, and the busy timeout does not apply."""
        deadline = time.monotonic() + self.patience
        while True:
            connection = self.engine.raw_connection()
            try:
                connection.cursor().execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if time.monotonic() > deadline or not _is_busy(error):
                    raise self._store_error(error) from None
                time.sleep(0.02)
            finally:
                connection.close()

    def begin_transaction(self, connection: Connection, writes: bool) -> None:
        connection.exec_driver_sql(f"PRAGMA query_only = {int(not writes)}")
        # IMMEDIATE takes the write lock at once, so that the busy timeout applies to all of it.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    def check_ownership(self, connection: Connection, tables: Collection[str], ours: bool) -> None:
        application = connection.exec_driver_sql("PRAGMA application_id").scalar()
        if (application, ours) not in ((APPLICATION_ID, True), (0, False)) or (tables and not ours):
            raise StoreError(f"{self.path} is another program's database: move it away, or set storage.studio")

    def mark_as_ours(self, connection: Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")

    def explain_error(self, error: DBAPIError) -> Exception:
        # SQLite knows no separate kind of error for its file; what is wrong with a statement has code 1.
        is_file_error = isinstance(error.orig, sqlite3.Error) and _result_code(error.orig) not in (
            sqlite3.SQLITE_ERROR,
            None,
        )
        constraint = is_file_error and _result_code(error.orig) == sqlite3.SQLITE_CONSTRAINT
        return self._store_error(error.orig) if is_file_error and not constraint else error

    def _store_error(self, error: BaseException | None) -> StoreError:
        if _result_code(error) in BUSY:
            return StoreError(f"{self.path} is held by another program ({error}): end that, or try again", False)
        if _result_code(error) in DAMAGED:
            return StoreError(
                f"{self.path} is not a readable database ({error}): put a backup in its place, or move it away"
            )
        return StoreError(f"{self.path} cannot be used ({error}): free space, check the rights, or set storage.studio")


def _result_code(error: object) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF  # the rest says more than is needed


def _is_busy(error: sqlite3.Error) -> bool:
    return _result_code(error) in BUSY


class Postgres:
    """A server. Writers take turns as on SQLite: their transactions are short, and no two ever see half of each other."""

    def __init__(self, url: str, patience: float) -> None:
        self.patience = patience
        self._url = _parse_address(url)
        self.description = f"the PostgreSQL database {self._url.database!r}"
        try:
            # Said plainly, since a server without an encoding of its own would answer in bytes.
            usual = {"connect_timeout": CONNECT_SECONDS, "client_encoding": "utf8"}
            options = {name: value for name, value in usual.items() if name not in self._url.query}
            self.engine = create_engine(self._url, hide_parameters=True, pool_pre_ping=True, connect_args=options)
        except ModuleNotFoundError:
            raise UserError(
                "PostgreSQL needs its driver: run make install in the folder with restage's source, or leave the database"
                " to SQLite"
            ) from None

    def prepare_database(self) -> None:
        """Do nothing: a server needs no preparation."""

    def begin_transaction(self, connection: Connection, writes: bool) -> None:
        if not writes:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {max(1, round(self.patience * 1000))}")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITERS_LOCK})")

    def check_ownership(self, connection: Connection, tables: Collection[str], ours: bool) -> None:
        if tables and not ours:
            raise StoreError(f"{self.description} holds another program's tables: give restage a database of its own")

    def mark_as_ours(self, connection: Connection) -> None:
        """Do nothing: the table of migrations marks the database as ours."""

    def explain_error(self, error: DBAPIError) -> Exception:
        if not isinstance(error, OperationalError | InterfaceError):
            return error
        code, lines = getattr(error.orig, "sqlstate", None), self._without_password(str(error.orig)).splitlines()
        reason = lines[0] if lines else type(error.orig).__name__
        permanent = not code.startswith(PASSING) if code else any(phrase in reason for phrase in FOR_GOOD)
        remedy = "check the server, the name and the password" if permanent else "try again when the server answers"
        return StoreError(f"{self.description} cannot be used ({reason}): {remedy}", permanent or code == DISK_FULL)

    def _without_password(self, text: str) -> str:
        words = [self._url.password, *(str(value) for key, value in self._url.query.items() if "pass" in key)]
        for word in words:
            text = text.replace(str(word), "•••") if word else text
        return text


def _parse_address(url: str) -> URL:
    """Parse the address; it may hold a password, so no message shows it."""
    remedy = "write it as postgresql://user@host/name, or leave it empty for restage.db in the studio"
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        raise UserError(f"the address of the database cannot be read: {remedy}") from None
    if address.drivername not in SCHEMES or not address.database:
        raise UserError(f"the address of the database is not one of PostgreSQL: {remedy}")
    return address.set(drivername="postgresql+psycopg")
