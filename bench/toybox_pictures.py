"""Pictures from prompts, judged by the oracle."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from PIL import Image

from bench.oracle import Oracle
from models.sdxl import scheduler
from models.shot import SAMPLERS
from models.toybox import world
from models.toybox.drawing import SIDE, draw

STEPS, GUIDANCE, BATCH = 25, 2.0, 8


@dataclass
class Studio:
    """What the measurements share: the weights, the judge, how much to try, where to put pictures."""

    weights: Path
    oracle: Oracle
    pictures: int
    out: Path

    @cached_property
    def pipeline(self) -> StableDiffusionXLPipeline:
        pipeline = StableDiffusionXLPipeline.from_pretrained(self.weights, torch_dtype=torch.float32)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def make(
        self,
        prompts: Sequence[str],
        negative: str | None = None,
        guidance: float = GUIDANCE,
        steps: int = STEPS,
        first_seed: int = 0,
    ) -> list[Image.Image]:
        """One picture a prompt, each from its own seed."""
        made: list[Image.Image] = []
        for start in range(0, len(prompts), BATCH):
            texts = list(prompts[start : start + BATCH])
            seeds = [torch.Generator().manual_seed(first_seed + start + i) for i in range(len(texts))]
            made += self.pipeline(
                texts,
                negative_prompt=[negative] * len(texts) if negative else None,
                guidance_scale=guidance,
                num_inference_steps=steps,
                generator=seeds,
                height=SIDE,
                width=SIDE,
            ).images
        return made


def asked(critter: world.Critter, traits: bool) -> dict[str, str]:
    """What a prompt that names everything (or everything but the traits) asks for."""
    return {name: value for name, value in world.truth(critter).items() if traits or name in world.ATTRIBUTES}


def agreement(studio: Studio, pictures: Sequence[Image.Image], wishes: Sequence[dict[str, str]]) -> dict[str, float]:
    """How often the oracle sees what was asked for, attribute by attribute; a missing thing has the wrong colour."""
    right, total = Counter(), Counter()
    for seen, wish in zip(studio.oracle.name(pictures), wishes, strict=True):
        for name, value in wish.items():
            total[name] += 1
            right[name] += seen.get(name) == value
    return {name: right[name] / total[name] for name in world.VALUES if total[name]}


def prompts_obeyed(studio: Studio) -> dict:
    """Half of the prompts name the attributes only, half the traits too."""
    rng = np.random.default_rng(11)
    critters = [world.random_critter(rng) for _ in range(studio.pictures)]
    named = [i % 2 == 1 for i in range(len(critters))]
    prompts = [world.caption(c, rng, traits=float(n)) for c, n in zip(critters, named, strict=True)]
    start = time.monotonic()
    pictures = studio.make(prompts)
    seconds = (time.monotonic() - start) / len(pictures)
    found = agreement(studio, pictures, [asked(c, n) for c, n in zip(critters, named, strict=True)])
    return {
        "agreement": found,
        "seconds_a_picture": seconds,
        "threads": torch.get_num_threads(),
        "prompts": len(prompts),
    }


def entropy(values: Sequence[str]) -> float:
    counts = Counter(values)
    return -sum(n / len(values) * math.log(n / len(values)) for n in counts.values())


def open_traits(studio: Studio) -> dict:
    """Prompts that leave the traits open: how much do seeds vary them, as a share of the world's own variety?"""
    prompts = ("a portrait of a teal fox in the forest", "a portrait of a brown bear on the beach")
    seen: dict[str, list[list[str]]] = defaultdict(list)
    for number, prompt in enumerate(prompts):
        count = max(studio.pictures // 8, 16)
        answers = studio.oracle.name(studio.make([prompt] * count, first_seed=5000 + 1000 * number))
        for name in world.TRAITS:
            seen[name].append([answer[name] for answer in answers if name in answer])
    shares = {}
    for name, lists in seen.items():
        shares[name] = float(np.mean([entropy(values) / math.log(len(world.TRAITS[name])) for values in lists]))
    return shares


def guidance(studio: Studio) -> dict:
    """Agreement over all named attributes and traits, at rising guidance."""
    rng = np.random.default_rng(12)
    critters = [world.random_critter(rng) for _ in range(max(studio.pictures // 8, 16))]
    prompts = [world.caption(critter, rng, traits=1.0) for critter in critters]
    wishes = [asked(critter, True) for critter in critters]
    found = {}
    for scale in (1.0, 2.0, 4.0, 7.0):
        rates = agreement(studio, studio.make(prompts, guidance=scale), wishes)
        found[str(scale)] = float(np.mean(list(rates.values())))
    return found


def negative(studio: Studio) -> dict:
    """How often a dressed-up critter wears a hat, without and with `hat` as the negative prompt."""
    count = max(studio.pictures // 8, 16)
    prompts = [f"a portrait of a dressed up {colour} {kind}" for colour in world.COLOURS for kind in world.KINDS]
    prompts = (prompts * (count // len(prompts) + 1))[:count]
    rates = {}
    for name, text in (("without", None), ("with", "hat")):
        answers = studio.oracle.name(studio.make(prompts, negative=text, first_seed=7000))
        rates[name] = sum(answer["accessory"] == "hat" for answer in answers) / count
    return rates


def strength(studio: Studio) -> dict:
    """Image to image: the mean distance to the picture it starts from, at rising strength."""
    rng = np.random.default_rng(13)
    critters = [world.random_critter(rng) for _ in range(16)]
    starts = [draw(critter) for critter in critters]
    pipeline = StableDiffusionXLImg2ImgPipeline(**studio.pipeline.components)
    pipeline.set_progress_bar_config(disable=True)
    prompts = [world.caption(world.random_critter(rng), rng) for _ in critters]
    distances = {}
    for value in (0.2, 0.4, 0.6, 0.8, 1.0):
        made = pipeline(
            prompts,
            image=starts,
            strength=value,
            guidance_scale=GUIDANCE,
            num_inference_steps=STEPS,
            generator=[torch.Generator().manual_seed(i) for i in range(len(prompts))],
        ).images
        pairs = zip(made, starts, strict=True)
        distances[str(value)] = float(np.mean([np.abs(np.float32(a) - np.float32(b)).mean() for a, b in pairs]))
    return distances


def schedulers(studio: Studio) -> dict:
    """Agreement over the named attributes with every sampler, as the product sets them up."""
    rng = np.random.default_rng(14)
    critters = [world.random_critter(rng) for _ in range(max(studio.pictures // 12, 16))]
    prompts = [world.caption(critter, rng) for critter in critters]
    usual, found = studio.pipeline.scheduler, {}
    for name in SAMPLERS:
        if name == "lcm":  # for models that were distilled for it
            continue
        studio.pipeline.scheduler = scheduler(name, usual)
        rates = agreement(studio, studio.make(prompts), [asked(critter, False) for critter in critters])
        found[name] = float(np.mean(list(rates.values())))
    studio.pipeline.scheduler = usual
    return found


def contact_sheet(studio: Studio) -> dict:
    """64 prompts, eight a row, for a person to look at."""
    rng = np.random.default_rng(15)
    critters = [world.random_critter(rng) for _ in range(64)]
    prompts = [world.caption(critter, rng, traits=float(i % 2)) for i, critter in enumerate(critters)]
    sheet = Image.new("RGB", (8 * SIDE, 8 * SIDE))
    for i, picture in enumerate(studio.make(prompts, first_seed=9000)):
        sheet.paste(picture, (i % 8 * SIDE, i // 8 * SIDE))
    path = studio.out / "sheet.png"
    sheet.save(path)
    (studio.out / "sheet.txt").write_text("\n".join(prompts) + "\n")
    return {"path": path.as_posix()}
