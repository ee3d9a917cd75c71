"""A lock that only a living process holds: the system lets go of it when the process ends, however it ends."""

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

TRIES, PAUSE = 5, 0.1  # who only looks whether it is held holds it for a moment too


class HeldError(Exception):
    """Somebody else holds it; `said` is what they wrote about themselves."""

    def __init__(self, said: Mapping[str, str]) -> None:
        super().__init__("held")
        self.said = said


@contextmanager
def hold(path: Path, said: Mapping[str, str]) -> Iterator[None]:
    """Hold the lock meanwhile. The file stays: taking it away would let two hold locks of the same name."""
    with _opened(path) as file:
        if not _take_patiently(file):
            raise HeldError(_read(path))
        _sign(file, path, {"pid": str(os.getpid()), **said})
        try:
            yield
        finally:
            file.truncate(0)


def _opened(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+", encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error) from None


def _sign(file: IO[str], path: Path, said: Mapping[str, str]) -> None:
    try:
        file.truncate(0)
        json.dump(said, file)
        file.flush()
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> UserError:
    why = (error.strerror or str(error)).lower()
    return UserError(f"{path} cannot be written ({why}): free space, check the rights, or set storage.studio")


def holder(path: Path) -> Mapping[str, str] | None:
    """What the process wrote that holds the lock; None where nobody does."""
    if not path.is_file():
        return None
    with path.open(encoding="utf-8") as file:  # looking works where nothing can be written, too
        return None if _take(file) else _read(path)


def _read(path: Path) -> Mapping[str, str]:
    """Empty while its holder has yet to write."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _take_patiently(file: IO[str]) -> bool:
    for _ in range(TRIES):
        if _take(file):
            return True
        time.sleep(PAUSE)
    return False


def _take(file: IO[str]) -> bool:
    try:
        if sys.platform == "win32":
            file.seek(1 << 20)  # far behind what is written there, so that others can read it
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
