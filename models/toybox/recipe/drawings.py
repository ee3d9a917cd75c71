"""Drawings in bulk, kept on disk as one array so that every stage sees the same ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from models.toybox import world

CritterAt = Callable[[int, int], world.Critter]
"""From a seed and a number to a critter."""


def critter_at(seed: int, index: int) -> world.Critter:
    """The critter with that number; neighbours share most of what they are.

    Fours of critters have one origin and differ from it in a few things: a contrastive loss then has to look at those
    things instead of at the whole.
    """
    rng = np.random.default_rng([seed, index // 4, 1])
    origin = world.random_critter(rng)
    own = np.random.default_rng([seed, index, 2])
    if index % 4 == 0:
        return origin
    kept = {name: getattr(origin, name) for name in world.VALUES}
    for name in own.permutation(list(world.VALUES))[: int(own.integers(1, 4))]:
        del kept[str(name)]
    return world.random_critter(own, **kept)


def _draw(task: tuple[CritterAt, int, int, int]) -> np.ndarray:
    at, seed, start, count = task
    return np.stack([np.asarray(world.draw(at(seed, i))) for i in range(start, start + count)])


def drawings(seed: int, count: int, path: Path, block: int = 64, at: CritterAt = critter_at) -> np.ndarray:
    """`count` drawings of the critters that `at` numbers, as [count, 128, 128, 3] bytes, from the file if it is there."""
    if path.exists():
        return np.load(path, mmap_mode="r")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new.npy")
    shelf = np.lib.format.open_memmap(fresh, mode="w+", dtype=np.uint8, shape=(count, 128, 128, 3))
    tasks = [(at, seed, start, min(block, count - start)) for start in range(0, count, block)]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for (_, _, start, size), pictures in zip(tasks, pool.map(_draw, tasks), strict=True):
            shelf[start : start + size] = pictures
    shelf.flush()
    del shelf
    fresh.replace(path)
    return np.load(path, mmap_mode="r")
