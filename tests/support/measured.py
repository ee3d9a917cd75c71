"""Scores of candidates that nobody had to make: clean ones, into which tests plant one fault each."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tasks.references.measurements import Scores
from tasks.references.reference_set import ReferenceCandidate

BACKGROUNDS = ("in the forest", "on the beach", "in the snow", "in the city")
FRAMINGS = ("a close-up of", "a portrait of")
SIZE = 32


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def candidates(count: int, cells: bool = True) -> list[ReferenceCandidate]:
    found = []
    for n in range(count):
        cell = {"framing": FRAMINGS[n % 2], "background": BACKGROUNDS[n // 2 % 4]} if cells else {}
        found.append(ReferenceCandidate(f"{n:04x}{'0' * 20}", f"artifacts/{n}.png", f"prompt {n}", cell, n, n))
    return found


def measured(count: int, seed: int = 0, identities: Sequence[int] | None = None) -> Scores:
    """`count` candidates, all of one character unless `identities` numbers others; each where its cell says."""
    rng = np.random.default_rng(seed)
    people = rng.normal(size=(8, SIZE)) * 1.2
    places = rng.normal(size=(len(BACKGROUNDS), SIZE)) * 0.5
    nears = rng.normal(size=(len(FRAMINGS), SIZE)) * 0.3
    who = np.asarray(identities if identities is not None else [0] * count)
    place, near = np.arange(count) // 2 % 4, np.arange(count) % 2
    seen = unit(people[who] + places[place] + nears[near] + 0.3 * rng.normal(size=(count, SIZE)))
    even = lambda middle, width: (middle + width * rng.uniform(-1, 1, count)).astype(np.float32)  # noqa: E731
    return Scores(
        ids=tuple(each.id for each in candidates(count)),
        scorer="test",
        pixels={
            "spread": even(60, 5),
            "sharpness": even(1, 0.1),
            "dark": np.zeros(count, np.float32),
            "bright": np.zeros(count, np.float32),
            "width": np.full(count, 128, np.float32),
            "height": np.full(count, 128, np.float32),
        },
        hashes=rng.integers(0, 2**63, count, dtype=np.uint64),
        seen=seen,
        identity=seen,
        by_clip=True,
        prompt=even(0.5, 0.05),
        subject=even(0.4, 0.05),
        unwanted={"text": even(-0.3, 0.05)},
        shows={"background": place, "framing": near, "accessory": np.zeros(count, np.int64)},
        phrases={"background": BACKGROUNDS, "framing": FRAMINGS, "accessory": ("", "a hat")},
        surroundings=np.concatenate([places - places.mean(0), nears - nears.mean(0)]).astype(np.float32),
    )


def but(scores: Scores, name: str, place: int, value: object, part: str = "") -> Scores:
    """The scores with one value of one candidate changed."""
    if part:
        table = dict(getattr(scores, part))
        table[name] = _set(table[name], place, value)
        return dataclasses.replace(scores, **{part: table})
    return dataclasses.replace(scores, **{name: _set(getattr(scores, name), place, value)})


def _set(array: np.ndarray, place: int, value: object) -> np.ndarray:
    changed = array.copy()
    changed[place] = value
    return changed
