"""What the scoring CLIP sees."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models import clip
from models.toybox import world


class Scorer:
    """The shipped open_clip model through the project's own scorer, as tensors."""

    def __init__(self) -> None:
        self.scorer = clip.load("toybox", device="cpu")

    def pictures(self, pictures: Sequence[Image.Image]) -> Tensor:
        return torch.from_numpy(np.stack([vector for _, vector in self.scorer.pictures(pictures)]))

    def texts(self, texts: Sequence[str]) -> Tensor:
        return torch.from_numpy(self.scorer.texts(texts))


def variants(critter: world.Critter, rng: np.random.Generator, count: int) -> list[world.Critter]:
    """The critter first, then others that differ from it in exactly one thing, no two alike."""
    others = [
        dataclasses.replace(critter, **{name: value})
        for name in world.truth(critter)
        for value in world.VALUES[name]
        if value != getattr(critter, name) and value != "none"
    ]
    chosen = rng.permutation(len(others))[: count - 1]
    return [critter, *(others[i] for i in chosen)]


def zero_shot(scorer: Scorer, trials: int = 300) -> float:
    """How often the true one of 20 captions that differ in one thing is the nearest."""
    rng = np.random.default_rng(21)
    critters = [world.random_critter(rng) for _ in range(trials)]
    seen = scorer.pictures([world.draw(critter) for critter in critters])
    right = 0
    for critter, picture in zip(critters, seen, strict=True):
        seed = int(rng.integers(2**31))
        texts = [world.caption(v, np.random.default_rng(seed), traits=1.0) for v in variants(critter, rng, 20)]
        right += int((scorer.texts(texts) @ picture).argmax()) == 0
    return right / trials


def triples(scorer: Scorer, trials: int = 300) -> float:
    """How often two pictures of one identity in different scenes are closer than two identities in the same scene."""
    rng = np.random.default_rng(22)
    right = 0
    pictures: list[Image.Image] = []
    for _ in range(trials):
        first = world.random_critter(rng)
        same = {name: getattr(first, name) for name in world.IDENTITY}
        scene = str(rng.choice([s for s in world.SCENES if s != first.scene]))
        again = world.random_critter(rng, **same, scene=scene)
        other = world.random_critter(rng, scene=first.scene)
        pictures += [world.draw(critter) for critter in (first, again, other)]
    for first, again, other in scorer.pictures(pictures).reshape(trials, 3, -1):
        right += float(first @ again) > float(first @ other)
    return right / trials


def measure() -> dict:
    scorer = Scorer()
    return {"zero_shot_20": zero_shot(scorer), "identity_triples": triples(scorer)}
