"""Files written whole or not at all."""

import os
import secrets
from pathlib import Path


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: nobody ever reads half of it, whenever the power goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with half.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
        _sync_folder(path.parent)
    finally:
        half.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """The new name itself must survive a power cut, not only the bytes."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
