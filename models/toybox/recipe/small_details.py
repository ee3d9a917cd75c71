"""Where in a picture the small things are that make somebody: eyes, marks, belly, accessory.

They are a few hundredths of the picture, so an even error hardly notices them. The places are found by drawing a critter again
with one thing different and looking at what changed.
"""

from __future__ import annotations

import dataclasses
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.toybox import world
from models.toybox.recipe.drawings import critter_at


def others(critter: world.Critter) -> list[world.Critter]:
    """The critter with each of its small things different."""
    eyes = "round" if critter.eyes != "round" else "sleepy"
    belly = "charcoal" if critter.belly != "charcoal" else "cream"
    found = [dataclasses.replace(critter, eyes=eyes), dataclasses.replace(critter, belly=belly)]
    if critter.accessory != "none":
        found.append(dataclasses.replace(critter, accessory="none"))
    if critter.marking != "none":
        found.append(dataclasses.replace(critter, marking="none"))
    return found


def places(critter: world.Critter, size: int = 128, cell: int = 8) -> np.ndarray:
    """For every cell of the latents whether something small is there, 0 to 1."""
    whole = np.asarray(world.draw(critter, size), dtype=np.float32)
    changed = np.zeros((size, size), dtype=np.float32)
    for other in others(critter):
        difference = np.abs(whole - np.asarray(world.draw(other, size), dtype=np.float32)).max(-1)
        changed = np.maximum(changed, difference > 24)
    cells = changed.reshape(size // cell, cell, size // cell, cell).mean((1, 3))
    return np.minimum(cells * 4, 1).astype(np.float16)


def _places(task: tuple[int, int, int]) -> np.ndarray:
    seed, start, count = task
    return np.stack([places(critter_at(seed, i)) for i in range(start, start + count)])


def weights(seed: int, count: int, marked: float, path: Path, block: int = 64) -> Tensor:
    """[count, 1, 16, 16]: 1 in the background and `marked` where something small is, scaled to a mean of 1."""
    if not path.exists():
        tasks = [(seed, start, min(block, count - start)) for start in range(0, count, block)]
        with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
            found = np.concatenate(list(pool.map(_places, tasks)))
        fresh = path.with_suffix(".new.npy")
        np.save(fresh, found)
        fresh.replace(path)
    there = torch.from_numpy(np.load(path)[:count]).float()[:, None]
    # What is beside a thing is part of how it looks.
    wide = 1 + (marked - 1) * F.avg_pool2d(F.max_pool2d(there, 3, 1, 1), 3, 1, 1, count_include_pad=False)
    return wide / wide.mean()
