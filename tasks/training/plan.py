"""Plan a training: the pictures of a reference set with their captions, and every setting that decides the outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from models.sdxl.embedding import read_embedding
from models.sdxl.locate import ModelSource
from models.system.errors import UserError
from tasks.persona.persona import Persona
from tasks.references.reference_set import ReferenceSet
from tasks.settings.sections import TrainingSettings
from tasks.settings.settings import LoadedSettings
from tasks.training.record import Preview, TrainingPlan

NORM_SHARES = (0.01, 0.99)
"""Quantiles of the vocabulary's vector lengths that bound the length of the learned vectors."""
PACE_SETTINGS = (
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
# Settings that have another name or form in the trainer's configuration, or none.
_NOT_FOR_TRAINER = ("init", "rate", "keep_norms", "captions", "captioner", "preview_seeds", "half", *PACE_SETTINGS)


class CaptionTexts(Protocol):
    """Protocol of a picture's captions and their origin."""

    @property
    def texts(self) -> Sequence[str]: ...
    @property
    def origin(self) -> str: ...


def plan_training(
    reference_set: ReferenceSet,
    persona: Persona,
    captions: Sequence[CaptionTexts],
    previews: Sequence[Preview],
    source: ModelSource,
    preview_look: Mapping[str, Any],
    loaded: LoadedSettings,
) -> TrainingPlan:
    """Plan the training; `captions` belong to the chosen pictures, in order, and `preview_look` to the rendering of previews."""
    candidates = [verdict.candidate for verdict in reference_set.choice.chosen]
    if not candidates:
        raise UserError(f"{persona.name} has no references to learn from: run restage references {persona.name}")
    if missing := [candidate.path for candidate in candidates if not (loaded.studio / candidate.path).is_file()]:
        raise UserError(
            f"the reference {loaded.studio / missing[0]} is gone: put it back, or run restage references {persona.name}"
        )
    settings = loaded.settings.training
    scorer = f"{loaded.settings.models.clip} {loaded.settings.references.identity_scorer}".strip()
    return TrainingPlan(
        persona=persona.name,
        token=persona.token,
        class_word=persona.class_word,
        reference_set=reference_set.id,
        pictures=[candidate.path for candidate in candidates],
        captions=[list(caption.texts) for caption in captions],
        origins=[caption.origin for caption in captions],
        model=source.ref.name,
        previews=list(previews),
        config=trainer_config(persona, settings, loaded),
        pace={name: getattr(settings, name) for name in PACE_SETTINGS},
        of={
            "model": source.ref.hash,
            "references": [candidate.id for candidate in candidates],
            "scorer": scorer,
            "look": dict(preview_look),
        },
        round=reference_set.round,
    )


def trainer_config(persona: Persona, settings: TrainingSettings, loaded: LoadedSettings) -> dict[str, Any]:
    """Return the trainer's settings as JSON values."""
    values = {name: value for name, value in settings.model_dump(mode="json").items() if name not in _NOT_FOR_TRAINER}
    rate = settings.rate or None
    return values | {
        "token": persona.token,
        "rate": rate,
        "norms": list(NORM_SHARES) if settings.keep_norms else None,
        **_initial_embedding(persona, settings.init, loaded),
    }


def _initial_embedding(persona: Persona, init: str, loaded: LoadedSettings) -> dict[str, str]:
    """Return the phrase to begin from, or the file and hash of an embedding."""
    file = Path(loaded.resolve_path(init)) if init else None
    if file and file.is_file():
        return {"init": read_embedding(file, persona.token).hash, "init_file": str(file)}
    if file and file.suffix:
        raise UserError(f"training.init = {init!r}: there is no such file; name an embedding file, or a word or phrase")
    return {"init": init or persona.class_word}
