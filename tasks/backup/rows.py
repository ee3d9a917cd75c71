"""The store's rows on their way into a backup and out of it: as SQLite, whatever the store is."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, delete, insert, select

from models.system.errors import UserError
from tasks.store.store import FILE, Store
from tasks.store.tables import APPLIED, METADATA

TABLES = [table for table in METADATA.sorted_tables if table is not APPLIED]


def has_rows(store: Store) -> bool:
    with store.reading() as connection:
        return any(connection.execute(select(table).limit(1)).all() for table in TABLES)


def export_rows(store: Store) -> tuple[bytes, int]:
    """Return all rows, read in one transaction, as the bytes of a SQLite file, and how many rows there are."""
    with _temporary_folder() as folder:
        with closing(Store.open("", folder)) as copy, store.reading() as source, copy.writing() as target:
            count = _copy_rows(source, target)
        return (folder / FILE).read_bytes(), count


def import_rows(data: bytes, store: Store, after: Callable[[Connection], None]) -> int:
    """Replace all rows of the store by those of a backup in one transaction; `after` may change them in it."""
    with _temporary_folder() as folder:
        (folder / FILE).write_bytes(data)
        with closing(Store.open("", folder)) as copy, copy.reading() as source, store.writing() as target:
            for table in reversed(TABLES):
                target.execute(delete(table))
            count = _copy_rows(source, target)
            after(target)
    return count


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Create a temporary folder and explain errors of its files; the store explains its own."""
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    except OSError as error:
        place = error.filename or tempfile.tempdir or "the folder for temporary files"
        reason = (error.strerror or str(error)).lower()
        raise UserError(
            f"{place} cannot be written ({reason}): free space there, or set TMPDIR to another folder"
        ) from None


def _copy_rows(source: Connection, target: Connection) -> int:
    count = 0
    for table in TABLES:
        rows = [dict(row) for row in source.execute(select(table)).mappings()]
        if rows:
            target.execute(insert(table), rows)
        count += len(rows)
    return count
