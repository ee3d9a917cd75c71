"""The store's rows on their way into a backup and out of it: as SQLite, whatever the store is."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, delete, insert, select

from models.system.errors import UserError
from tasks.store.store import FILE, Store
from tasks.store.tables import ALL, APPLIED

TABLES = [table for table in ALL.sorted_tables if table is not APPLIED]


def are_there(store: Store) -> bool:
    with store.reading() as connection:
        return any(connection.execute(select(table).limit(1)).all() for table in TABLES)


def out(store: Store) -> tuple[bytes, int]:
    """All rows, of one moment, as the bytes of a SQLite file, and how many they are."""
    with _scratch() as folder:
        with closing(Store.open("", folder)) as copy, store.reading() as source, copy.writing() as target:
            count = _copy(source, target)
        return (folder / FILE).read_bytes(), count


def put_back(data: bytes, store: Store, after: Callable[[Connection], None]) -> int:
    """In place of all rows that are there, in one transaction, with what `after` does to them."""
    with _scratch() as folder:
        (folder / FILE).write_bytes(data)
        with closing(Store.open("", folder)) as copy, copy.reading() as source, store.writing() as target:
            for table in reversed(TABLES):
                target.execute(delete(table))
            count = _copy(source, target)
            after(target)
    return count


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for a moment, where files are what can fail: the store tells its own troubles."""
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    except OSError as error:
        where = error.filename or tempfile.tempdir or "the folder for temporary files"
        why = (error.strerror or str(error)).lower()
        raise UserError(
            f"{where} cannot be written ({why}): free space there, or set TMPDIR to another folder"
        ) from None


def _copy(source: Connection, target: Connection) -> int:
    count = 0
    for table in TABLES:
        found = [dict(row) for row in source.execute(select(table)).mappings()]
        if found:
            target.execute(insert(table), found)
        count += len(found)
    return count
