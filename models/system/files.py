"""Writes files atomically, and reads paths as people type them."""

import os
import secrets
import time
from pathlib import Path

from models.system.errors import UserError

ABANDONED_SECONDS = 3600.0  # no process writes a partial file for longer than this


def write_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: nobody ever reads a partial file, even after a power cut."""
    half = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part") if path.name else path
    try:
        _make_folder(path.parent)
        _remove_abandoned(path)
        try:
            with half.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            half.replace(path)
        finally:
            half.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(
            f"{path} cannot be written ({reason}): free space, check the rights or choose another place"
        ) from error


def expand_path(text: str | Path) -> Path:
    """Return the path, with ~ expanded."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UserError(f"{text} names a home folder that does not exist: write the path in full") from None


def path_exists(path: Path) -> bool:
    """Tell whether a file or folder exists; raise a `UserError` if the system cannot tell."""
    try:
        return path.exists()
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise UserError(f"{path} cannot be looked at ({reason}): check the name and the rights") from None


def _make_folder(folder: Path) -> None:
    missing = [missing_folder for missing_folder in (folder, *folder.parents) if not missing_folder.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for missing_folder in missing:
        _sync_folder(missing_folder.parent)


def _remove_abandoned(path: Path) -> None:
    """Delete partial copies of this file that a killed process left behind."""
    for half in path.parent.glob(f".{path.name}.*.part"):
        if is_abandoned(half):
            half.unlink(missing_ok=True)


def is_abandoned(half: Path) -> bool:
    """Tell whether a partial file is too old to be in use. If it is gone, its writer has just finished it."""
    try:
        return time.time() - half.stat().st_mtime > ABANDONED_SECONDS
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    """Flush the folder to disk, so that the new name survives a power cut and not only the bytes."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
