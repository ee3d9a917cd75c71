"""What the scoring CLIP sees, and the identity scorer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models import clip, toybox
from models.toybox import world
from models.toybox.drawing import draw


class Scorer:
    """A shipped open_clip model through the project's own scorer, as tensors."""

    def __init__(self, name: str = "toybox") -> None:
        self.scorer = clip.load(name, device="cpu")

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
    seen = scorer.pictures([draw(critter) for critter in critters])
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
        pictures += [draw(critter) for critter in (first, again, other)]
    for first, again, other in scorer.pictures(pictures).reshape(trials, 3, -1):
        right += float(first @ again) > float(first @ other)
    return right / trials


def sisters(scorer: Scorer, trials: int = 300) -> float:
    """How often a picture is closer to the same one in another scene and framing than to a sister in its own place.

    A sister differs in one trait. Nobody wears anything, as glasses would hide some of the traits.
    """
    rng = np.random.default_rng(23)
    right = 0
    pictures: list[Image.Image] = []
    for _ in range(trials):
        first = world.random_critter(rng, accessory="none")
        same = {name: getattr(first, name) for name in world.IDENTITY}
        scene = str(rng.choice([s for s in world.SCENES if s != first.scene]))
        framing = str(rng.choice([f for f in world.FRAMINGS if f != first.framing]))
        again = world.random_critter(rng, **same, scene=scene, framing=framing, accessory="none")
        traits = [name for name in world.truth(first) if name in world.TRAITS]
        name = str(rng.choice(traits))
        others = [value for value in world.VALUES[name] if value != getattr(first, name)]
        sister = dataclasses.replace(first, **{name: str(rng.choice(others))})
        pictures += [draw(critter) for critter in (first, again, sister)]
    for one, same, other in scorer.pictures(pictures).reshape(trials, 3, -1):
        right += float(one @ same) > float(one @ other)
    return right / trials


def measure() -> dict:
    scorer, eye = Scorer(), Scorer(str(toybox.check() / "identity"))
    return {
        "zero_shot_20": zero_shot(scorer),
        "identity_triples": triples(scorer),
        "sisters": sisters(scorer),
        "identity_scorer": {"identity_triples": triples(eye), "sisters": sisters(eye)},
    }
