"""What does a training step cost beside what it cannot do without? `python -m bench.training_step`

The floor is the UNet forward and backward to its inputs, and the text encoders forward and backward to their embeddings: the
frozen model alone, by hand. Steps and floors take turns in one run, so that whatever else the machine does strikes both.
With `--model full-size` it is SDXL at its real shapes with random weights (bench.full_size), for a CUDA GPU: then also the
share of the machine's own matmul rate, and the memory beside the floor's. A third takes its turns with them: the common recipe
(bench.recipe), as most scripts do it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import torch

from bench.recipe import Given, Recipe
from models import registry
from models.inversion import Config, Example, draws, train
from models.inversion.batches import Batches
from models.inversion.words import initial
from models.loading import Options, dtype_of
from models.sdxl import Model
from models.toybox import world
from models.toybox.drawing import draw

TOKEN = "<pip>"
CAPTIONS = ("a close-up of {} in the forest", "a portrait of {} on the beach", "a full body picture of {} in the snow")


def load(name: str, device: str, threads: int) -> Model:
    if name == "full-size":
        from bench.full_size import WORK, build

        name = str(build(WORK))
    source = registry.locate(name, memory=Path("bench/work/hashes.json"))
    return Model(source, Options(device=device, batch_size=1, threads=threads))


def examples(side: int) -> list[Example]:
    scenes = ("forest", "beach", "snow")
    pictures = [draw(world.Critter(scene=scene), side) for scene in scenes]
    return [Example(picture, text.format(TOKEN)) for picture, text in zip(pictures, CAPTIONS, strict=True)]


def steps(model: Model, side: int, batch: int, count: int, **knobs: Any) -> Iterator[Any]:
    stages = () if side == model.source.side else ((side, 1.0),)
    config = Config(token=TOKEN, init="fox", steps=count, batch=batch, stages=stages, **knobs)
    return train(model, examples(side), config)


def floor(model: Model, side: int, batch: int) -> Callable[[], None]:
    """The frozen model forward and backward, and nothing else."""
    pipe, device = model.pipe, model.device
    for part in (pipe.unet, *(encoder.model for encoder in model.encoders)):
        part.requires_grad_(False).eval()
    precision = dtype_of(model.precision)
    scale = pipe.vae_scale_factor
    noisy = torch.randn(
        batch, pipe.unet.config.in_channels, side // scale, side // scale, device=device, dtype=precision
    )
    target, times = torch.randn_like(noisy), torch.randint(0, 1000, (batch,), device=device)
    sizes = torch.tensor([[side, side, 0, 0, side, side]] * batch, device=device, dtype=torch.float32)
    texts = [CAPTIONS[row % 3].format("fox fox fox fox") for row in range(batch)]
    ids = [
        torch.tensor(
            each.tokenizer(texts, padding="max_length", max_length=77, truncation=True).input_ids, device=device
        )
        for each in model.encoders
    ]

    def leaf(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        return output.detach().requires_grad_()

    def run() -> None:
        hooks = [each.model.get_input_embeddings().register_forward_hook(leaf) for each in model.encoders]
        try:
            found = [each.model(own, output_hidden_states=True) for each, own in zip(model.encoders, ids, strict=True)]
        finally:
            for hook in hooks:
                hook.remove()
        hidden = torch.cat([each.hidden_states[-2] for each in found], dim=-1)
        added = {"text_embeds": found[-1].text_embeds, "time_ids": sizes}
        answer = pipe.unet(noisy, times, hidden, added_cond_kwargs=added, return_dict=False)[0]
        ((answer.float() - target.float()) ** 2).mean().backward()

    return run


def given(batches: Batches, config: Config, pictures: Sequence[Example], step: int) -> Given:
    """What the trainer draws for a step, for the recipe to be given the same. One caption and one version a picture."""
    views = batches._views
    side = config.side_at(step, batches.own_side)
    rows = []
    for at in draws.places(config, step, 0):
        number = draws.example(config.seed, at, len(pictures))
        shape = tuple(views[side, number][0].mean.shape)
        posterior, noise = draws.noise(config.seed, at, shape, 0.0)
        image = pictures[number].image
        assert not isinstance(image, Path)
        pixels = torch.from_numpy(np.array(image, np.float32)).permute(2, 0, 1) / 127.5 - 1
        time = draws.timestep(config.seed, at, batches.noising.times)
        size = torch.tensor(views[side, number][0].time_ids, dtype=torch.float32)
        rows.append((pixels, posterior, noise, torch.tensor(time), size, pictures[number].captions[0]))
    pixels, posteriors, noises, times, sizes, captions = zip(*rows, strict=True)
    return Given(*map(torch.stack, (pixels, posteriors, noises, times, sizes)), captions=list(captions))


def timed(work: Callable[[], Any], device: str) -> float:
    wait(device)
    begun = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - begun


def wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def by_recipe(name: str, device: str, threads: int, side: int, batch: int) -> Callable[[], float]:
    """A step of the common recipe, on a model of its own."""
    return recipe_on(load(name, device, threads), side, batch)


def recipe_on(model: Model, side: int, batch: int) -> Callable[[], float]:
    """A step of the common recipe on this model, which is its own from now on."""
    config = Config(token=TOKEN, init="fox", batch=batch, stages=((side, 1.0),))
    pictures = examples(side)
    batches = Batches(model, pictures, config)
    batches.encode(model, [side])
    recipe = Recipe(model, TOKEN, initial(config, model.encoders))
    drawn = [
        given(batches, config, pictures, number).to(model.device, dtype_of(model.precision)) for number in range(8)
    ]
    turn = itertools.count()
    return lambda: recipe.step(drawn[next(turn) % len(drawn)])


def compared(
    model: Model, side: int, batch: int, rounds: int, recipe: Callable[[], float] | None, **knobs: Any
) -> dict[str, float]:
    """Medians of all, taking turns."""
    warm = 3
    plain = floor(model, side, batch)
    under_way = steps(model, side, batch, rounds + warm, **knobs)
    takers = {"step": lambda: next(under_way), "floor": plain} | ({"recipe": recipe} if recipe else {})
    times: dict[str, list[float]] = {name: [] for name in takers}
    for number in range(rounds + warm):
        for name, work in takers.items():
            took = timed(work, model.device)
            times[name] += [took] if number >= warm else []
    under_way.close()  # type: ignore[attr-defined]
    row: dict[str, float] = {"side": side, "batch": batch}
    row |= {name: statistics.median(found) for name, found in times.items()}
    step = row["step"]
    row["ratio"] = step / row["floor"]
    row["ratio of pairs"] = statistics.median(a / b for a, b in zip(times["step"], times["floor"], strict=True))
    if recipe:
        pairs = zip(times["recipe"], times["step"], strict=True)
        row["recipe over step"] = statistics.median(a / b for a, b in pairs)
    if model.device.startswith("cuda"):
        row |= on_gpu(model, side, batch, plain, step, knobs)
    return row


def on_gpu(
    model: Model, side: int, batch: int, plain: Callable[[], None], step: float, knobs: dict[str, Any]
) -> dict[str, float]:
    """Peak memory of both beside the frozen model, and the share of the matmul rate."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counted:
        plain()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    peaks = []
    for work in (plain, lambda: [None for _ in steps(model, side, batch, 3, **knobs)]):
        torch.cuda.reset_peak_memory_stats()
        work()
        torch.cuda.synchronize()
        peaks.append((torch.cuda.max_memory_allocated() - before) / 2**20)
    return {
        "TFLOP": counted.get_total_flops() / 1e12,
        "share of matmul rate": counted.get_total_flops() / step / matmul_rate(),
        "floor MiB": peaks[0],
        "step MiB": peaks[1],
        "model MiB": before / 2**20,
    }


def matmul_rate() -> float:
    """FLOP a second of a large matrix product in bf16: the machine's own limit."""
    one = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    for _ in range(3):
        one @ one
    seconds = min(timed(lambda: [one @ one for _ in range(10)], "cuda") for _ in range(3)) / 10
    return 2 * 8192**3 / seconds


def memory(what: str, side: int, batch: int, threads: int) -> float:
    """The peak in MiB above toybox itself, in a fresh process that has loaded it and makes steps, floors or recipe steps."""
    code = (
        "from bench import training_step as t\n"
        f"model, side, batch = t.load('toybox', 'cpu', {threads}), {side}, {batch}\n"
        "t.start_peak()\nbefore = t.resident()\n"
        f"t.WORKS['{what}'](model, side, batch)\nprint(t.peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


WORKS: dict[str, Callable[[Model, int, int], Any]] = {
    "floor": lambda model, side, batch: [run() for run in [floor(model, side, batch)] * 5],
    "step": lambda model, side, batch: [0 for _ in steps(model, side, batch, 5)],
    "recipe": lambda model, side, batch: [run() for run in [recipe_on(model, side, batch)] * 5],
}
"""Five of each, for their memory."""


def peak() -> float:
    """Of this process in MiB. What getrusage says begins with the peak of the process that started this one."""
    return _status("VmHWM")


def resident() -> float:
    """What this process holds now, in MiB."""
    return _status("VmRSS")


def _status(name: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(name)).split()[1]) / 2**10


def start_peak() -> None:
    """From here on `peak` counts anew."""
    Path("/proc/self/clear_refs").write_text("5")


def checkpoint(model: Model, vectors: int, **knobs: Any) -> int:
    """Bytes of what a training goes on from."""
    *_, record = steps(model, model.source.side, 1, 1, vectors=vectors, **knobs)
    return len(record.state())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.training_step", description=__doc__)
    parser.add_argument("--model", default="toybox", help="toybox, full-size, or any model")
    parser.add_argument("--sides", type=int, nargs="*", default=[])
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 4])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--loose", action="store_true", help="without the kernels that give the same bits every time")
    parser.add_argument(
        "--recipe", action=argparse.BooleanOptionalAction, default=True, help="the common recipe beside it"
    )
    parser.add_argument("--out", type=Path, default=Path("bench/results/training_step.json"))
    asked = parser.parse_args()
    model = load(asked.model, asked.device, asked.threads)
    knobs = {"compile": asked.compile, "checkpointing": asked.checkpointing, "exact": not asked.loose}
    rows = []
    for side in asked.sides or [model.source.side]:
        for batch in asked.batches:
            recipe = by_recipe(asked.model, asked.device, asked.threads, side, batch) if asked.recipe else None
            rows.append(compared(model, side, batch, asked.rounds, recipe, **knobs))
            print(json.dumps({name: round(value, 4) for name, value in rows[-1].items()}), flush=True)
    found: dict[str, Any] = {"model": asked.model, "device": model.device, "precision": model.precision, "rows": rows}
    found["checkpoint of 8 vectors"] = {each: checkpoint(model, 8, optimizer=each) for each in ("adamw", "adam-mini")}
    if asked.model == "toybox" and model.device == "cpu" and Path("/proc/self/clear_refs").exists():
        peaks = {what: memory(what, model.source.side, 4, asked.threads) for what in WORKS}
        found["peak MiB above the loaded model"] = peaks
    found["peak of this process, MiB"] = peak()
    print(json.dumps({name: value for name, value in found.items() if name != "rows"}, indent=1))
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
