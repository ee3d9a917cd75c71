"""Import embeddings of other programs as versions of a persona, and export versions for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from models.sdxl import embedding_formats, locate
from models.sdxl.embedding_formats import Format
from models.system.errors import UserError
from tasks.persona import persona as personas
from tasks.settings.settings import LoadedSettings
from tasks.store.store import Store
from tasks.training import versions
from tasks.training.versions import Version


def import_embedding(
    files: Sequence[Path], name: str, store: Store, loaded: LoadedSettings, token: str | None = None, model: str = ""
) -> Version:
    """Copy an embedding of any known format into the studio, as a version of the persona."""
    versions.check_name(name)
    expected = (
        personas.find_persona(name, loaded.folder).token if name in personas.persona_names(loaded.folder) else None
    )
    memory = loaded.studio / "cache" / "hashes.json"
    source = locate.locate_model(loaded.resolve_path(model), memory=memory) if model else None
    foreign = embedding_formats.read_foreign(
        files, token, expected, embedding_formats.encoder_widths(source) if source else ()
    )
    file_token = foreign.embedding.token
    if expected and file_token != expected:
        raise UserError(
            f"the word of {files[0]} is {file_token}, but {name} is called {expected} in its persona file: "
            f"import it with --token '{expected}', or for another persona"
        )
    about = foreign.about
    if source:
        about = replace(about, base_model=source.ref.hash, base_model_name=source.ref.name)
    note = f"imported from {' and '.join(file.name for file in files)} ({foreign.format})"
    return versions.save_version(store, loaded.studio, name, foreign.embedding, about, note=note)


def export_embedding(
    version: Version, path: Path, studio: Path, format: Format = "restage", half: bool = False, force: bool = False
) -> list[Path]:
    """Write a version as a file for another program; an existing file is replaced only with `force`."""
    embedding, about = versions.load_version(studio, version)
    for target in embedding_formats.export_paths(path, embedding, format):
        if target.is_dir() or target.suffix != ".safetensors":
            raise UserError(f"{str(target)!r} is not the name of an embedding file: end it in .safetensors")
        if target.exists() and not force:
            raise UserError(f"{target} exists already: choose another name, or replace it with --force")
    return embedding_formats.export_embedding(path, embedding, about, format, half)


def parse_version(text: str) -> tuple[str, int | None]:
    """Parse `pip` and `pip@2` into the persona's name and the version number, if any."""
    name, at, number = text.partition("@")
    versions.check_name(name)
    if at and not (number.isascii() and number.isdecimal() and len(number) < 10):
        raise UserError(f"{text[:80]!r} names no version: write it as {name}@2, or {name} for the current one")
    return name, int(number) if at else None
