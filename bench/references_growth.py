"""What choosing costs as candidates grow: `python -m bench.references_growth`. Vectors are made up, as if from a cache."""

from __future__ import annotations

import argparse
import json
import time
import tracemalloc
from pathlib import Path

import numpy as np

from bench.fitted import exponent
from models.system.files import write_file
from tasks.references.choose import choose_reference_set
from tasks.references.measurements import Scores
from tasks.references.reference_set import ReferenceCandidate
from tasks.settings.sections import ReferenceSettings

BACKGROUNDS = tuple(f"background {n}" for n in range(12))
FRAMINGS = ("a close-up of", "a portrait of", "a full body picture of")


def material(count: int, size: int, seed: int = 1) -> tuple[list[ReferenceCandidate], Scores]:
    """Candidates of 40 characters, each in one of 36 cells, with vectors as large as those of a ViT-B/32."""
    rng = np.random.default_rng(seed)
    people, places, nears = (
        rng.normal(size=(n, size)).astype(np.float32) for n in (40, len(BACKGROUNDS), len(FRAMINGS))
    )
    who, place, near = (rng.integers(0, n, count) for n in (40, len(BACKGROUNDS), len(FRAMINGS)))
    seen = (
        people[who] + 0.5 * places[place] + 0.3 * nears[near] + 0.4 * rng.normal(size=(count, size)).astype(np.float32)
    )
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    cells = [{"background": BACKGROUNDS[p], "framing": FRAMINGS[n]} for p, n in zip(place, near, strict=True)]
    candidates = [ReferenceCandidate(f"{n:024x}", f"{n}.png", "a prompt", cell, n, n) for n, cell in enumerate(cells)]
    even = {name: rng.uniform(0.9, 1.1, count).astype(np.float32) for name in ("prompt", "subject", "sharpness")}
    pixels = {"spread": 60 * even["prompt"], "sharpness": even["sharpness"]}
    pixels |= {name: np.zeros(count, np.float32) for name in ("dark", "bright", "width", "height")}
    scores = Scores(
        ids=tuple(each.id for each in candidates),
        scorer="made up",
        pixels=pixels,
        hashes=rng.integers(0, 2**63, count, dtype=np.uint64),
        seen=seen,
        identity=seen,
        by_clip=True,
        prompt=even["prompt"],
        subject=even["subject"],
        unwanted={},
        shows={"background": place, "framing": near},
        phrases={"background": BACKGROUNDS, "framing": FRAMINGS},
        surroundings=np.concatenate([places - places.mean(0), nears - nears.mean(0)]),
    )
    return candidates, scores


def measure(count: int, size: int) -> dict[str, float]:
    """CPU seconds without, and peak memory with the memory watched."""
    candidates, scores = material(count, size)
    start = time.process_time()
    made = choose_reference_set(candidates, scores, ReferenceSettings(), 12, {})
    seconds = time.process_time() - start
    assert len(made.order) == 12, made.problem
    tracemalloc.start()
    choose_reference_set(candidates, scores, ReferenceSettings(), 12, {})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {"candidates": count, "seconds": round(seconds, 3), "peak_mib": round(peak / 2**20, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.references_growth", description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[500, 1000, 5000])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--out", type=Path, default=Path("bench/results/references_growth.json"))
    options = parser.parse_args()
    rows = []
    for count in options.counts:
        rows.append(measure(count, options.size))
        print(json.dumps(rows[-1]), flush=True)
    exponents = {name: exponent([(row["candidates"], row[name]) for row in rows]) for name in ("seconds", "peak_mib")}
    print(json.dumps({"exponents": exponents}))
    write_file(options.out, (json.dumps({"rows": rows, "exponents": exponents}, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
