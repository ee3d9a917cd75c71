"""Learned words in the files of other programs: read whatever they wrote, and write what they read.

Known are the safetensors of A1111, Forge and ComfyUI (`clip_l`, `clip_g`), kohya's (`emb_params`), diffusers'
`{token: vectors}` (SDXL: a file for each text encoder), cog-sdxl's `embeddings.pti`, and A1111's `.pt`. Pickles are read
by torch's reader for plain tensors, which runs no code.
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

from models.sdxl.embedding import KEYS, About, Embedding, check_token, contents, pack, write
from models.system import files
from models.system.errors import UserError

if TYPE_CHECKING:
    import torch

    from models.sdxl.locate import Source

Format = Literal["restage", "diffusers", "a1111"]

LARGEST = 64 << 20  # bytes; 64 vectors of SDXL are half of one MiB
USUAL = (768, 1280)  # how wide SDXL's text encoders are; the first is also that of SD 1.x
SUFFIXES = (".safetensors", ".pt", ".bin", ".ckpt", ".pti", ".pth")
COG = ("text_encoders_0", "text_encoders_1")
KOHYA = "emb_params"
# Programs call their files so whatever the word is; elsewhere the file's name is what people write in a prompt.
NAMELESS = ("embeddings", "learned_embeds", "text_emb")
PARTNER = "_2"  # what diffusers puts after the name of the second encoder's file


@dataclass(frozen=True)
class Found:
    """A word as a file holds it, and the record beside it where restage wrote the file."""

    embedding: Embedding
    format: str
    """Whose format it was in."""
    about: About


@dataclass(frozen=True)
class _Part:
    """One file: a table for each text encoder, or one that does not say for which."""

    path: Path
    format: str
    tables: tuple[torch.Tensor, ...]
    placed: bool
    token: str | None = None
    about: About = field(default_factory=About)


def read(
    paths: Sequence[Path], token: str | None = None, otherwise: str | None = None, widths: Sequence[int] = ()
) -> Found:
    """Read a word from its file, from the two files of a pair, or from a folder that holds either.

    `token` is what the word is to be called, `otherwise` what it is called where the file names none; after that comes
    the name of the file. `widths` are those of the model's text encoders, where they are not the usual ones.
    """
    parts = [_part(path) for path in _expanded(paths)]
    first = parts[0]
    tables = _paired(parts, widths) if len(parts) > 1 else _alone(first, widths)
    named = next((part.token for part in parts if part.token), None)
    word = _word(first.path, token, named, otherwise)
    try:
        return Found(Embedding(word, tables), first.format, first.about)
    except UserError as error:
        raise UserError(f"{first.path}: {error}") from None


def widths_of(source: Source) -> tuple[int, ...]:
    """How wide the text encoders of a model are, without loading it."""
    if source.path.is_dir():
        configs = [source.path / name / "config.json" for name in ("text_encoder", "text_encoder_2")]
        return tuple(int(json.loads(each.read_text())["hidden_size"]) for each in configs if each.is_file())
    return {"sdxl": USUAL, "refiner": USUAL[1:], "sd1": USUAL[:1]}[source.family]


def format_of(name: str) -> Format:
    """A format by the name that somebody typed."""
    for each in get_args(Format):
        if name == each:
            return cast(Format, each)
    raise UserError(f"format {name!r} is unknown: use one of {', '.join(get_args(Format))}")


def targets(path: Path, embedding: Embedding, format: Format) -> list[Path]:
    """The files that `export` writes: for diffusers one for each text encoder."""
    if format == "diffusers" and len(embedding.vectors) > 1:
        return [path, path.with_name(f"{path.stem}{PARTNER}{path.suffix}")]
    return [path]


def export(path: Path, embedding: Embedding, about: About, format: Format, half: bool = False) -> list[Path]:
    """Write the word as another program reads it, and say which files that made."""
    made = targets(path, embedding, format)
    if format == "restage":
        write(path, embedding, about, half)
    elif format == "diffusers":
        for each, table in zip(made, embedding.vectors, strict=True):
            files.write(each, pack({embedding.token: table}, {}, half))
    else:
        keys = KEYS if len(embedding.vectors) > 1 else (KOHYA,)
        files.write(path, pack(dict(zip(keys, embedding.vectors, strict=True)), {}, half))
    return made


def _expanded(paths: Sequence[Path]) -> list[Path]:
    if len(paths) > 2:
        raise UserError(f"a word is in one file or in two, not in {len(paths)}: name its own")
    if len(paths) == 1 and paths[0].is_dir():
        return _of_folder(paths[0])
    for path in paths:
        if not path.is_file():
            raise UserError(f"there is no embedding file {path}: check the path")
    return list(paths)


def _of_folder(folder: Path) -> list[Path]:
    there = sorted(each for each in folder.iterdir() if each.is_file() and each.suffix.lower() in SUFFIXES)
    # diffusers writes both kinds of file on request, with one content.
    plain = [each for each in there if each.stem in ("learned_embeds", f"learned_embeds{PARTNER}")]
    of_kind = {each.suffix: [other for other in plain if other.suffix == each.suffix] for each in plain}
    found = of_kind.get(".safetensors") or plain or there
    if not 1 <= len(found) <= 2:
        what = "no embedding file" if not found else f"{len(found)} files that may be embeddings"
        raise UserError(f"{folder} holds {what}: name the file, or the two of a pair")
    return found


def _part(path: Path) -> _Part:
    if _size(path) > LARGEST:
        raise UserError(
            f"{path} is larger than {LARGEST >> 20} MiB, which no embedding is: check that it is the right file"
        )
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] == b"{":
        tables, header = contents(path)
        return _of_tables(path, tables, About.from_header(header), header)
    held = _unpickled(path)
    if isinstance(held, Mapping) and "string_to_param" in held:
        return _of_a1111(path, held)
    if _is_table(held):
        return _Part(path, "torch", (held,), placed=False)
    if not isinstance(held, Mapping) or not all(_is_table(each) for each in held.values()):
        raise UserError(
            f"{path} holds something other than the vectors of a word: it is no embedding that restage knows"
        )
    return _of_tables(path, dict(held))


def _of_tables(
    path: Path, tables: Mapping[str, torch.Tensor], about: About | None = None, header: Mapping[str, str] | None = None
) -> _Part:
    """What the names of the tables say."""
    about, names = about or About(), set(tables)
    for format, keys in (("restage" if about != About() else "A1111", KEYS), ("cog-sdxl", COG)):
        if names and names <= set(keys):
            if keys[0] not in names:
                raise UserError(
                    f"{path} holds no {keys[0]!r}, the vectors for the first text encoder: get the whole file"
                )
            placed = tuple(tables[key] for key in keys if key in names)
            return _Part(path, format, placed, placed=True, token=(header or {}).get("token"), about=about)
    if len(names) != 1:
        raise UserError(f"{path} holds {len(names)} tensors under names of no known kind of embedding: check the file")
    [(name, table)] = tables.items()
    if name == KOHYA:
        return _Part(path, "kohya", (table,), placed=False)
    return _Part(path, "diffusers", (table,), placed=False, token=_said(name))


def _of_a1111(path: Path, held: Mapping[str, Any]) -> _Part:
    params = held["string_to_param"]
    # A ParameterDict that an old torch wrote keeps its entries where modules keep parameters.
    entries = getattr(params, "_parameters", None) or params
    tables = list(entries.values()) if isinstance(entries, Mapping) else []
    if len(tables) != 1 or not _is_table(tables[0]):
        raise UserError(
            f"{path} holds {len(tables)} words, not one: export the one you mean from the program that made it"
        )
    return _Part(path, "A1111", (tables[0],), placed=False, token=_said(held.get("name")))


def _said(name: object) -> str | None:
    """The original code calls every word `*`, which names none."""
    return name if isinstance(name, str) and name not in ("", "*") else None


def _unpickled(path: Path) -> Any:
    import torch
    from torch.nn import ParameterDict

    try:
        # A ParameterDict is a plain container, which older files of A1111 hold.
        quietly = warnings.catch_warnings(action="ignore")
        # The open file, not its name: by that torch would choose another reader.
        with path.open("rb") as file, torch.serialization.safe_globals([ParameterDict]), quietly:
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"{path} is a pickle that holds more than plain tensors, and such a file can run code: "
            "nothing of it was run; get the word as .safetensors"
        ) from None
    except Exception as error:  # torch answers to a damaged file with whatever its reader stumbles over
        raise UserError(
            f"{path} is no embedding file that can be read ({type(error).__name__}): it is torn or something else"
        ) from None


def _size(path: Path) -> int:
    """What the file would take once it is unpacked."""
    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as packed:
                size = max(size, sum(each.file_size for each in packed.infolist()))
        except (zipfile.BadZipFile, OSError):
            return size  # torn: torch will say so
    return size


def _is_table(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and value.layout == torch.strided and value.is_floating_point()


def _alone(part: _Part, widths: Sequence[int]) -> tuple[torch.Tensor, ...]:
    tables = tuple(_rows(table) for table in part.tables)
    has = [table.shape[-1] for table in tables]
    if part.placed:
        if widths and has != list(widths):
            raise UserError(
                f"{part.path} is for encoders {_numbers(has)} wide, but this model's are {_numbers(widths)}"
            )
        return tables
    known, asked = list(widths or USUAL), list(widths or USUAL[:1])
    if has[0] not in known:
        what = "this model's are" if widths else "known are"
        rest = "" if widths else "; name the model that it was learned on (--model)"
        raise UserError(f"{part.path} is for an encoder {has[0]} wide, but {what} {_numbers(known)}{rest}")
    partner = part.path.with_name(f"{part.path.stem}{PARTNER}{part.path.suffix}")
    if has != asked or (not widths and partner.is_file()):
        raise UserError(
            f"{part.path} is for one of two text encoders: give the other's file as well, or the folder of both"
        )
    return tables


def _paired(parts: Sequence[_Part], widths: Sequence[int]) -> tuple[torch.Tensor, ...]:
    """The tables of two files in the order of the encoders, whatever the order of the files."""
    for part in parts:
        if part.placed:
            raise UserError(f"{part.path} is a whole word, not one of a pair: give it alone")
    one, other = (_rows(part.tables[0]) for part in parts)
    wanted = list(widths or USUAL)
    for pair in ((one, other), (other, one)):
        if [table.shape[-1] for table in pair] == wanted:
            return pair
    has = _numbers([table.shape[-1] for table in (one, other)])
    raise UserError(
        f"{parts[0].path} and {parts[1].path} are for encoders {has} wide, not {_numbers(wanted)}: check the pair"
    )


def _rows(table: torch.Tensor) -> torch.Tensor:
    """A word of one vector may be written without the number."""
    return table[None] if table.ndim == 1 else table


def _numbers(values: Sequence[int]) -> str:
    return " and ".join(str(value) for value in values)


def _word(path: Path, token: str | None, named: str | None, otherwise: str | None) -> str:
    """The word as asked for; else by its file, in angle brackets where that has none."""
    if token:
        check_token(token)
        return token
    if not named and otherwise:
        return otherwise
    name = named or ("" if path.stem.startswith(NAMELESS) else path.stem)
    if not name:
        raise UserError(f"{path} does not say which word it is for: name the token (--token)")
    word = name if name.startswith("<") and name.endswith(">") else f"<{name}>"
    try:
        check_token(word)
    except UserError:
        raise UserError(
            f"{path} calls its word {name[:80]!r}, which cannot stand in a prompt: name the token (--token)"
        ) from None
    return word
