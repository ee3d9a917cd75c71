"""Where in a picture the small things are that make somebody: face, belly, hands, and what is worn or held.

They are a few hundredths of the picture, so an even error hardly notices them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.toybox.drawing import place
from models.toybox.world import OBJECTS, Critter

CELL = 16
"""Pixels of one cell of the latents, each way."""
FINE = 4
"""Samples in each cell, each way."""
Oval = tuple[float, float, float, float]


def ovals(critter: Critter, hands: dict[float, tuple[float, float]], side: float) -> list[Oval]:
    """List what counts, in head radii around the middle of the head: x, y and two radii each."""
    found: list[Oval] = [(0.0, 0.0, 0.95, 0.85)]
    found.append((0.0, 1.1, 0.85, 0.4) if critter.kind in OBJECTS else (0.0, 1.84, 0.6, 0.7))
    found += [(x, y, 0.3, 0.3) for x, y in hands.values()]
    worn = {"hat": (0.0, -1.15, 0.9, 0.6), "crown": (0.0, -1.05, 0.75, 0.5), "bow": (0.52, -0.86, 0.7, 0.5),
            "scarf": (0.0, 1.0, 1.0, 0.4), "glasses": (0.0, 0.0, 0.95, 0.6)}  # fmt: skip
    if critter.accessory != "none":
        found.append(worn[critter.accessory])
    x, y = hands[side]
    held = {"balloon": (0.24, -1.9, 0.55, 0.65), "flower": (0.2, -0.98, 0.55, 0.55), "lantern": (0.0, 0.7, 0.4, 0.5),
            "umbrella": (-0.3, -0.8, 0.5, 0.9)}  # fmt: skip
    if critter.prop != "none":
        dx, dy, rx, ry = held[critter.prop]
        found.append((x + dx * side, y + dy, rx, ry))
    return found


def detail_map(critter: Critter, width: int, height: int) -> np.ndarray:
    """Say for every cell of the latents how much of it is something small, 0 to 1."""
    where = place(critter, (width, height))
    step = CELL // FINE
    xs = (np.arange(width // step) + 0.5) * step
    ys = (np.arange(height // step) + 0.5) * step
    across, down = (xs - where.middle[0]) / where.radius, (ys - where.middle[1]) / where.radius
    covered = np.zeros((len(ys), len(xs)), dtype=bool)
    for x, y, rx, ry in ovals(critter, where.stance.hands(), where.stance.side):
        covered |= ((across[None] - x) / rx) ** 2 + ((down[:, None] - y) / ry) ** 2 < 1
    cells = covered.reshape(height // CELL, FINE, width // CELL, FINE).mean((1, 3))
    return cells.astype(np.float16)


def detail_weights(maps: np.ndarray, details: float) -> Tensor:
    """Turn maps [n, h, w] into weights [n, 1, h, w]: 1 in the background, `details` where something small is, mean 1."""
    there = torch.from_numpy(maps.astype(np.float32))[:, None]
    weights = 1 + (details - 1) * there
    return weights / weights.mean((1, 2, 3), keepdim=True)


def spread(weights: Tensor) -> Tensor:
    """Let weights reach the neighbouring cells: what is beside a thing is part of how it looks."""
    return F.avg_pool2d(F.max_pool2d(weights, 3, 1, 1), 3, 1, 1, count_include_pad=False)
