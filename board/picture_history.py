"""Where a picture comes from: its shot, model and word, the pictures that the word was learned from, and its posts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from board.context import Desk
from board.post_card import Reference
from board.replays import Outcome
from models.picture import provenance
from models.picture.shot import Shot
from models.system.errors import UserError
from tasks.posts import post_store
from tasks.posts.post import Post
from tasks.references.reference_set import Shelf
from tasks.training import versions
from tasks.training.versions import Version


@dataclass(frozen=True)
class Learned:
    """A word that the picture was made with, and what it was learned from."""

    name: str
    hash: str
    version: Version | None
    references: Sequence[Reference] = ()


@dataclass(frozen=True)
class Trace:
    picture: str
    problem: str
    """Why there is no record to show; empty where there is one."""
    facts: Sequence[tuple[str, str]] = ()
    prompt: str = ""
    words: Sequence[Learned] = ()
    parents: Sequence[str] = ()
    environment: Sequence[tuple[str, str]] = ()
    posts: Sequence[Post] = ()
    replay: Outcome | None = field(default=None)


def trace(desk: Desk, picture: str, path: Path) -> Trace:
    found = post_store.with_picture(desk.store, picture)
    outcome = desk.replays.outcome(picture)
    try:
        _, record = provenance.read(path)
    except UserError as error:
        return Trace(picture, str(error).replace(str(path), "The picture"), posts=found, replay=outcome)
    environment = [(key, str(value)) for key, value in sorted(record.environment.items())]
    shot = record.shot
    return Trace(
        picture, "", _facts(shot), shot.prompt, _words(desk, shot), record.parents, environment, found, outcome
    )


def _facts(shot: Shot) -> list[tuple[str, str]]:
    facts = [
        ("Model", f"{_bare(shot.model.name)} · {shot.model.hash[:12]}"),
        ("Seed", str(shot.seed)),
        ("Size", f"{shot.width} × {shot.height}"),
        ("Sampler", f"{shot.sampler}, {shot.steps} steps"),
        ("Guidance", f"{shot.guidance:g}"),
    ]
    facts += [("Negative prompt", shot.negative)] if shot.negative else []
    facts += [("VAE", f"{_bare(shot.vae.name)} · {shot.vae.hash[:12]}")] if shot.vae else []
    facts += [("LoRA", f"{_bare(each.name)} · {each.weight:g}") for each in shot.loras]
    facts += [("Starts from", f"{_bare(shot.init.name)}, strength {shot.strength:g}")] if shot.init else []
    return facts


def _words(desk: Desk, shot: Shot) -> list[Learned]:
    if not shot.embeddings:
        return []
    known = {each.id: each for each in versions.versions(desk.store)}
    return [Learned(_bare(each.name), each.hash, known.get(each.hash), _learned_from(desk, known.get(each.hash)))
            for each in shot.embeddings]  # fmt: skip


def _learned_from(desk: Desk, version: Version | None) -> list[Reference]:
    if version is None:
        return []
    try:
        chosen = Shelf(desk.loaded.studio, version.persona).read(version.reference_set).choice.chosen
    except UserError:  # a set made elsewhere, or tidied away
        return []
    return [Reference(each.candidate.id, each.candidate.prompt) for each in chosen]


def _bare(name: str) -> str:
    """Without the folders of somebody's home."""
    return Path(name).name if "/" in name and Path(name).is_absolute() else name
