"""Drawings in bulk, kept on disk as one array so that every stage sees the same ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from models.progress import bar
from models.toybox import world
from models.toybox.drawing import SIDE, draw
from models.toybox.recipe.files import write_number

CritterAt = Callable[[int, int], world.Critter]
"""From a seed and a number to a critter."""
Size = tuple[int, int]


def critter_at(seed: int, index: int) -> world.Critter:
    """Find the critter with that number; neighbours share most of what they are.

    Fours of critters have one origin and differ from it in a few things: a contrastive loss then has to look at those
    things instead of at the whole.
    """
    rng = np.random.default_rng([seed, index // 4, 1])
    origin = world.random_critter(rng)
    own = np.random.default_rng([seed, index, 2])
    if index % 4 == 0:
        return origin
    kept = {name: getattr(origin, name) for name in world.VALUES}
    for name in own.permutation(list(world.VALUES))[: int(own.integers(1, 5))]:
        del kept[str(name)]
    return world.random_critter(own, **kept)


def draw_range(at: CritterAt, seed: int, size: Size, kept: Size, task: tuple[int, int]) -> np.ndarray:
    """Draw the critters numbered `task[0]` up to `task[1]` at `size`, reduced to `kept`."""
    pictures = (draw(at(seed, number), size) for number in range(*task))
    if size != kept:
        pictures = (picture.resize(kept, Image.Resampling.BOX) for picture in pictures)
    return np.stack([np.asarray(picture) for picture in pictures])


def drawings(
    seed: int,
    count: int,
    path: Path,
    at: CritterAt = critter_at,
    size: Size = (SIDE, SIDE),
    kept: Size | None = None,
    processes: int = 1,
    block: int = 64,
) -> np.ndarray:
    """Draw the first `count` critters, as [count, height, width, 3] bytes; from the file if it is there.

    `kept` is the size that they are reduced to. A run that was killed goes on after the last whole block.
    """
    if path.exists():
        return np.load(path, mmap_mode="r")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh, done = path.with_suffix(".part.npy"), path.with_suffix(".done")
    width, height = kept or size
    start = int(done.read_text()) if done.exists() and fresh.exists() else 0
    mode = "r+" if start else "w+"
    pictures = np.lib.format.open_memmap(fresh, mode=mode, dtype=np.uint8, shape=(count, height, width, 3))
    tasks = [(first, min(first + block, count)) for first in range(start, count, block)]
    work = partial(draw_range, at, seed, size, kept or size)
    with bar(path.stem, count, "drawings", start) as advance:
        for (first, last), drawn in zip(tasks, _spread(work, tasks, processes), strict=True):
            pictures[first:last] = drawn
            pictures.flush()
            write_number(done, last)
            advance(last - first)
    del pictures
    fresh.replace(path)
    done.unlink()
    return np.load(path, mmap_mode="r")


def _spread(work: Callable[[tuple[int, int]], np.ndarray], tasks: Sequence[tuple[int, int]], processes: int):
    if processes <= 1:
        yield from map(work, tasks)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, tasks)


def reduced(pictures: np.ndarray, side: int, path: Path, block: int = 256) -> np.ndarray:
    """Reduce square pictures to `side` pixels; from the file if it is there."""
    if path.exists():
        return np.load(path, mmap_mode="r")
    fresh = path.with_suffix(".part.npy")
    small = np.lib.format.open_memmap(fresh, mode="w+", dtype=np.uint8, shape=(len(pictures), side, side, 3))
    factor = pictures.shape[1] // side
    for first in range(0, len(pictures), block):
        part = pictures[first : first + block].reshape(-1, side, factor, side, factor, 3)
        small[first : first + block] = np.round(part.mean((2, 4), dtype=np.float32)).astype(np.uint8)
    small.flush()
    fresh.replace(path)
    return np.load(path, mmap_mode="r")
