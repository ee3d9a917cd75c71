"""The history of a picture: its shot, model and embedding, that embedding's training pictures, and its posts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from board.context import BoardContext
from board.post_card import Reference
from board.replays import ReplayStatus
from models.picture import provenance
from models.picture.shot import Shot
from models.system.errors import UserError
from tasks.posts import post_store
from tasks.posts.post import Post
from tasks.references.reference_set import ReferenceSetStore
from tasks.training import versions
from tasks.training.versions import Version


@dataclass(frozen=True)
class EmbeddingOrigin:
    """An embedding that the picture was made with, and what it was learned from."""

    name: str
    hash: str
    version: Version | None
    references: Sequence[Reference] = ()


@dataclass(frozen=True)
class PictureHistory:
    picture: str
    problem: str
    """Why there is no record to show; empty where there is one."""
    facts: Sequence[tuple[str, str]] = ()
    prompt: str = ""
    words: Sequence[EmbeddingOrigin] = ()
    parents: Sequence[str] = ()
    environment: Sequence[tuple[str, str]] = ()
    posts: Sequence[Post] = ()
    replay: ReplayStatus | None = field(default=None)


def trace_picture(context: BoardContext, picture: str, path: Path) -> PictureHistory:
    posts = post_store.with_picture(context.store, picture)
    replay_status = context.replays.find_status(picture)
    try:
        _, record = provenance.read_picture(path)
    except UserError as error:
        return PictureHistory(picture, str(error).replace(str(path), "The picture"), posts=posts, replay=replay_status)
    environment = [(key, str(value)) for key, value in sorted(record.environment.items())]
    shot = record.shot
    return PictureHistory(
        picture,
        "",
        _shot_facts(shot),
        shot.prompt,
        _embedding_origins(context, shot),
        record.parents,
        environment,
        posts,
        replay_status,
    )


def _shot_facts(shot: Shot) -> list[tuple[str, str]]:
    facts = [
        ("Model", f"{_bare_name(shot.model.name)} · {shot.model.hash[:12]}"),
        ("Seed", str(shot.seed)),
        ("Size", f"{shot.width} × {shot.height}"),
        ("Sampler", f"{shot.sampler}, {shot.steps} steps"),
        ("Guidance", f"{shot.guidance:g}"),
    ]
    facts += [("Negative prompt", shot.negative)] if shot.negative else []
    facts += [("VAE", f"{_bare_name(shot.vae.name)} · {shot.vae.hash[:12]}")] if shot.vae else []
    facts += [("LoRA", f"{_bare_name(lora.name)} · {lora.weight:g}") for lora in shot.loras]
    facts += [("Starts from", f"{_bare_name(shot.init.name)}, strength {shot.strength:g}")] if shot.init else []
    return facts


def _embedding_origins(context: BoardContext, shot: Shot) -> list[EmbeddingOrigin]:
    if not shot.embeddings:
        return []
    version_of = {embedding.id: embedding for embedding in versions.list_versions(context.store)}
    return [
        EmbeddingOrigin(
            _bare_name(embedding.name),
            embedding.hash,
            version_of.get(embedding.hash),
            _learned_from(context, version_of.get(embedding.hash)),
        )
        for embedding in shot.embeddings
    ]


def _learned_from(context: BoardContext, version: Version | None) -> list[Reference]:
    if version is None:
        return []
    try:
        verdicts = (
            ReferenceSetStore(context.loaded.studio, version.persona).load_set(version.reference_set).choice.chosen
        )
    except UserError:  # a set made elsewhere, or tidied away
        return []
    return [Reference(verdict.candidate.id, verdict.candidate.prompt) for verdict in verdicts]


def _bare_name(name: str) -> str:
    """Return the name without the folders of somebody's home."""
    return Path(name).name if "/" in name and Path(name).is_absolute() else name
