"""An embedding: one table of learned vectors for each text encoder, and the file that stores it.

The file is a safetensors with `clip_l [n, width]` and `clip_g [n, width]` (SD 1.x: only `clip_l`), which A1111, Forge,
ComfyUI and InvokeAI read as it is. Its header is a table of texts: `token` is what people type, and the fields of
`EmbeddingMetadata` say what it was learned from; lists and tables among them are JSON. Equal embeddings with equal
metadata have equal bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.system import files
from models.system.errors import UserError

if TYPE_CHECKING:
    import torch

# The table names that other programs expect, in the order of the encoders.
KEYS = ("clip_l", "clip_g")
FORMAT = "restage embedding 1"
# The header stores these fields as they are, and all others as JSON.
TEXT_FIELDS = ("persona", "base_model", "base_model_name")

# A token cannot contain characters that have a meaning in the prompt syntax.
_TOKEN = re.compile(r"<[^<>()\[\]\\:|\s]+>")


@dataclass(frozen=True, eq=False)
class Embedding:
    """A token in angle brackets and its vectors: an fp32 [n, width] for each text encoder, in the encoders' order."""

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
    def vector_count(self) -> int:
        """Return how many positions of the prompt the token takes."""
        return self.vectors[0].shape[0]

    @property
    def hash(self) -> str:
        """Hash the token and every bit of its vectors."""
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
    """Check that no other text of a prompt can be mistaken for this token."""
    if not _TOKEN.fullmatch(token):
        raise UserError(
            f"the learned word {token!r} must stand in angle brackets, without spaces or any of ()[]:|\\ in between,"
            " such as <pip>"
        )


@dataclass(frozen=True)
class EmbeddingMetadata:
    """The header of an embedding's file: what the embedding was learned from, and how well."""

    persona: str = ""
    base_model: str = ""
    """The hash of the model that it was learned on."""
    base_model_name: str = ""
    references: tuple[str, ...] = ()
    """The pixel hashes of the pictures that it was learned from."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """All settings of its training."""
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    """The versions of the libraries that trained it."""
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    """The measurements of it; None where there was nothing to measure."""

    def to_header(self) -> dict[str, str]:
        """Return the header: texts as they are, other values as JSON, no empty values."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        filled = {name: value for name, value in values.items() if value not in ("", (), {}, None)}
        return {"format": FORMAT} | {
            name: value if isinstance(value, str) else _compact_json(value) for name, value in filled.items()
        }

    @classmethod
    def from_header(cls, header: Mapping[str, str]) -> EmbeddingMetadata:
        """Read a header of restage; return empty metadata for other programs', whose names may mean other things."""
        if header.get("format") != FORMAT:
            return cls()
        values: dict[str, Any] = {}
        try:
            for item in fields(cls):
                if item.name in header:
                    text = header[item.name]
                    values[item.name] = text if item.name in TEXT_FIELDS else json.loads(text)
        except ValueError:
            raise UserError("the header of this embedding is damaged: train it again, or take another copy") from None
        return cls(**(values | {"references": tuple(values.get("references", ()))}))


def write_embedding(
    path: Path, embedding: Embedding, about: EmbeddingMetadata | Mapping[str, str], half: bool = False
) -> None:
    """Write the file whole or not at all: a reader never sees half of it. `half` keeps 16 bits of each number."""
    if len(embedding.vectors) > len(KEYS):
        raise UserError(f"{embedding.token} has {len(embedding.vectors)} tables; the file format has {len(KEYS)}")
    header = about.to_header() if isinstance(about, EmbeddingMetadata) else dict(about)
    tables = dict(zip(KEYS, embedding.vectors, strict=False))
    files.write_file(path, pack_safetensors(tables, header | {"token": embedding.token}, half))


def round_to_half(embedding: Embedding) -> Embedding:
    """Return the embedding as it is after writing and reading a file in half precision."""
    tables = (_convert_for_storage(key, table, half=True) for key, table in zip(KEYS, embedding.vectors, strict=False))
    return Embedding(embedding.token, tuple(tables))


def pack_safetensors(tables: Mapping[str, torch.Tensor], header: Mapping[str, str], half: bool = False) -> bytes:
    """Return the bytes of a safetensors file, always the same for the same content."""
    from safetensors.torch import save

    content = save({key: _convert_for_storage(key, table, half) for key, table in tables.items()})
    length = int.from_bytes(content[:8], "little")
    described = json.loads(content[8 : 8 + length])
    # safetensors itself writes the entries of a header in a different order each time.
    whole = {"__metadata__": dict(sorted(header.items())), **described} if header else described
    text = json.dumps(whole, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors that follow must stay aligned
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def _convert_for_storage(key: str, table: torch.Tensor, half: bool) -> torch.Tensor:
    stored = (table.half() if half else table).cpu().contiguous()
    if not bool(stored.isfinite().all()):
        raise UserError(f"the vectors of {key} are too large for half precision: write them in full")
    return stored


def read_embedding(path: Path, token: str | None = None) -> Embedding:
    """Read a file that `write_embedding` made; `token` replaces the header's token, which may be missing."""
    tables, header = read_tensors(path)
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


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return the tensors of a safetensors file, and its header."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UserError(f"there is no embedding file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            # A copy, so that replacing the file later does not change vectors already read.
            return {key: file.get_tensor(key).clone() for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a readable safetensors file ({error}); it may be cut short") from error


def _compact_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
