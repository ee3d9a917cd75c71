"""A learned word: one table of vectors for each text encoder, and the file it is kept in.

The file is a safetensors with `clip_l [n, width]` and `clip_g [n, width]` (SD 1.x: only `clip_l`), which A1111, Forge,
ComfyUI and InvokeAI read as it is. The word itself stands in the header.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models import files
from models.errors import UserError

if TYPE_CHECKING:
    import torch

# The names the other programs expect, in the order of the encoders.
KEYS = ("clip_l", "clip_g")

# What prompt syntax uses for itself cannot be part of a name.
_TOKEN = re.compile(r"<[^<>()\[\]\\:|\s]+>")


@dataclass(frozen=True, eq=False)
class Embedding:
    """A word in angle brackets and what it means: an fp32 [n, width] for each text encoder, in the encoders' order."""

    token: str
    vectors: tuple[torch.Tensor, ...]

    def __post_init__(self) -> None:
        check_token(self.token)
        object.__setattr__(self, "vectors", tuple(table.detach().float().contiguous() for table in self.vectors))
        shapes = [tuple(table.shape) for table in self.vectors]
        if not shapes or any(len(shape) != 2 or 0 in shape for shape in shapes):
            raise UserError(f"{self.token} needs a table [n, width] for each text encoder, not {shapes}")
        if len({count for count, _ in shapes}) != 1:
            counts = " and ".join(str(count) for count, _ in shapes)
            raise UserError(f"{self.token} has {counts} vectors for its text encoders; the numbers must be equal")
        if not all(bool(table.isfinite().all()) for table in self.vectors):
            raise UserError(f"{self.token} holds values that are not finite numbers; train it again")

    @property
    def count(self) -> int:
        """How many positions of the prompt the word takes."""
        return self.vectors[0].shape[0]

    @property
    def hash(self) -> str:
        """Names the word and every bit of its vectors."""
        digest = hashlib.sha256(f"{self.token}\n".encode())
        for table in self.vectors:
            digest.update(f"{tuple(table.shape)}\n".encode())
            digest.update(table.cpu().numpy().tobytes())
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Embedding) and self.hash == other.hash

    def __hash__(self) -> int:
        return int(self.hash[:16], 16)


def check_token(token: str) -> None:
    """A learned word is written so that no other text of a prompt can be taken for it."""
    if not _TOKEN.fullmatch(token):
        raise UserError(
            f"the learned word {token!r} must stand in angle brackets, without spaces or any of ()[]:|\\ in between,"
            " such as <pip>"
        )


def write(path: Path, embedding: Embedding, metadata: Mapping[str, str]) -> None:
    """Write the file whole or not at all: a reader never sees half of it."""
    from safetensors.torch import save

    if len(embedding.vectors) > len(KEYS):
        raise UserError(f"{embedding.token} has {len(embedding.vectors)} tables; the file format has {len(KEYS)}")
    tables = {key: table.cpu() for key, table in zip(KEYS, embedding.vectors, strict=False)}
    content = save(tables, metadata={**metadata, "token": embedding.token})
    files.write(path, content)


def read(path: Path, token: str | None = None) -> Embedding:
    """Read a file that `write` made; `token` renames the word, or names it where the header does not."""
    tables, header = _open(path)
    if unknown := [key for key in tables if key not in KEYS]:
        raise UserError(f"{path} holds {unknown[0]!r}, which is not one of {', '.join(KEYS)}")
    if KEYS[0] not in tables:
        raise UserError(f"{path} holds no {KEYS[0]!r}, the vectors for the first text encoder")
    word = token or header.get("token")
    if word is None:
        raise UserError(f"{path} does not say which word it is for; name the token")
    try:
        return Embedding(word, tuple(tables[key] for key in KEYS if key in tables))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _open(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UserError(f"there is no embedding file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            # A copy, so that replacing the file later does not change vectors already read.
            return {key: file.get_tensor(key).clone() for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a readable safetensors file ({error}); it may be cut short") from error
