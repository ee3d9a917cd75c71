"""What training costs with more vectors and more references: `python -m bench.training_growth`. CPU time on toybox."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from bench import training_step
from models.files import write
from models.inversion import Config, Example, train
from models.sdxl import Model
from models.toybox import world
from models.toybox.drawing import draw

WARM = 2


def measure(model: Model, pictures: Sequence[Example], vectors: int, rounds: int) -> dict[str, float]:
    """What comes before the first step, the median step, and the bytes of a checkpoint."""
    config = Config(token=training_step.TOKEN, init="fox", steps=rounds + WARM, batch=1, vectors=vectors)
    begun = time.process_time()
    taken = []
    with closing(train(model, pictures, config)) as steps:  # type: ignore[type-var]
        begin = time.process_time() - begun
        for _ in range(rounds + WARM):
            begun = time.process_time()
            record = next(steps)
            taken.append(time.process_time() - begun)
        size = len(record.state())
    return {"begin": begin, "step": statistics.median(taken[WARM:]), "checkpoint": size}


def references(count: int) -> list[Example]:
    rng = np.random.default_rng(1)
    drawn = [world.random_critter(rng, kind="fox", colour="teal") for _ in range(count)]
    return [Example(draw(each), f"a portrait of {training_step.TOKEN} {number}") for number, each in enumerate(drawn)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.training_growth", description=__doc__)
    parser.add_argument("--vectors", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--references", type=int, nargs="+", default=[3, 12, 48])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path("bench/results/training_growth.json"))
    asked = parser.parse_args()
    model = training_step.load("toybox", "cpu", 0)
    measure(model, references(1), 1, 1)  # what is loaded late is loaded now
    found: dict[str, list[Any]] = {"vectors": [], "references": []}
    for count in asked.vectors:
        found["vectors"].append({"vectors": count} | measure(model, references(3), count, asked.rounds))
    for count in asked.references:
        found["references"].append({"references": count} | measure(model, references(count), 8, asked.rounds))
    print(json.dumps(found, indent=1))
    write(asked.out, (json.dumps(found, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
