"""Build the shots of an occurrence from its calendar entry, for the model that renders its pictures."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.picture.environment import pixel_hash
from models.picture.reading import convert_to_rgb, open_picture
from models.picture.shot import Ref, Shot
from models.sdxl import embedding
from models.system.errors import UserError
from tasks.calendar.due import DueShot, shot_message
from tasks.persona.persona import Persona
from tasks.pictures import generate
from tasks.pictures.generate import ModelSetup
from tasks.posts.jpeg import MAX_SQUARE_ONLY_SIDE, SIZES, render_size
from tasks.settings.settings import LoadedSettings

# How much larger a model makes a picture in one pass. Beyond that it fills the picture with little copies of its subject:
# small models from 1.5 times on, at any strength.
MAX_ENLARGEMENT, MAX_ENLARGEMENT_SMALL = 2.0, 1.25


def candidate_seeds(due: DueShot, count: int, first: int = 0) -> list[int]:
    """Derive the seeds of `count` candidates from number `first` on; candidate 0 has the occurrence's own seed."""
    return [_derive_seed(due.seed, number) for number in range(first, first + count)]


def candidate_shots(
    due: DueShot,
    persona: Persona,
    embedding_file: Path | None,
    setup: ModelSetup,
    loaded: LoadedSettings,
    seeds: Sequence[int],
    init: Path | None = None,
) -> list[Shot]:
    """Build one shot for each seed. `word` is the embedding's file; `init` the picture of another shot to start from.

    Raise here, before anything is rendered, if the entry or its second pass is wrong.
    """
    try:
        new_shots = _build_shots(due, persona, embedding_file, setup, loaded, seeds, init)
        if new_shots:
            _check_passes(new_shots[0], due, loaded)
        return new_shots
    except UserError as error:
        raise UserError(shot_message(persona, due.shot, error)) from None


def refiner_setup(due: DueShot, loaded: LoadedSettings) -> ModelSetup:
    """Set up the model of the second pass."""
    return generate.model_setup(loaded, due.entry.refiner)


def refined_shot(shot: Shot, picture: Path, due: DueShot, loaded: LoadedSettings) -> Shot | None:
    """Build the refiner's shot over a rendered picture; None where the entry names no refiner."""
    if not due.entry.refiner:
        return None
    return _refine_shot(shot, _picture_ref(picture), due, refiner_setup(due, loaded))


def enlarged_shot(shot: Shot, picture: Path, due: DueShot, loaded: LoadedSettings) -> Shot:
    """Build the shot that renders a picture again as large as it is published, or as its model can; else the same shot."""
    return _enlarge_shot(shot, _picture_ref(picture), due, loaded)


def _build_shots(
    due: DueShot,
    persona: Persona,
    embedding_file: Path | None,
    setup: ModelSetup,
    loaded: LoadedSettings,
    seeds: Sequence[int],
    init: Path | None,
) -> list[Shot]:
    entry, prompt = due.entry, due.words.prompt
    if due.init_key and not init:
        raise UserError(f"init: {due.init_key} has no picture yet: render that day first")
    width, height = _picture_size(due, setup, loaded)
    return generate.shots_for_prompts(
        loaded,
        setup,
        [prompt] * len(seeds),
        seeds,
        _check_embedding(embedding_file, persona, prompt),
        init=init or due.init,
        loras=dict(due.loras),
        width=width,
        height=height,
        negative=due.words.negative,
        guidance=entry.guidance,
        guidance_until=entry.guidance_until,
        steps=entry.steps,
        strength=entry.strength,
        sampler=entry.sampler,
    )


def _check_embedding(embedding_file: Path | None, persona: Persona, prompt: str) -> Path | None:
    """Return the embedding's file if the prompt names its token: an unused embedding must not change the shot's hash."""
    if persona.token not in prompt:
        return None
    if embedding_file is None:
        raise UserError(f"prompt: names {persona.token}, which is not learned yet: run restage train {persona.name}")
    if (token := embedding.read_embedding(embedding_file).token) != persona.token:
        raise UserError(f"{embedding_file} is the embedding of {token}, not of {persona.token}: give the persona's own")
    return embedding_file


def _picture_size(due: DueShot, setup: ModelSetup, loaded: LoadedSettings) -> tuple[int, int]:
    """Return the width and height: the entry's shape, with as many pixels as the settings or the model ask for."""
    width, height = generate.picture_size(loaded, setup)
    step = 8 if min(width, height) <= MAX_SQUARE_ONLY_SIDE else 64
    side = max(step, round(math.sqrt(width * height) / step) * step)
    return (side, side) if setup.source.side <= MAX_SQUARE_ONLY_SIDE else render_size(due.entry.size, side)


def _picture_ref(picture: Path) -> Ref:
    return Ref(str(picture.resolve()), pixel_hash(convert_to_rgb(open_picture(picture))))


def _check_passes(shot: Shot, due: DueShot, loaded: LoadedSettings) -> None:
    """Check the later passes before hours go into pictures that could not be finished."""
    if loaded.settings.pictures.upscale == "refine":
        _enlarge_shot(shot, Ref("", ""), due, loaded)
    if due.entry.refiner:
        _refine_shot(shot, Ref("", ""), due, refiner_setup(due, loaded))


def _enlarge_shot(shot: Shot, init: Ref, due: DueShot, loaded: LoadedSettings) -> Shot:
    wide, high = SIZES[due.entry.size]
    most = MAX_ENLARGEMENT_SMALL if max(shot.width, shot.height) <= MAX_SQUARE_ONLY_SIDE else MAX_ENLARGEMENT
    factor = min(most, max(wide / shot.width, high / shot.height))
    if factor <= 1:
        return shot
    strength = loaded.settings.pictures.refine_strength
    width, height = (round(side * factor / 8) * 8 for side in (shot.width, shot.height))
    return _replace_fields("pictures.refine_strength", shot, width=width, height=height, init=init, strength=strength)


def _refine_shot(shot: Shot, init: Ref, due: DueShot, setup: ModelSetup) -> Shot:
    """Build the refiner's shot. LoRAs fit one model and are dropped; the embedding stays, since the refiner shares an encoder."""
    vae = setup.options.vae.ref if setup.options.vae else None
    strength = due.entry.refiner_strength
    return _replace_fields(
        "refiner_strength", shot, model=setup.source.ref, vae=vae, init=init, strength=strength, loras=()
    )


def _replace_fields(knob: str, shot: Shot, **changes: Any) -> Shot:
    try:
        return shot.with_changes(**changes)
    except UserError as error:
        raise UserError(f"{knob}: {error}") from None


def _derive_seed(first: int, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{first} {number}".encode()).digest()[:4]) if number else first
