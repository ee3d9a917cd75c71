"""Store the versions of a persona's embedding: all are kept, and a row names the current one."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, insert, select

from models.sdxl import embedding as embeddings
from models.sdxl.embedding import Embedding, EmbeddingMetadata
from models.system.errors import UserError
from tasks.store.store import Store, utc_text
from tasks.store.tables import EMBEDDING, EMBEDDING_CURRENT

EMBEDDINGS_FOLDER = "embeddings"
MAX_NAME_LENGTH = 64


@dataclass(frozen=True)
class Version:
    """One version of a persona's embedding."""

    persona: str
    number: int
    """The version's number, from 1, in order of registration."""
    id: str
    """The hash of the token and its vectors."""
    file: str
    """The embedding's file, relative to the studio."""
    token: str
    base_model: str
    base_model_name: str
    reference_set: str
    training: str
    vectors: int
    score: float | None
    metrics: Mapping[str, float | None]
    note: str
    created_at: str
    current: bool

    @property
    def name(self) -> str:
        return f"{self.persona}@{self.number}"


@dataclass(frozen=True)
class VersionChange:
    """A change of the current version: since when, by whom and for what reason."""

    number: int
    since: str
    by: str
    why: str


def save_version(
    store: Store,
    studio: Path,
    persona: str,
    embedding: Embedding,
    about: EmbeddingMetadata,
    *,
    half: bool = False,
    reference_set: str = "",
    training: str = "",
    score: float | None = None,
    note: str = "",
    at: datetime | None = None,
) -> Version:
    """Write the embedding into the studio and register it in one transaction, which may be killed at any point."""
    check_name(persona)
    about = replace(about, persona=persona)
    embedding = embeddings.round_to_half(embedding) if half else embedding  # equals what is read back from the file
    with store.writing() as connection:
        existing = _find_version(connection, persona, id=embedding.hash)
        file = existing.file if existing else _free_file(studio, persona, _next_number(connection, persona), embedding)
        if not existing or not (studio / file).exists():
            embeddings.write_embedding(studio / file, embedding, about, half)
        return existing or _insert_version(
            connection,
            persona,
            embedding,
            file,
            about,
            reference_set,
            training,
            score,
            note,
            utc_text(at or store.clock()),
        )


def register_version(
    store: Store,
    persona: str,
    embedding: Embedding,
    file: str,
    about: EmbeddingMetadata,
    *,
    reference_set: str = "",
    training: str = "",
    score: float | None = None,
    note: str = "",
    at: datetime | None = None,
) -> Version:
    """Register an embedding's file, relative to the studio, as a new version; a registered embedding keeps its version."""
    check_name(persona)
    assert not Path(file).is_absolute(), file
    with store.writing() as connection:
        return _find_version(connection, persona, id=embedding.hash) or _insert_version(
            connection,
            persona,
            embedding,
            file,
            about,
            reference_set,
            training,
            score,
            note,
            utc_text(at or store.clock()),
        )


def make_current(store: Store, persona: str, number: int, why: str, by: str, at: datetime | None = None) -> Version:
    """Make a version the current one, as one more row; going back to an earlier version works the same way."""
    with store.writing() as connection:
        version = _require_version(connection, persona, number)
        if version.current:
            return version
        latest = select(func.max(EMBEDDING_CURRENT.c.number)).where(EMBEDDING_CURRENT.c.persona == persona)
        row = {
            "persona": persona,
            "number": (connection.scalar(latest) or 0) + 1,
            "embedding": version.id,
            "since": utc_text(at or store.clock()),
            "by_whom": by,
            "why": why,
        }
        connection.execute(insert(EMBEDDING_CURRENT).values(row))
        return replace(version, current=True)


def list_versions(store: Store, persona: str = "") -> list[Version]:
    """List every version of a persona, or of all personas, the oldest first."""
    with store.reading() as connection:
        return _select_versions(connection, *([EMBEDDING.c.persona == persona] if persona else []))


def current_version(store: Store, persona: str) -> Version | None:
    """Return the current version, or None if none was chosen yet."""
    return next((version for version in list_versions(store, persona) if version.current), None)


def load_version(studio: Path, version: Version) -> tuple[Embedding, EmbeddingMetadata]:
    """Load the embedding and its metadata; raise if the file is not what was registered."""
    path = studio / version.file
    if not path.is_file():
        raise UserError(f"the file of {version.name} is gone from {path}: put it back from a backup")
    embedding = embeddings.read_embedding(path)
    if embedding.hash != version.id:
        raise UserError(f"{path} is not what was registered as {version.name}: put it back from a backup")
    return embedding, EmbeddingMetadata.from_header(embeddings.read_tensors(path)[1])


def find_version(store: Store, persona: str, number: int | None = None) -> Version:
    """Return this version, or the current one; raise a `UserError` that names the existing versions if there is none."""
    with store.reading() as connection:
        if number is not None:
            return _require_version(connection, persona, number)
        versions = _select_versions(connection, EMBEDDING.c.persona == persona)
        version = next((item for item in versions if item.current), None)
        if version is None and versions:
            raise UserError(
                f"{persona} has no current version: choose one with restage embeddings use {persona} VERSION"
            )
        return version or _require_version(connection, persona, 1)


def list_changes(store: Store, persona: str) -> list[VersionChange]:
    """List the changes of the current version, the oldest first."""
    changes, versions = EMBEDDING_CURRENT.c, EMBEDDING.c
    query = (
        select(versions.version, changes.since, changes.by_whom, changes.why)
        .join_from(EMBEDDING_CURRENT, EMBEDDING)
        .where(changes.persona == persona)
        .order_by(changes.number)
    )
    with store.reading() as connection:
        return [VersionChange(*row) for row in connection.execute(query)]


def check_name(persona: str) -> None:
    """Check that the persona's name can be the name of a folder."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", persona) or len(persona) > MAX_NAME_LENGTH:
        raise UserError(
            f"{persona[:80]!r} cannot be the name of a persona: use at most {MAX_NAME_LENGTH} lowercase letters, digits, - and _"
        )


def _insert_version(
    connection: Connection,
    persona: str,
    embedding: Embedding,
    file: str,
    about: EmbeddingMetadata,
    reference_set: str,
    training: str,
    score: float | None,
    note: str,
    created_at: str,
) -> Version:
    row = {
        "persona": persona,
        "id": embedding.hash,
        "version": _next_number(connection, persona),
        "file": file,
        "token": embedding.token,
        "base_model": about.base_model,
        "base_model_name": about.base_model_name,
        "reference_set": reference_set,
        "training": training,
        "vectors": embedding.vector_count,
        "score": _finite_or_none(score),
        "metrics": json.dumps({key: _finite_or_none(value) for key, value in about.metrics.items()}, sort_keys=True),
        "note": note,
        "created_at": created_at,
    }
    connection.execute(insert(EMBEDDING).values(row))
    return _version_from_row(row, current="")


def _finite_or_none(value: float | None) -> float | None:
    """Return the value, or None if it is not finite, as not every database stores such numbers."""
    return value if value is not None and math.isfinite(value) else None


def _next_number(connection: Connection, persona: str) -> int:
    query = select(func.max(EMBEDDING.c.version)).where(EMBEDDING.c.persona == persona)
    return (connection.scalar(query) or 0) + 1


def _free_file(studio: Path, persona: str, number: int, embedding: Embedding) -> str:
    """Return the file for a new version; a file of that name that is not in the store is not overwritten."""
    file = f"{EMBEDDINGS_FOLDER}/{persona}/v{number}.safetensors"
    if not (studio / file).exists():
        return file
    try:
        is_same = embeddings.read_embedding(studio / file) == embedding  # killed before it was registered
    except UserError:
        is_same = False
    return file if is_same else f"{EMBEDDINGS_FOLDER}/{persona}/v{number}-{embedding.hash[:10]}.safetensors"


def _find_version(connection: Connection, persona: str, **values: Any) -> Version | None:
    conditions = [EMBEDDING.c[name] == value for name, value in values.items()]
    return next(iter(_select_versions(connection, EMBEDDING.c.persona == persona, *conditions)), None)


def _require_version(connection: Connection, persona: str, number: int) -> Version:
    version = _find_version(connection, persona, version=number)
    if version is not None:
        return version
    last = _next_number(connection, persona) - 1
    if not last:
        raise UserError(f"{persona} has no versions yet: teach one with restage train {persona}, or import a file")
    raise UserError(f"{persona} has no version {number}: there {'is only 1' if last == 1 else f'are 1 to {last}'}")


def _select_versions(connection: Connection, *where: Any) -> list[Version]:
    # Number of the newest change of each persona.
    changes = EMBEDDING_CURRENT.alias()
    newest = select(func.max(changes.c.number)).where(changes.c.persona == EMBEDDING.c.persona).scalar_subquery()
    current_id = (
        select(EMBEDDING_CURRENT.c.embedding)
        .where(EMBEDDING_CURRENT.c.persona == EMBEDDING.c.persona, EMBEDDING_CURRENT.c.number == newest)
        .scalar_subquery()
    )
    query = (
        select(EMBEDDING, current_id.label("chosen")).where(*where).order_by(EMBEDDING.c.persona, EMBEDDING.c.version)
    )
    versions = []
    for row in connection.execute(query).mappings():
        values = dict(row)
        versions.append(_version_from_row(values, values.pop("chosen") or ""))
    return versions


def _version_from_row(row: Mapping[str, Any], current: str) -> Version:
    values = dict(row)
    number, metrics = values.pop("version"), json.loads(values.pop("metrics"))
    return Version(**values, number=number, metrics=metrics, current=values["id"] == current)
