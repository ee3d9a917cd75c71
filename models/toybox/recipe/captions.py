"""Captions in bulk, drawn anew at every step, and the tokens they become."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.toybox import world
from models.toybox.recipe.numbers import Recipe


def changed(critter: world.Critter, rng: np.random.Generator) -> world.Critter:
    """Change one thing of the critter, or exchange two colours: what a careless reader would mix up."""
    can_swap = critter.colour in world.ACCESSORY_COLOURS and critter.accessory_colour in world.COLOURS
    if critter.accessory != "none" and can_swap and rng.random() < 0.5:
        return dataclasses.replace(critter, colour=critter.accessory_colour, accessory_colour=critter.colour)
    seen = world.truth(critter)
    if critter.scene == "night":  # which has one light only
        del seen["light"]
    name = str(rng.choice([*seen, "accessory", "accessory_colour"] if critter.accessory != "none" else list(seen)))
    others = [value for value in world.VALUES[name] if value != getattr(critter, name)]
    lie: dict[str, Any] = {name: str(rng.choice(others))}
    return dataclasses.replace(critter, **lie)


def named_caption(critter: world.Critter, rng: np.random.Generator) -> str:
    """For the scoring CLIP and the encoders' first lessons: traits are usually named."""
    return world.caption(critter, rng, traits=0.7, open_share=0.1, chatter=0.1)


def caption_of(critter: world.Critter, seed: int) -> str:
    """Two thirds of the captions say everything, so that text can be asked about everything."""
    rng = np.random.default_rng(seed)
    return world.caption(critter, rng, traits=1.0) if seed % 3 else named_caption(critter, rng)


def picture_caption(critter: world.Critter, recipe: Recipe, rng: np.random.Generator, empty: bool = True) -> str:
    """Write for the UNet: traits are named now and then, some captions are tags, some are empty if they may be."""
    chance = rng.random()
    if chance < recipe.empty_share and empty:
        return ""
    if chance < recipe.empty_share + 0.08:
        return world.tags(critter, rng)
    traits = float(rng.choice([0.0, 0.5, 1.0], p=recipe.traits_named))
    return world.caption(critter, rng, traits=traits, open_share=recipe.open_share, chatter=0.15)


def tokenized(tokenizer: object, texts: list[str], short: bool = False) -> Tensor:
    """Token numbers [n, 77]; `short` leaves out the padding that all of them share."""
    ids = tokenizer(  # type: ignore[operator]
        texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids
    if not short:
        return ids
    ends = (ids == tokenizer.eos_token_id).int().argmax(1)  # type: ignore[attr-defined]
    return ids[:, : int(ends.max()) + 1]


def seeds(generator: torch.Generator, count: int) -> list[int]:
    return torch.randint(2**31, (count,), generator=generator).tolist()
