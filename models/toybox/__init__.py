"""A small, real SDXL and CLIP that ship with the project, and the recipe that made them.

`folder()` is a plain diffusers folder that `StableDiffusionXLPipeline.from_pretrained` loads; `folder() / "clip"` is an
open_clip one. Nothing here imports torch before it must.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from models.system.errors import UserError

RESTORE = "git checkout -- models/toybox/weights"
HASHES = "hashes.json"


def folder() -> Path:
    """Where the weights are."""
    return Path(__file__).parent / "weights"


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(weights: Path | None = None) -> Path:
    """The folder of the weights, if every file in it is the one that was shipped; a `UserError` that names it if not."""
    weights = weights or folder()
    try:
        expected: dict[str, str] = json.loads((weights / HASHES).read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise UserError(f"{weights / HASHES} is missing or unreadable; restore it with `{RESTORE}`") from problem
    for name, wanted in expected.items():
        path = weights / name
        if not path.is_file():
            raise UserError(f"{path} is missing; restore it with `{RESTORE}`")
        if digest(path) != wanted:
            raise UserError(f"{path} is not the file that was shipped; restore it with `{RESTORE}`")
    return weights


def write_hashes(weights: Path) -> None:
    """State what every file must be. The card is prose and may be edited, so it is left out."""
    names = sorted(
        path.relative_to(weights).as_posix()
        for path in weights.rglob("*")
        if path.is_file() and path.name not in (HASHES, "CARD.md")
    )
    hashes = {name: digest(weights / name) for name in names}
    (weights / HASHES).write_text(json.dumps(hashes, indent=2) + "\n", encoding="utf-8")
