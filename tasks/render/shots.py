"""The shots of an occurrence: what its calendar entry says, in the terms of the model that makes its pictures."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.picture.environment import pixel_hash
from models.picture.reading import open_picture, rgb
from models.picture.shot import Ref, Shot
from models.sdxl import embedding
from models.system.errors import UserError
from tasks.calendar.due import Due, sentence
from tasks.persona.persona import Persona
from tasks.pictures import generate
from tasks.pictures.generate import Machine
from tasks.posts.jpeg import ONE_SHAPE, SIZES, render_size
from tasks.settings.settings import Loaded

# How much larger a model makes a picture at once. Further from the size it was trained at it fills the picture with little
# copies of what it shows: small models from 1.5 times on, at any strength.
MOST_LARGER, MOST_LARGER_SMALL = 2.0, 1.25


def seeds(due: Due, count: int, first: int = 0) -> list[int]:
    """The seeds of so many candidates from number `first` on; candidate 0 has the occurrence's own. Derived, never drawn."""
    return [_seed(due.seed, number) for number in range(first, first + count)]


def shots(
    due: Due,
    persona: Persona,
    word: Path | None,
    machine: Machine,
    loaded: Loaded,
    seeds: Sequence[int],
    init: Path | None = None,
) -> list[Shot]:
    """One shot a seed. `word` is the file of the learned word; `init` the picture to start from where that is another shot's.

    What is wrong with the entry, its second pass included, is told here, before anything is made.
    """
    try:
        made = _shots(due, persona, word, machine, loaded, seeds, init)
        if made:
            _check_passes(made[0], due, loaded)
        return made
    except UserError as error:
        raise UserError(sentence(persona, due.shot, error)) from None


def refiner(due: Due, loaded: Loaded) -> Machine:
    """The model of the second pass."""
    return generate.machine(loaded, due.entry.refiner)


def second_pass(shot: Shot, picture: Path, due: Due, loaded: Loaded) -> Shot | None:
    """The refiner's shot over a picture that was made; None where the entry names no refiner."""
    if not due.entry.refiner:
        return None
    return _refined(shot, _start(picture), due, refiner(due, loaded))


def enlarged(shot: Shot, picture: Path, due: Due, loaded: Loaded) -> Shot:
    """The shot that makes a picture once more, as large as it is published or as large as its model can; else itself."""
    return _enlarged(shot, _start(picture), due, loaded)


def _shots(
    due: Due,
    persona: Persona,
    word: Path | None,
    machine: Machine,
    loaded: Loaded,
    seeds: Sequence[int],
    init: Path | None,
) -> list[Shot]:
    entry, prompt = due.entry, due.words.prompt
    if due.init_key and not init:
        raise UserError(f"init: {due.init_key} has no picture yet: render that day first")
    width, height = _size(due, machine, loaded)
    return generate.series(
        loaded,
        machine,
        [prompt] * len(seeds),
        seeds,
        _word(word, persona, prompt),
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


def _word(word: Path | None, persona: Persona, prompt: str) -> Path | None:
    """The file of the word where the prompt names it: what plays no part must not make two shots of one."""
    if persona.token not in prompt:
        return None
    if word is None:
        raise UserError(f"prompt: names {persona.token}, which is not learned yet: run restage train {persona.name}")
    if (token := embedding.read(word).token) != persona.token:
        raise UserError(f"{word} is the embedding of {token}, not of {persona.token}: give the persona's own")
    return word


def _size(due: Due, machine: Machine, loaded: Loaded) -> tuple[int, int]:
    """What the calendar says of the shape, with as many pixels as the settings or else the model ask for."""
    width, height = generate.size(loaded, machine)
    step = 8 if min(width, height) <= ONE_SHAPE else 64
    side = max(step, round(math.sqrt(width * height) / step) * step)
    return (side, side) if machine.source.side <= ONE_SHAPE else render_size(due.entry.size, side)


def _start(picture: Path) -> Ref:
    return Ref(str(picture.resolve()), pixel_hash(rgb(open_picture(picture))))


def _check_passes(shot: Shot, due: Due, loaded: Loaded) -> None:
    """Before hours go into pictures that could not be finished."""
    if loaded.settings.pictures.upscale == "refine":
        _enlarged(shot, Ref("", ""), due, loaded)
    if due.entry.refiner:
        _refined(shot, Ref("", ""), due, refiner(due, loaded))


def _enlarged(shot: Shot, init: Ref, due: Due, loaded: Loaded) -> Shot:
    wide, high = SIZES[due.entry.size]
    most = MOST_LARGER_SMALL if max(shot.width, shot.height) <= ONE_SHAPE else MOST_LARGER
    factor = min(most, max(wide / shot.width, high / shot.height))
    if factor <= 1:
        return shot
    strength = loaded.settings.pictures.refine_strength
    width, height = (round(side * factor / 8) * 8 for side in (shot.width, shot.height))
    return _again("pictures.refine_strength", shot, width=width, height=height, init=init, strength=strength)


def _refined(shot: Shot, init: Ref, due: Due, machine: Machine) -> Shot:
    """LoRAs are made for one model and stay behind; the word goes along, since the refiner has one of its encoders."""
    vae = machine.options.vae.ref if machine.options.vae else None
    strength = due.entry.refiner_strength
    return _again("refiner_strength", shot, model=machine.source.ref, vae=vae, init=init, strength=strength, loras=())


def _again(knob: str, shot: Shot, **changes: Any) -> Shot:
    try:
        return shot.but(**changes)
    except UserError as error:
        raise UserError(f"{knob}: {error}") from None


def _seed(first: int, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{first} {number}".encode()).digest()[:4]) if number else first
