"""Versions of a persona's learned word: every one is kept, and a row says which one counts."""

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
from models.sdxl.embedding import About, Embedding
from models.system.errors import UserError
from tasks.store.store import Store, instant
from tasks.store.tables import EMBEDDING, EMBEDDING_CURRENT

FOLDER = "embeddings"
LONGEST_NAME = 64


@dataclass(frozen=True)
class Version:
    """One version of a persona's word."""

    persona: str
    number: int
    """From 1, in the order in which they came."""
    id: str
    """The hash of the word and its vectors."""
    file: str
    """Where the vectors are, from the studio."""
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
class Change:
    """From when on a version was the current one, by whom and why."""

    number: int
    since: str
    by: str
    why: str


def keep(
    store: Store,
    studio: Path,
    persona: str,
    embedding: Embedding,
    about: About,
    *,
    half: bool = False,
    reference_set: str = "",
    training: str = "",
    score: float | None = None,
    note: str = "",
    at: datetime | None = None,
) -> Version:
    """Write the word into the studio and register it, as `register` does, in one go that may be killed anywhere."""
    check_name(persona)
    about = replace(about, persona=persona)
    embedding = embeddings.rounded(embedding) if half else embedding  # the version is what the file gives back
    with store.writing() as connection:
        known = _find(connection, persona, id=embedding.hash)
        file = known.file if known else _place(studio, persona, _next(connection, persona), embedding)
        if not known or not (studio / file).exists():
            embeddings.write(studio / file, embedding, about, half)
        return known or _insert(
            connection,
            persona,
            embedding,
            file,
            about,
            reference_set,
            training,
            score,
            note,
            instant(at or store.clock()),
        )


def register(
    store: Store,
    persona: str,
    embedding: Embedding,
    file: str,
    about: About,
    *,
    reference_set: str = "",
    training: str = "",
    score: float | None = None,
    note: str = "",
    at: datetime | None = None,
) -> Version:
    """A new version of a word whose file is written, named from the studio. A word known already keeps its version."""
    check_name(persona)
    assert not Path(file).is_absolute(), file
    with store.writing() as connection:
        return _find(connection, persona, id=embedding.hash) or _insert(
            connection,
            persona,
            embedding,
            file,
            about,
            reference_set,
            training,
            score,
            note,
            instant(at or store.clock()),
        )


def use(store: Store, persona: str, number: int, why: str, by: str, at: datetime | None = None) -> Version:
    """Make a version the current one. That is one more row, so going back is the same; nothing is undone."""
    with store.writing() as connection:
        chosen = _known(connection, persona, number)
        if chosen.current:
            return chosen
        latest = select(func.max(EMBEDDING_CURRENT.c.number)).where(EMBEDDING_CURRENT.c.persona == persona)
        row = {
            "persona": persona,
            "number": (connection.scalar(latest) or 0) + 1,
            "embedding": chosen.id,
            "since": instant(at or store.clock()),
            "by_whom": by,
            "why": why,
        }
        connection.execute(insert(EMBEDDING_CURRENT).values(row))
        return replace(chosen, current=True)


def versions(store: Store, persona: str = "") -> list[Version]:
    """Every version of a persona, or of all of them, the oldest first."""
    with store.reading() as connection:
        return _read(connection, *([EMBEDDING.c.persona == persona] if persona else []))


def current(store: Store, persona: str) -> Version | None:
    """The version that counts, or None where none was chosen yet."""
    return next((each for each in versions(store, persona) if each.current), None)


def load(studio: Path, version: Version) -> tuple[Embedding, About]:
    """The word itself and its record, if its file still is what was registered."""
    path = studio / version.file
    if not path.is_file():
        raise UserError(f"the file of {version.name} is gone from {path}: put it back from a backup")
    found = embeddings.read(path)
    if found.hash != version.id:
        raise UserError(f"{path} is not what was registered as {version.name}: put it back from a backup")
    return found, About.from_header(embeddings.contents(path)[1])


def version(store: Store, persona: str, number: int | None = None) -> Version:
    """One version, or the current one; a `UserError` that says what there is where it is not there."""
    with store.reading() as connection:
        if number is not None:
            return _known(connection, persona, number)
        found = _read(connection, EMBEDDING.c.persona == persona)
        chosen = next((each for each in found if each.current), None)
        if chosen is None and found:
            raise UserError(
                f"{persona} has no current version: choose one with restage embeddings use {persona} VERSION"
            )
        return chosen or _known(connection, persona, 1)


def history(store: Store, persona: str) -> list[Change]:
    """Which version was current since when, the oldest first."""
    changes, words = EMBEDDING_CURRENT.c, EMBEDDING.c
    query = (
        select(words.version, changes.since, changes.by_whom, changes.why)
        .join_from(EMBEDDING_CURRENT, EMBEDDING)
        .where(changes.persona == persona)
        .order_by(changes.number)
    )
    with store.reading() as connection:
        return [Change(*row) for row in connection.execute(query)]


def check_name(persona: str) -> None:
    """It becomes the name of a folder."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", persona) or len(persona) > LONGEST_NAME:
        raise UserError(
            f"{persona[:80]!r} cannot be the name of a persona: use at most {LONGEST_NAME} lowercase letters, digits, - and _"
        )


def _insert(
    connection: Connection,
    persona: str,
    embedding: Embedding,
    file: str,
    about: About,
    reference_set: str,
    training: str,
    score: float | None,
    note: str,
    created_at: str,
) -> Version:
    row = {
        "persona": persona,
        "id": embedding.hash,
        "version": _next(connection, persona),
        "file": file,
        "token": embedding.token,
        "base_model": about.base_model,
        "base_model_name": about.base_model_name,
        "reference_set": reference_set,
        "training": training,
        "vectors": embedding.count,
        "score": _finite(score),
        "metrics": json.dumps({key: _finite(value) for key, value in about.metrics.items()}, sort_keys=True),
        "note": note,
        "created_at": created_at,
    }
    connection.execute(insert(EMBEDDING).values(row))
    return _version(row, current="")


def _finite(value: float | None) -> float | None:
    """What could not be measured is no number; not every database keeps one that is none."""
    return value if value is not None and math.isfinite(value) else None


def _next(connection: Connection, persona: str) -> int:
    query = select(func.max(EMBEDDING.c.version)).where(EMBEDDING.c.persona == persona)
    return (connection.scalar(query) or 0) + 1


def _place(studio: Path, persona: str, number: int, embedding: Embedding) -> str:
    """The file for a version. One of that name that is not known to the store belongs to somebody, and stays."""
    file = f"{FOLDER}/{persona}/v{number}.safetensors"
    if not (studio / file).exists():
        return file
    try:
        is_same = embeddings.read(studio / file) == embedding  # written, but killed before it was registered
    except UserError:
        is_same = False
    return file if is_same else f"{FOLDER}/{persona}/v{number}-{embedding.hash[:10]}.safetensors"


def _find(connection: Connection, persona: str, **values: Any) -> Version | None:
    wanted = [EMBEDDING.c[name] == value for name, value in values.items()]
    return next(iter(_read(connection, EMBEDDING.c.persona == persona, *wanted)), None)


def _known(connection: Connection, persona: str, number: int) -> Version:
    found = _find(connection, persona, version=number)
    if found is not None:
        return found
    last = _next(connection, persona) - 1
    if not last:
        raise UserError(f"{persona} has no versions yet: teach one with restage train {persona}, or import a file")
    raise UserError(f"{persona} has no version {number}: there {'is only 1' if last == 1 else f'are 1 to {last}'}")


def _read(connection: Connection, *where: Any) -> list[Version]:
    # The newest choice of each persona.
    changes = EMBEDDING_CURRENT.alias()
    newest = select(func.max(changes.c.number)).where(changes.c.persona == EMBEDDING.c.persona).scalar_subquery()
    chosen = (
        select(EMBEDDING_CURRENT.c.embedding)
        .where(EMBEDDING_CURRENT.c.persona == EMBEDDING.c.persona, EMBEDDING_CURRENT.c.number == newest)
        .scalar_subquery()
    )
    query = select(EMBEDDING, chosen.label("chosen")).where(*where).order_by(EMBEDDING.c.persona, EMBEDDING.c.version)
    found = []
    for row in connection.execute(query).mappings():
        values = dict(row)
        found.append(_version(values, values.pop("chosen") or ""))
    return found


def _version(row: Mapping[str, Any], current: str) -> Version:
    values = dict(row)
    number, metrics = values.pop("version"), json.loads(values.pop("metrics"))
    return Version(**values, number=number, metrics=metrics, current=values["id"] == current)
