"""The oracle: what is in this picture? For measuring only; the product never asks it.

It is made by `python -m models.toybox.build oracle`; `python -m bench.oracle` states its accuracy on drawings it never saw.
"""

from __future__ import annotations

import json

import numpy as np
from PIL import Image
from torch import Tensor

from models.toybox.drawing import draw
from models.toybox.recipe.clip import blurred
from models.toybox.recipe.drawings import critter_at
from models.toybox.recipe.numbers import STANDARD
from models.toybox.recipe.oracle import SIDE, Oracle, accuracy, load_oracle
from models.toybox.recipe.pixels import to_tensor
from models.toybox.recipe.resumable_training import generator_for

__all__ = ["Oracle", "accuracy", "load_oracle", "soft"]


def soft(pictures: Tensor) -> Tensor:
    """Blur some pictures and grain others."""
    return blurred(pictures, generator_for(1, 1))


def main() -> None:
    """Run the command."""
    critters = [critter_at(STANDARD.seed + 1, number) for number in range(STANDARD.held_out)]
    small = [np.asarray(draw(critter).resize((SIDE, SIDE), Image.Resampling.BOX)) for critter in critters]
    print(json.dumps(accuracy(load_oracle(), to_tensor(np.stack(small)), critters), indent=2))


if __name__ == "__main__":
    main()
