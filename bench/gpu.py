"""Everything for one CUDA GPU: `make bench-gpu`, or `python -m bench.gpu`. No network is needed.

SDXL at its full size with random weights (bench.full_size builds it once, about 7 GB): the training step against its floor and
the common recipe, rendering against the plain pipeline, and memory, at 512, 768 and 1024. Each is a process of its own, and
what was measured stays when a later one fails. The results become a chapter of docs/benchmarks.md.

`--tiny --device cpu` goes the same way with a model of a few kilobytes: to see that it starts, not to measure.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import gather, machine, page
from models.system.files import write_file

SIDES = (512, 768, 1024)
TINY = (64,)
LIMIT = 3600.0


@dataclass(frozen=True)
class Measure:
    """One process and the file that it leaves."""

    name: str
    arguments: tuple[str, ...]


def measures(model: str, device: str, sides: tuple[int, ...], tiny: bool) -> Iterator[Measure]:
    """The smallest pictures first: if the large ones do not fit, those are there."""
    rounds, pictures, steps, batches = ("2", "2", "2", ("1",)) if tiny else ("20", "16", "30", ("1", "4"))
    shared = ("--model", model, "--device", device)
    for side in sides:
        one = ("bench.training_step", *shared, "--sides", str(side), "--batches", *batches, "--rounds", rounds)
        yield Measure(f"training-{side}", one)
        if not tiny:
            yield Measure(f"training-{side}-lean", (*one, "--checkpointing", "--no-recipe"))
            yield Measure(f"training-{side}-fast", (*one, "--compile", "--loose", "--no-recipe"))
        two = ("bench.rendering", *shared, "--side", str(side), "--pictures", pictures, "--steps", steps, "--profile")
        yield Measure(f"rendering-{side}", (*two, *(("--batch", "1", "--ways", "as it comes") if tiny else ())))


def run(one: Measure, folder: Path) -> str:
    """What went wrong, if anything; the results stand in the folder."""
    out, log = folder / f"{one.name}.json", folder / f"{one.name}.log"
    command = [sys.executable, "-m", *one.arguments, "--out", str(out)]
    with log.open("w") as file:
        try:
            status = subprocess.run(
                command, cwd=machine.REPOSITORY, stdout=file, stderr=subprocess.STDOUT, timeout=LIMIT
            ).returncode
        except subprocess.TimeoutExpired:
            return f"took longer than {LIMIT:.0f} s"
    return f"ended with {status}, see {log}" if status else ""


def known(folder: Path, device: str) -> dict[str, Any]:
    """All results that lie in the folder, with the machine."""
    results = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    about = machine.environment() | {"machine": folder.name, "gpu": gpu(device)}
    return {"environment": about, "at": datetime.now(UTC).isoformat(timespec="minutes"), "results": results}


def gpu(device: str) -> dict[str, Any]:
    """The card, its memory and what drives it; empty on a CPU."""
    import torch

    if device == "cpu" or not torch.cuda.is_available():
        return {}
    about = torch.cuda.get_device_properties(0)
    return {"name": about.name, "memory GiB": round(about.total_memory / 2**30, 1), "cuda": str(torch.version.cuda)}


def tiny(folder: Path) -> Path:
    """A model of SDXL's classes that takes a second."""
    from tests.support.tiny import save, tiny_sdxl

    return folder if (folder / "model_index.json").exists() else save(tiny_sdxl(), folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--sides", type=int, nargs="+", default=list(SIDES))
    parser.add_argument("--tiny", action="store_true", help="a tiny model: shows that it runs, and publishes nothing")
    parser.add_argument("--fresh", action="store_true", help="also what is measured already")
    parser.add_argument("--results", type=Path, default=gather.RESULTS)
    asked = parser.parse_args()
    card = gpu(asked.device)
    if asked.device != "cpu" and not card:
        print("there is no CUDA GPU here: run it on a machine with one, or with --tiny --device cpu to see it start")
        return 2
    folder = asked.results / (f"{machine.slug(card['name'])}-gpu" if card else f"{machine.slug()}-tiny")
    folder.mkdir(parents=True, exist_ok=True)
    model = str(tiny(folder / "model")) if asked.tiny else "full-size"
    fine = True
    for one in measures(model, asked.device, TINY if asked.tiny else tuple(asked.sides), asked.tiny):
        began = time.monotonic()
        if (folder / f"{one.name}.json").exists() and not asked.fresh:
            print(f"{one.name:20} known already")
            continue
        problem = run(one, folder)
        fine = fine and not problem
        print(f"{one.name:20} {'FAILED: ' + problem if problem else f'{time.monotonic() - began:5.0f} s'}", flush=True)
    found = known(folder, asked.device)
    write_file(folder.with_suffix(".json"), (json.dumps(found, indent=1) + "\n").encode())
    if card and not asked.tiny:
        print(page.publish(json.loads((page.DOCS / "benchmarks.json").read_text()) | {"gpu": found}))
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
