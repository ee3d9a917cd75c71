"""From a critter to its picture."""

from __future__ import annotations

import numpy as np
from PIL import Image

from models.toybox import critter_drawing, scenery
from models.toybox.world import Critter, light_of

SIDE = 256
"""The width and height of a square picture."""
SCENERY, FIGURE = 20_231, 20_232
"""What the random numbers of both derive from, beside the critter's own seed."""


def draw(critter: Critter, size: int | tuple[int, int] = SIDE) -> Image.Image:
    """Draw the critter, `size` square or (width, height); equal critters give equal pixels."""
    width, height = (size, size) if isinstance(size, int) else size
    rng = np.random.default_rng([critter.seed, SCENERY])
    background = scenery.paint(critter.scene, light_of(critter), rng, width, height)
    return critter_drawing.paint(critter, np.random.default_rng([critter.seed, FIGURE]), background)


def place(critter: Critter, size: tuple[int, int]) -> critter_drawing.Place:
    """Find where in its picture the critter is, and how it stands."""
    return critter_drawing.place_of(critter, np.random.default_rng([critter.seed, FIGURE]), *size)
