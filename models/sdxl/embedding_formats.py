"""Embeddings in the file formats of other programs: reads and writes them.

The known formats are the safetensors of A1111, Forge and ComfyUI (`clip_l`, `clip_g`), kohya's (`emb_params`), diffusers'
`{token: vectors}` (SDXL: a file for each text encoder), cog-sdxl's `embeddings.pti`, and A1111's `.pt`. Pickles are read
by torch's reader for plain tensors, which runs no code from the file.
"""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from models.sdxl.embedding import (
    KEYS,
    Embedding,
    EmbeddingMetadata,
    check_token,
    pack_safetensors,
    read_tensors,
    write_embedding,
)
from models.system import files
from models.system.errors import UserError

if TYPE_CHECKING:
    import torch

    from models.sdxl.locate import ModelSource

Format = Literal["restage", "diffusers", "a1111"]

MAX_FILE_BYTES = 64 << 20  # 64 vectors of SDXL take half a MiB
USUAL_WIDTHS = (768, 1280)  # the widths of SDXL's text encoders; the first is also that of SD 1.x
FILE_SUFFIXES = (".safetensors", ".pt", ".bin", ".ckpt", ".pti", ".pth")
COG_KEYS = ("text_encoders_0", "text_encoders_1")
KOHYA_KEY = "emb_params"
# File names that programs use for every embedding. Any other file name is what people type in a prompt.
NAMELESS_STEMS = ("embeddings", "learned_embeds", "text_emb")
PARTNER_SUFFIX = "_2"  # diffusers appends this to the name of the second encoder's file


@dataclass(frozen=True)
class ForeignEmbedding:
    """An embedding from a file, and its metadata where restage wrote the file."""

    embedding: Embedding
    format: str
    """The program whose format the file is in."""
    about: EmbeddingMetadata


@dataclass(frozen=True)
class _EmbeddingFile:
    """One file: a table for each text encoder, or one table that does not say which encoder it is for."""

    path: Path
    format: str
    tables: tuple[torch.Tensor, ...]
    placed: bool
    token: str | None = None
    about: EmbeddingMetadata = field(default_factory=EmbeddingMetadata)


def read_foreign(
    paths: Sequence[Path], token: str | None = None, otherwise: str | None = None, widths: Sequence[int] = ()
) -> ForeignEmbedding:
    """Read an embedding from its file, from the two files of a pair, or from a folder that holds either.

    `token` replaces the token in the file, `otherwise` is used where the file has none; the last resort is the name of
    the file. `widths` are those of the model's text encoders, where they are not the usual ones.
    """
    parts = [_read_file(path) for path in _expand_folder(paths)]
    first = parts[0]
    tables = _tables_of_pair(parts, widths) if len(parts) > 1 else _tables_of_file(first, widths)
    own_token = next((part.token for part in parts if part.token), None)
    word = _choose_token(first.path, token, own_token, otherwise)
    try:
        return ForeignEmbedding(Embedding(word, tables), first.format, first.about)
    except UserError as error:
        raise UserError(f"{first.path}: {error}") from None


def encoder_widths(source: ModelSource) -> tuple[int, ...]:
    """Return the widths of a model's text encoders without loading it."""
    if source.path.is_dir():
        configs = [source.path / name / "config.json" for name in ("text_encoder", "text_encoder_2")]
        return tuple(int(json.loads(config.read_text())["hidden_size"]) for config in configs if config.is_file())
    return {"sdxl": USUAL_WIDTHS, "refiner": USUAL_WIDTHS[1:], "sd1": USUAL_WIDTHS[:1]}[source.family]


def format_of(name: str) -> Format:
    """Return the format with this name."""
    for format in get_args(Format):
        if name == format:
            return cast(Format, format)
    raise UserError(f"format {name!r} is unknown: use one of {', '.join(get_args(Format))}")


def export_paths(path: Path, embedding: Embedding, format: Format) -> list[Path]:
    """List the files that `export_embedding` writes: for diffusers, one for each text encoder."""
    if format == "diffusers" and len(embedding.vectors) > 1:
        return [path, path.with_name(f"{path.stem}{PARTNER_SUFFIX}{path.suffix}")]
    return [path]


def export_embedding(
    path: Path, embedding: Embedding, about: EmbeddingMetadata, format: Format, half: bool = False
) -> list[Path]:
    """Write the embedding in another program's format, and return the paths of the files."""
    paths = export_paths(path, embedding, format)
    if format == "restage":
        write_embedding(path, embedding, about, half)
    elif format == "diffusers":
        for file, table in zip(paths, embedding.vectors, strict=True):
            files.write_file(file, pack_safetensors({embedding.token: table}, {}, half))
    else:
        keys = KEYS if len(embedding.vectors) > 1 else (KOHYA_KEY,)
        files.write_file(path, pack_safetensors(dict(zip(keys, embedding.vectors, strict=True)), {}, half))
    return paths


def _expand_folder(paths: Sequence[Path]) -> list[Path]:
    if len(paths) > 2:
        raise UserError(f"a word is in one file or in two, not in {len(paths)}: name its own")
    if len(paths) == 1 and paths[0].is_dir():
        return _files_of_folder(paths[0])
    for path in paths:
        if not path.is_file():
            raise UserError(f"there is no embedding file {path}: check the path")
    return list(paths)


def _files_of_folder(folder: Path) -> list[Path]:
    candidates = sorted(file for file in folder.iterdir() if file.is_file() and file.suffix.lower() in FILE_SUFFIXES)
    # diffusers can write the same content as .safetensors and as .bin.
    plain = [file for file in candidates if file.stem in ("learned_embeds", f"learned_embeds{PARTNER_SUFFIX}")]
    of_kind = {file.suffix: [other for other in plain if other.suffix == file.suffix] for file in plain}
    matching = of_kind.get(".safetensors") or plain or candidates
    if not 1 <= len(matching) <= 2:
        contents = "no embedding file" if not matching else f"{len(matching)} files that may be embeddings"
        raise UserError(f"{folder} holds {contents}: name the file, or the two of a pair")
    return matching


def _read_file(path: Path) -> _EmbeddingFile:
    if _unpacked_size(path) > MAX_FILE_BYTES:
        raise UserError(
            f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB, which no embedding is: check that it is the right file"
        )
    with path.open("rb") as file:
        first_bytes = file.read(9)
    if first_bytes[8:] == b"{":
        tables, header = read_tensors(path)
        return _from_tables(path, tables, EmbeddingMetadata.from_header(header), header)
    content = _unpickle_safely(path)
    if isinstance(content, Mapping) and "string_to_param" in content:
        return _from_a1111(path, content)
    if _is_table(content):
        return _EmbeddingFile(path, "torch", (content,), placed=False)
    if not isinstance(content, Mapping) or not all(_is_table(value) for value in content.values()):
        raise UserError(
            f"{path} holds something other than the vectors of a word: it is no embedding that restage knows"
        )
    return _from_tables(path, dict(content))


def _from_tables(
    path: Path,
    tables: Mapping[str, torch.Tensor],
    about: EmbeddingMetadata | None = None,
    header: Mapping[str, str] | None = None,
) -> _EmbeddingFile:
    """Recognise the format by the names of the tables."""
    about, names = about or EmbeddingMetadata(), set(tables)
    for format, keys in (("restage" if about != EmbeddingMetadata() else "A1111", KEYS), ("cog-sdxl", COG_KEYS)):
        if names and names <= set(keys):
            if keys[0] not in names:
                raise UserError(
                    f"{path} holds no {keys[0]!r}, the vectors for the first text encoder: get the whole file"
                )
            placed = tuple(tables[key] for key in keys if key in names)
            return _EmbeddingFile(path, format, placed, placed=True, token=(header or {}).get("token"), about=about)
    if len(names) != 1:
        raise UserError(f"{path} holds {len(names)} tensors under names of no known kind of embedding: check the file")
    [(name, table)] = tables.items()
    if name == KOHYA_KEY:
        return _EmbeddingFile(path, "kohya", (table,), placed=False)
    return _EmbeddingFile(path, "diffusers", (table,), placed=False, token=_usable_token(name))


def _from_a1111(path: Path, content: Mapping[str, Any]) -> _EmbeddingFile:
    params = content["string_to_param"]
    # A ParameterDict of an old torch keeps its entries in `_parameters`, as modules do.
    entries = getattr(params, "_parameters", None) or params
    tables = list(entries.values()) if isinstance(entries, Mapping) else []
    if len(tables) != 1 or not _is_table(tables[0]):
        raise UserError(
            f"{path} holds {len(tables)} words, not one: export the one you mean from the program that made it"
        )
    return _EmbeddingFile(path, "A1111", (tables[0],), placed=False, token=_usable_token(content.get("name")))


def _usable_token(name: object) -> str | None:
    """Return the token of a file, or None for `*`, which the original code writes into every file."""
    return name if isinstance(name, str) and name not in ("", "*") else None


def _unpickle_safely(path: Path) -> Any:
    import torch
    from torch.nn import ParameterDict

    try:
        # Older files of A1111 hold a ParameterDict, which is a plain container.
        quietly = warnings.catch_warnings(action="ignore")
        # Pass the open file, not its name: torch would choose another reader by the name.
        with path.open("rb") as file, torch.serialization.safe_globals([ParameterDict]), quietly:
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"{path} is a pickle that holds more than plain tensors, and such a file can run code: "
            "nothing of it was run; get the word as .safetensors"
        ) from None
    except Exception as error:  # torch raises many types of error for a damaged file
        raise UserError(
            f"{path} is no embedding file that can be read ({type(error).__name__}): it is torn or something else"
        ) from None


def _unpacked_size(path: Path) -> int:
    """Return the size in bytes that the file has once it is unpacked."""
    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as packed:
                size = max(size, sum(entry.file_size for entry in packed.infolist()))
        except (zipfile.BadZipFile, OSError):
            return size  # torch reports the damage when it reads the file
    return size


def _is_table(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and value.layout == torch.strided and value.is_floating_point()


def _tables_of_file(part: _EmbeddingFile, widths: Sequence[int]) -> tuple[torch.Tensor, ...]:
    tables = tuple(_as_rows(table) for table in part.tables)
    has = [table.shape[-1] for table in tables]
    if part.placed:
        if widths and has != list(widths):
            raise UserError(
                f"{part.path} is for encoders {_join_numbers(has)} wide, but this model's are {_join_numbers(widths)}"
            )
        return tables
    accepted, expected = list(widths or USUAL_WIDTHS), list(widths or USUAL_WIDTHS[:1])
    if has[0] not in accepted:
        whose = "this model's are" if widths else "known are"
        rest = "" if widths else "; name the model that it was learned on (--model)"
        raise UserError(f"{part.path} is for an encoder {has[0]} wide, but {whose} {_join_numbers(accepted)}{rest}")
    partner = part.path.with_name(f"{part.path.stem}{PARTNER_SUFFIX}{part.path.suffix}")
    if has != expected or (not widths and partner.is_file()):
        raise UserError(
            f"{part.path} is for one of two text encoders: give the other's file as well, or the folder of both"
        )
    return tables


def _tables_of_pair(parts: Sequence[_EmbeddingFile], widths: Sequence[int]) -> tuple[torch.Tensor, ...]:
    """Return the tables of two files in the order of the encoders, whatever the order of the files."""
    for part in parts:
        if part.placed:
            raise UserError(f"{part.path} is a whole word, not one of a pair: give it alone")
    one, other = (_as_rows(part.tables[0]) for part in parts)
    expected = list(widths or USUAL_WIDTHS)
    for pair in ((one, other), (other, one)):
        if [table.shape[-1] for table in pair] == expected:
            return pair
    has = _join_numbers([table.shape[-1] for table in (one, other)])
    raise UserError(
        f"{parts[0].path} and {parts[1].path} are for encoders {has} wide, not {_join_numbers(expected)}: check the pair"
    )


def _as_rows(table: torch.Tensor) -> torch.Tensor:
    """Return the table with two dimensions: a file with a single vector may hold only one."""
    return table[None] if table.ndim == 1 else table


def _join_numbers(values: Sequence[int]) -> str:
    return " and ".join(str(value) for value in values)


def _choose_token(path: Path, token: str | None, own_token: str | None, otherwise: str | None) -> str:
    """Return the token that the caller gave, or else the file's own, in angle brackets."""
    if token:
        check_token(token)
        return token
    if not own_token and otherwise:
        return otherwise
    name = own_token or ("" if path.stem.startswith(NAMELESS_STEMS) else path.stem)
    if not name:
        raise UserError(f"{path} does not say which word it is for: name the token (--token)")
    token_in_brackets = name if name.startswith("<") and name.endswith(">") else f"<{name}>"
    try:
        check_token(token_in_brackets)
    except UserError:
        raise UserError(
            f"{path} calls its word {name[:80]!r}, which cannot stand in a prompt: name the token (--token)"
        ) from None
    return token_in_brackets
