"""Files that are whole or not there, whenever the power goes."""

from __future__ import annotations

import os
from pathlib import Path

import torch


def save_atomically(state: object, path: Path) -> None:
    """Write a checkpoint: either the old file or the whole new one is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def write_number(path: Path, number: int) -> None:
    """Note how far something has come."""
    fresh = path.with_suffix(path.suffix + ".new")
    fresh.write_text(str(number))
    fresh.replace(path)
