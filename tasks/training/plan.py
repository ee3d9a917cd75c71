"""Prepare a training: the pictures of a reference set with their captions, and every knob that decides the outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from models.sdxl.embedding import read
from models.sdxl.locate import Source
from models.system.errors import UserError
from tasks.persona.persona import Persona
from tasks.references.reference_set import ReferenceSet
from tasks.settings.sections import Training
from tasks.settings.settings import Loaded
from tasks.training.record import Lesson, Preview

NORMS = (0.01, 0.99)
"""The share of the vocabulary's lengths that a word's vectors stay between."""
PACE = (
    "stop",
    "save_every",
    "validate_every",
    "preview_every",
    "average",
    "patience",
    "gain",
    "enough",
    "least_steps",
    "plateau_window",
    "plateau_share",
)
# What has another name or form here, or is not the trainer's.
_OWN = ("init", "rate", "keep_norms", "captions", "captioner", "preview_seeds", "half", *PACE)


class Called(Protocol):
    """What a picture is called while the word is learned."""

    @property
    def texts(self) -> Sequence[str]: ...
    @property
    def origin(self) -> str: ...


def lesson(
    made: ReferenceSet,
    persona: Persona,
    called: Sequence[Called],
    previews: Sequence[Preview],
    source: Source,
    look: Mapping[str, Any],
    loaded: Loaded,
) -> Lesson:
    """`called` are the captions of the chosen pictures, in order; `look` says how previews are rendered."""
    chosen = [verdict.candidate for verdict in made.choice.chosen]
    if not chosen:
        raise UserError(f"{persona.name} has no references to learn from: run restage references {persona.name}")
    if gone := [each.path for each in chosen if not (loaded.studio / each.path).is_file()]:
        raise UserError(
            f"the reference {loaded.studio / gone[0]} is gone: put it back, or run restage references {persona.name}"
        )
    knobs = loaded.settings.training
    scorer = f"{loaded.settings.models.clip} {loaded.settings.references.identity_scorer}".strip()
    return Lesson(
        persona=persona.name,
        token=persona.token,
        class_word=persona.class_word,
        reference_set=made.id,
        pictures=[each.path for each in chosen],
        captions=[list(each.texts) for each in called],
        origins=[each.origin for each in called],
        model=source.ref.name,
        previews=list(previews),
        config=config(persona, knobs, loaded),
        pace={name: getattr(knobs, name) for name in PACE},
        of={
            "model": source.ref.hash,
            "references": [each.id for each in chosen],
            "scorer": scorer,
            "look": dict(look),
        },
        round=made.round,
    )


def config(persona: Persona, knobs: Training, loaded: Loaded) -> dict[str, Any]:
    """The trainer's knobs as JSON has them."""
    found = {name: value for name, value in knobs.model_dump(mode="json").items() if name not in _OWN}
    rate = knobs.rate or None
    return found | {
        "token": persona.token,
        "rate": rate,
        "norms": list(NORMS) if knobs.keep_norms else None,
        **_init(persona, knobs.init, loaded),
    }


def _init(persona: Persona, init: str, loaded: Loaded) -> dict[str, str]:
    """A phrase, or an embedding by its file and hash."""
    file = Path(loaded.place(init)) if init else None
    if file and file.is_file():
        return {"init": read(file, persona.token).hash, "init_file": str(file)}
    if file and file.suffix:
        raise UserError(f"training.init = {init!r}: there is no such file; name an embedding file, or a word or phrase")
    return {"init": init or persona.class_word}
