"""A small, real SDXL and CLIP that ship with the project, and the recipe that made them.

`weights_folder()` is a plain diffusers folder that `StableDiffusionXLPipeline.from_pretrained` loads, and
`weights_folder() / "clip"` is an open_clip one. Nothing here imports torch before it must.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from models.system.errors import UserError

RESTORE = "git checkout -- models/toybox/weights"
HASHES = "hashes.json"


def weights_folder() -> Path:
    """Return the folder of the weights."""
    return Path(__file__).parent / "weights"


def hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_weights(weights: Path | None = None) -> Path:
    """Return the folder of the weights; raise a `UserError` that names the first file that differs from the shipped one."""
    weights = weights or weights_folder()
    try:
        expected: dict[str, str] = json.loads((weights / HASHES).read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise UserError(f"{weights / HASHES} is missing or unreadable; restore it with `{RESTORE}`") from problem
    for name, expected_hash in expected.items():
        path = weights / name
        if not path.is_file():
            raise UserError(f"{path} is missing; restore it with `{RESTORE}`")
        if hash_file(path) != expected_hash:
            raise UserError(f"{path} is not the file that was shipped; restore it with `{RESTORE}`")
    return weights


def write_hashes(weights: Path) -> None:
    """Write the hash of every file. The card is left out, since it is prose and may be edited."""
    names = sorted(
        path.relative_to(weights).as_posix()
        for path in weights.rglob("*")
        if path.is_file() and path.name not in (HASHES, "CARD.md")
    )
    hashes = {name: hash_file(weights / name) for name in names}
    (weights / HASHES).write_text(json.dumps(hashes, indent=2) + "\n", encoding="utf-8")
