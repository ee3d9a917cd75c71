"""How fast are pictures made beside the plain pipeline, called in a loop? `python -m bench.rendering`

Both make the same pictures with the same settings on the same machine, taking turns, so that whatever else the machine does
strikes both. Then each option by itself, and with `--profile` where the time goes. `--model full-size --device cuda` is SDXL at
its real shapes with random weights (bench.full_size) in bf16; `--side 64 --steps 1 --pictures 1` shows on a CPU that it runs.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import torch
from PIL import Image

from models.picture.shot import Shot
from models.sdxl import locate, pipeline
from models.sdxl.locate import ModelSource
from models.sdxl.pipeline import Options
from models.sdxl.renderer import Renderer, new_scheduler
from tasks.pictures.generate import BATCH_LARGE, BATCH_SMALL, MAX_SMALL_SIDE

PLACES = ("in the forest", "on the beach", "in the snow", "in the city")
CANDIDATES = 4
"""Pictures of one prompt, as for a post."""


class Unread(Renderer):
    """Without keeping keys and values of a prompt."""

    def _prompt_caching(self) -> AbstractContextManager[None]:
        return nullcontext()


class Forgetful(Renderer):
    """Without keeping encoded prompts."""

    def _encode_shot(self, shot: Shot) -> Any:
        self._prompts.clear()
        return super()._encode_shot(shot)


@dataclass(frozen=True)
class Way:
    """One way of making the pictures."""

    name: str
    batch: int
    kind: type[Renderer] = Renderer
    compile: pipeline.Compile = "off"
    prepare: Callable[[Renderer], Any] = lambda model: None
    guidance_until: float = 1.0
    note: str = ""


def ways(batch: int, device: str) -> list[Way]:
    """What restage does as it comes, and each option beside it."""
    other = "other last bits: would belong into the environment"
    found = [
        Way("as it comes", batch),
        Way("batches of 1", 1),
        Way("batches twice as large", 2 * batch, note=other),
        Way("without kept keys and values", batch, Unread),
        Way("without kept prompts", batch, Forgetful),
        Way("channels last", batch, prepare=channels_last, note=other),
        Way("fused projections", batch, prepare=fused, note="without kept keys and values"),
        Way("compiled blocks", batch, compile="regional", note=other),
        Way(
            "guidance until 0.8",
            batch,
            guidance_until=0.8,
            note="other pictures: the shot says so, so it does not count",
        ),
    ]
    if device != "cpu":
        both = Way("compiled, channels last", batch, compile="regional", prepare=channels_last, note=other)
        found += [both, Way("batches of 8", 8, note=other)]
    return [way for way in found if batch > 1 or way.name != "batches of 1"]


def fused(model: Renderer) -> None:
    model.pipe.unet.fuse_qkv_projections()


def channels_last(model: Renderer) -> None:
    for part in (model.pipe.unet, model.pipe.vae):
        part.to(memory_format=torch.channels_last)


class Plain:
    """diffusers' own pipeline, one call a picture."""

    def __init__(self, source: ModelSource, device: str, precision: str, sampler: str) -> None:
        import diffusers
        import transformers

        for library in (diffusers, transformers):
            library.utils.logging.disable_progress_bar()
        dtype = pipeline.torch_dtype(precision)
        self.pipe = diffusers.DiffusionPipeline.from_pretrained(source.path, dtype=dtype, add_watermarker=False)
        self.pipe.to(device)
        self.pipe.set_progress_bar_config(disable=True)
        self.like, self.sampler = self.pipe.scheduler, sampler

    def __call__(self, shots: Sequence[Shot]) -> list[Image.Image]:
        return [self._one(shot) for shot in shots]

    def _one(self, shot: Shot) -> Image.Image:
        self.pipe.scheduler = new_scheduler(self.sampler, self.like)
        return self.pipe(
            shot.prompt,
            negative_prompt=shot.negative or None,
            width=shot.width,
            height=shot.height,
            num_inference_steps=shot.steps,
            guidance_scale=shot.guidance,
            generator=torch.Generator("cpu").manual_seed(shot.seed),
        ).images[0]


def wanted(source: ModelSource, count: int, asked: argparse.Namespace) -> list[Shot]:
    """As a calendar asks for them: several candidates of each prompt."""
    prompts = [f"a portrait of a teal fox {PLACES[(number // CANDIDATES) % len(PLACES)]}" for number in range(count)]
    look: dict[str, Any] = {"steps": asked.steps, "guidance": 5.0, "negative": asked.negative}
    side = asked.side or source.side
    return [
        Shot(prompt=prompt, model=source.ref, seed=seed, width=side, height=side, **look)
        for seed, prompt in enumerate(prompts)
    ]


def timed(work: Callable[[], Any], device: str) -> tuple[float, float, Any]:
    """Seconds on the clock, seconds of this process's CPUs, and the result."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    clock, cpu = time.perf_counter(), time.process_time()
    made = work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - clock, time.process_time() - cpu, made


def compared(way: Way, plain: Plain, source: ModelSource, asked: argparse.Namespace) -> dict[str, Any]:
    """This way and the plain pipeline, taking turns over the pictures."""
    options = Options(
        device=asked.device, precision=asked.precision, batch_size=way.batch, threads=asked.threads, compile=way.compile
    )
    model = way.kind(source, options)
    way.prepare(model)
    shots = [shot.with_changes(guidance_until=way.guidance_until) for shot in wanted(source, asked.pictures, asked)]
    turn = max(way.batch, -(-asked.pictures // asked.rounds))
    begun, _, _ = timed(lambda: list(model.generate(shots[: way.batch])), model.device)
    plain(shots[:1])
    ours, theirs, pairs, apart = [], [], [], []
    for start in range(0, asked.pictures, turn):
        part = shots[start : start + turn]
        clock, cpu, made = timed(lambda part=part: list(model.generate(part)), model.device)
        plain_clock, plain_cpu, known = timed(lambda part=part: plain(part), model.device)
        ours.append(clock / len(part))
        theirs.append(plain_clock / len(part))
        pairs.append((plain_clock / clock, plain_cpu / cpu))
        images = {picture.shot.id: picture.image for picture in made}
        apart += [_apart(images[shot.id], image) for shot, image in zip(part, known, strict=True)]
    row = {
        "way": way.name,
        "batch": way.batch,
        "pictures a second": 1 / statistics.median(ours),
        "plain pictures a second": 1 / statistics.median(theirs),
        "times as fast": statistics.median(clock for clock, _ in pairs),
        "times as fast by CPU time": statistics.median(cpu for _, cpu in pairs),
        "seconds of its first batch": begun,
        "mean difference of pixels, of 255": float(np.mean(apart)),
        "note": way.note,
    }
    if model.device.startswith("cuda"):
        row["peak GiB"] = torch.cuda.max_memory_allocated() / 2**30
        torch.cuda.reset_peak_memory_stats()
    return row


def _apart(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, dtype=float) - np.asarray(other, dtype=float)).mean())


def profiled(source: ModelSource, asked: argparse.Namespace) -> dict[str, float]:
    """The share of the time that each operation takes in one batch, the greatest first."""
    from torch.profiler import ProfilerActivity, profile

    model = Renderer(source, Options(device=asked.device, batch_size=asked.batch, threads=asked.threads))
    shots = wanted(source, asked.batch, asked)
    list(model.generate(shots))
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * model.device.startswith("cuda")
    with profile(activities=kinds) as seen:
        list(model.generate(shots))
    name = "self_device_time_total" if model.device.startswith("cuda") else "self_cpu_time_total"
    spent = {each.key: float(getattr(each, name)) for each in seen.key_averages()}
    whole = sum(spent.values())
    greatest = sorted(spent, key=spent.__getitem__, reverse=True)[:12]
    return {key: round(spent[key] / whole, 3) for key in greatest}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.rendering", description=__doc__)
    parser.add_argument("--model", default="toybox", help="toybox, full-size, or any model in a folder")
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=4, help="turns that the pictures are made in")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--side", type=int, default=0, help="0 takes the model's own")
    parser.add_argument("--batch", type=int, default=0, help="0 takes what restage takes for such a model")
    parser.add_argument("--negative", default="")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", help="auto, fp32, fp16 or bf16, for both")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--ways", nargs="*", default=[], help="only ways whose names hold one of these")
    parser.add_argument("--profile", action="store_true", help="also where the time goes")
    parser.add_argument("--out", type=Path, default=Path("bench/results/rendering.json"))
    asked = parser.parse_args()
    source = locate.locate_model(_folder(asked.model), memory=Path("bench/work/hashes.json"))
    asked.device = pipeline.resolve_device(asked.device)
    asked.precision = pipeline.resolve_precision(asked.precision, asked.device)
    asked.batch = asked.batch or (BATCH_SMALL if source.side <= MAX_SMALL_SIDE else BATCH_LARGE)
    if asked.threads:
        torch.set_num_threads(asked.threads)
    plain = Plain(source, asked.device, asked.precision, "euler")
    chosen = [
        way for way in ways(asked.batch, asked.device) if not asked.ways or any(w in way.name for w in asked.ways)
    ]
    found: dict[str, Any] = {"asked": {k: v for k, v in vars(asked).items() if k != "out"}, "rows": []}
    found["threads"] = torch.get_num_threads()
    for way in chosen:
        found["rows"].append(_told(way, plain, source, asked))
        gc.collect()
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(found, indent=1) + "\n")
    if asked.profile:
        found["profile"] = profiled(source, asked)
        print(json.dumps(found["profile"], indent=1))
        asked.out.write_text(json.dumps(found, indent=1) + "\n")


def _told(way: Way, plain: Plain, source: ModelSource, asked: argparse.Namespace) -> dict[str, Any]:
    """A way that fails here, such as compiling without a compiler, is a row as well."""
    try:
        row = compared(way, plain, source, asked)
    except (RuntimeError, ValueError) as error:
        row = {"way": way.name, "batch": way.batch, "failed": str(error)[:300]}
    print(
        json.dumps({name: round(value, 3) if isinstance(value, float) else value for name, value in row.items()}),
        flush=True,
    )
    return row


def _folder(name: str) -> str:
    if name != "full-size":
        return name
    from bench.full_size import WORK, build

    return str(build(WORK))


if __name__ == "__main__":
    main()
