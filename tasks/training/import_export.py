"""Learned words from elsewhere become versions of a persona, and versions become files for elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from models.sdxl import embedding_formats, locate
from models.sdxl.embedding_formats import Format
from models.system.errors import UserError
from tasks.persona import persona as personas
from tasks.settings.settings import Loaded
from tasks.store.store import Store
from tasks.training import versions
from tasks.training.versions import Version


def take_in(
    files: Sequence[Path], name: str, store: Store, loaded: Loaded, token: str | None = None, model: str = ""
) -> Version:
    """Copy a word in any known format into the studio, as a version of the persona."""
    versions.check_name(name)
    expected = personas.find(name, loaded.folder).token if name in personas.names(loaded.folder) else None
    memory = loaded.studio / "cache" / "hashes.json"
    source = locate.locate(loaded.place(model), memory=memory) if model else None
    found = embedding_formats.read(files, token, expected, embedding_formats.widths_of(source) if source else ())
    word = found.embedding.token
    if expected and word != expected:
        raise UserError(
            f"the word of {files[0]} is {word}, but {name} is called {expected} in its persona file: "
            f"import it with --token '{expected}', or for another persona"
        )
    about = found.about
    if source:
        about = replace(about, base_model=source.ref.hash, base_model_name=source.ref.name)
    note = f"imported from {' and '.join(each.name for each in files)} ({found.format})"
    return versions.keep(store, loaded.studio, name, found.embedding, about, note=note)


def give_out(
    version: Version, path: Path, studio: Path, format: Format = "restage", half: bool = False, force: bool = False
) -> list[Path]:
    """Write a version as a file for another program; what is there already stays, unless it is to be replaced."""
    embedding, about = versions.load(studio, version)
    for each in embedding_formats.targets(path, embedding, format):
        if each.is_dir() or each.suffix != ".safetensors":
            raise UserError(f"{str(each)!r} is not the name of an embedding file: end it in .safetensors")
        if each.exists() and not force:
            raise UserError(f"{each} exists already: choose another name, or replace it with --force")
    return embedding_formats.export(path, embedding, about, format, half)


def which(text: str) -> tuple[str, int | None]:
    """`pip` and `pip@2`."""
    name, at, number = text.partition("@")
    versions.check_name(name)
    if at and not (number.isascii() and number.isdecimal() and len(number) < 10):
        raise UserError(f"{text[:80]!r} names no version: write it as {name}@2, or {name} for the current one")
    return name, int(number) if at else None
