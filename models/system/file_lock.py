"""A file lock that the operating system releases when the process ends, however it ends."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from models.system.errors import UserError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

MAX_TRIES, PAUSE_SECONDS = 5, 0.1  # a process that only checks the lock holds it for a moment too


class LockHeldError(Exception):
    """Another process holds the lock; `holder` is what it wrote about itself."""

    def __init__(self, holder: Mapping[str, str]) -> None:
        super().__init__("held")
        self.holder = holder


@contextmanager
def hold_lock(path: Path, record: Mapping[str, str]) -> Iterator[None]:
    """Hold the lock within the block. The file stays: without it, two processes could hold locks of the same name."""
    with _open_file(path) as file:
        if not _lock_patiently(file):
            raise LockHeldError(_read_record(path))
        _write_record(file, path, {"pid": str(os.getpid()), **record})
        try:
            yield
        finally:
            file.truncate(0)


def _open_file(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+", encoding="utf-8")
    except OSError as error:
        raise _unwritable_error(path, error) from None


def _write_record(file: IO[str], path: Path, record: Mapping[str, str]) -> None:
    try:
        file.truncate(0)
        json.dump(record, file)
        file.flush()
    except OSError as error:
        raise _unwritable_error(path, error) from None


def _unwritable_error(path: Path, error: OSError) -> UserError:
    reason = (error.strerror or str(error)).lower()
    return UserError(f"{path} cannot be written ({reason}): free space, check the rights, or set storage.studio")


def lock_holder(path: Path) -> Mapping[str, str] | None:
    """Return what the process that holds the lock wrote, or None if no process holds it."""
    if not path.is_file():
        return None
    with path.open(encoding="utf-8") as file:  # read only, so it also works on a read-only disk
        return None if _try_lock(file) else _read_record(path)


def _read_record(path: Path) -> Mapping[str, str]:
    """Return the holder's record; empty if the holder has not written it yet."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _lock_patiently(file: IO[str]) -> bool:
    for _ in range(MAX_TRIES):
        if _try_lock(file):
            return True
        time.sleep(PAUSE_SECONDS)
    return False


def _try_lock(file: IO[str]) -> bool:
    try:
        if sys.platform == "win32":
            file.seek(1 << 20)  # far behind the record, so that other processes can read it
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
