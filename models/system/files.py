"""Files written whole or not at all, and paths as people type them."""

import os
import secrets
import time
from pathlib import Path

from models.system.errors import UserError

ABANDONED = 3600.0  # seconds after which half a file cannot be one that somebody is still writing


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: nobody ever reads half of it, whenever the power goes."""
    half = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part") if path.name else path
    try:
        _make_folder(path.parent)
        _sweep(path)
        try:
            with half.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            half.replace(path)
        finally:
            half.unlink(missing_ok=True)
        _sync(path.parent)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UserError(
            f"{path} cannot be written ({why}): free space, check the rights or choose another place"
        ) from error


def path_of(text: str | Path) -> Path:
    """A path as typed, with ~ spelled out."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UserError(f"{text} names a home folder that does not exist: write the path in full") from None


def is_there(path: Path) -> bool:
    """Whether there is such a file or folder; a sentence where the system will not say."""
    try:
        return path.exists()
    except (OSError, ValueError) as error:
        why = (getattr(error, "strerror", None) or str(error)).lower()
        raise UserError(f"{path} cannot be looked at ({why}): check the name and the rights") from None


def _make_folder(folder: Path) -> None:
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        _sync(each.parent)


def _sweep(path: Path) -> None:
    """Take away halves of this very file that a killed process left behind."""
    for half in path.parent.glob(f".{path.name}.*.part"):
        if is_abandoned(half):
            half.unlink(missing_ok=True)


def is_abandoned(half: Path) -> bool:
    """Whether nobody can still be writing this. What is gone meanwhile was somebody's, who finished it."""
    try:
        return time.time() - half.stat().st_mtime > ABANDONED
    except FileNotFoundError:
        return False


def _sync(folder: Path) -> None:
    """The new name itself must survive a power cut, not only the bytes."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
