"""CLIP scoring in batches against one call a picture: `python -m bench.scoring`

The same model and the same pictures, in turns: as the filter scores them, one call a picture as a plain script does, and once
more as the filter finds them on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from PIL import Image

from bench.rendering import timed
from models import clip
from models.files import write
from models.toybox import world
from models.toybox.drawing import draw


def drawings(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(1)
    return [draw(world.random_critter(rng)) for _ in range(count)]


def one_by_one(scorer: clip.Scorer, pictures: Sequence[Image.Image]) -> list[np.ndarray]:
    """As open_clip's own examples do it."""
    found = []
    with torch.no_grad():
        for picture in pictures:
            vector = scorer.model.encode_image(scorer._transform(picture).unsqueeze(0))
            found.append((vector / vector.norm(dim=-1, keepdim=True))[0].numpy())
    return found


def measure(count: int, rounds: int, name: str = "toybox") -> dict[str, Any]:
    """Medians over the rounds, each with pictures of its own, so that nothing is known beforehand."""
    pictures = drawings(count * (rounds + 1))
    with tempfile.TemporaryDirectory() as folder:
        plain, kept = clip.load(name, device="cpu"), clip.load(name, device="cpu", cache=Path(folder) / "vectors.db")
        ways: dict[str, Callable[[Sequence[Image.Image]], Any]] = {
            "one call a picture": lambda part: one_by_one(plain, part),
            "in batches": lambda part: [vector for _, vector in plain.pictures(part)],
            "seen before": lambda part: [vector for _, vector in kept.pictures(part)],
        }
        taken: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        apart = 0.0
        for number in range(rounds + 1):
            part = pictures[number * count : (number + 1) * count]
            list(kept.pictures(part))
            vectors = {}
            for way, work in ways.items():
                clock, cpu, vectors[way] = timed(lambda work=work, part=part: work(part), "cpu")
                taken[way] += [(clock / count, cpu / count)] if number else []
            apart = max(apart, float(np.abs(np.stack(vectors["in batches"]) - vectors["one call a picture"]).max()))
    return summed(taken) | {"pictures": count, "greatest difference of a vector": apart}


def summed(taken: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    def median(way: str, at: int) -> float:
        return statistics.median(each[at] for each in taken[way])

    def faster(way: str, at: int) -> float:
        pairs = zip(taken["one call a picture"], taken[way], strict=True)
        return statistics.median(plain[at] / ours[at] for plain, ours in pairs)

    return {
        "ways": {way: {"seconds": median(way, 0), "cpu seconds": median(way, 1)} for way in taken},
        "times as fast": faster("in batches", 0),
        "times as fast by CPU time": faster("in batches", 1),
        "times as fast when kept": faster("seen before", 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scoring", description=__doc__)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("bench/results/scoring.json"))
    asked = parser.parse_args()
    found = measure(asked.pictures, asked.rounds)
    print(json.dumps(found, indent=1))
    write(asked.out, (json.dumps(found, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
