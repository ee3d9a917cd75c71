"""Where the time of a training, of a render and of the demo goes: `python -m bench.profiles`

The three largest costs of each by CPU time; the page says what was done about them. Training and rendering by torch's
profiler, the demo by its steps, in a folder of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

from bench import training_step
from bench.machine import REPOSITORY
from bench.rendering import PLACES
from models.picture.shot import Shot
from models.sdxl.renderer import Renderer
from models.system.files import write_file
from tasks.settings.settings import load_settings

MOST = 3
KINDS = {
    "convolution": "convolutions",
    "addmm": "linear layers",
    "mm": "linear layers",
    "bmm": "linear layers",
    "scaled_dot_product": "attention",
    "norm": "normalizations",
    "copy_": "copies",
    "gelu": "activations",
    "silu": "activations",
}
"""What a profiler calls by many names, by a part of the name; the first that fits."""


def kind_of(name: str) -> str:
    return next((kind for part, kind in KINDS.items() if part in name), "everything else")


def by_kind(spent: dict[str, float]) -> Counter[str]:
    found: Counter[str] = Counter()
    for name, value in spent.items():
        found[kind_of(name)] += value  # type: ignore[assignment]
    return found


def largest(spent: Counter[str]) -> list[dict[str, Any]]:
    whole = sum(spent.values()) or 1.0
    named = [(name, value) for name, value in spent.most_common() if name != "everything else"]
    return [{"name": name, "share": round(value / whole, 3)} for name, value in named[:MOST]]


def profiled(work: Callable[[], Any]) -> Counter[str]:
    """CPU time by kind of operation, of the second of two times."""
    from torch.profiler import ProfilerActivity, profile

    work()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        work()
    return by_kind({each.key: float(each.self_cpu_time_total) for each in seen.key_averages()})


def training(model: Renderer, steps: int = 3) -> Counter[str]:
    with closing(training_step.steps(model, model.source.side, 4, 2 * steps)) as under_way:  # type: ignore[type-var]
        return profiled(lambda: [next(under_way) for _ in range(steps)])


def rendering(model: Renderer) -> Counter[str]:
    batched = Renderer(model.source, replace(model.options, batch_size=4))
    side = model.source.side
    shots = [
        Shot(prompt=f"a teal fox {place}", model=model.source.ref, seed=1, width=side, height=side) for place in PLACES
    ]
    return profiled(lambda: list(batched.generate(shots)))


STAGES = ("references", "training", "render", "approval and folders")


def demo(lines: Iterator[str]) -> Counter[str]:
    """CPU time between the lines that begin a step; what stands further in belongs to the step before."""
    spent: Counter[str] = Counter()
    stage, before = -1, time.process_time()
    for line in lines:
        now = time.process_time()
        if stage >= 0:
            spent[STAGES[stage]] += now - before  # type: ignore[assignment]
        before = now
        stage = min(stage + (not line.startswith(" ")), len(STAGES) - 1)
    return spent


def whole_demo(folder: Path) -> Counter[str]:
    """In a folder of its own that begins empty; what it makes stays there for other benchmarks."""
    from flows.cli.demo import run_demo as shown

    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(REPOSITORY / "prompts", folder / "prompts")
    shutil.copy(REPOSITORY / "settings.toml", folder)
    return demo(shown(load_settings(folder / "settings.toml")))


def measure(what: Sequence[str], folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"profiles": {}, "cpu seconds": {}}
    model = training_step.load("toybox", "cpu", 0)
    ways = {
        "training": lambda: training(model),
        "rendering": lambda: rendering(model),
        "demo": lambda: whole_demo(folder),
    }
    for name in what:
        begun = time.process_time()
        spent = ways[name]()
        found["profiles"][name] = largest(spent)
        found["cpu seconds"][name] = round(time.process_time() - begun, 1)
        print(json.dumps({name: found["profiles"][name]}), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.profiles", description=__doc__)
    parser.add_argument("--what", nargs="+", default=["training", "rendering", "demo"])
    parser.add_argument(
        "--folder", type=Path, default=Path("bench/work/demo"), help="where the demo leaves what it makes"
    )
    parser.add_argument("--out", type=Path, default=Path("bench/results/profiles.json"))
    asked = parser.parse_args()
    write_file(asked.out, (json.dumps(measure(asked.what, asked.folder), indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
