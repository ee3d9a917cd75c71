"""Pictures of families: critters who are nearly the same somebody, each seen four times in other places and clothes.

To learn who somebody is, a scorer needs pairs that share nothing but that, and strangers who share everything but one mark.
Two of the four pictures are the drawings themselves; the third went through the VAE, and the last was drawn over by the UNet
from half-way noise, with everything named in its caption: that is how the pictures look that are compared later.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from models.progress import bar
from models.toybox import world
from models.toybox.drawing import SIDE
from models.toybox.recipe.drawings import draw_range
from models.toybox.recipe.files import write_number
from models.toybox.recipe.pixels import to_bytes, to_tensor

if TYPE_CHECKING:
    from diffusers import StableDiffusionXLPipeline

VIEWS, MEMBERS = 4, 8
"""Pictures of each critter, critters of each family."""
CLOSE = ("belly", "eyes", "marking", "marking_colour")
"""What members of a family differ in."""
BATCH = 16


def member_at(seed: int, index: int) -> world.Critter:
    """Find the critter with that number: its family, its place in it, and the view, counted in that order."""
    family, member, view = index // (MEMBERS * VIEWS), index // VIEWS % MEMBERS, index % VIEWS
    origin = world.random_critter(np.random.default_rng([seed, family, 1]))
    rng = np.random.default_rng([seed, family, member, 2])
    kept = {name: getattr(origin, name) for name in world.IDENTITY}
    if member:
        for name in rng.permutation(CLOSE)[: int(rng.integers(1, 4))]:
            del kept[str(name)]
        if rng.random() < 0.15:
            del kept[str(rng.choice(["colour", "kind"]))]
    somebody = world.random_critter(rng, **kept)
    looks = {name: getattr(somebody, name) for name in world.IDENTITY}
    view_rng = np.random.default_rng([seed, family, member, view, 3])
    dressed: dict[str, str] = {} if view_rng.random() < 0.5 else {"accessory": "none"}
    return world.random_critter(view_rng, **looks, **dressed)


@torch.no_grad()
def family_pictures(
    pipeline_of: Callable[[], StableDiffusionXLPipeline], seed: int, count: int, path: Path, kept: int = 128
) -> np.ndarray:
    """Draw `count` pictures, the third of each four passed through the VAE and the fourth drawn over, kept at `kept` pixels.

    A run that was killed goes on where it stopped.
    """
    if path.exists():
        return np.load(path, mmap_mode="r")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh, done = path.with_suffix(".part.npy"), path.with_suffix(".done")
    start = int(done.read_text()) if done.exists() and fresh.exists() else 0
    shape = (count, kept, kept, 3)
    pictures = np.lib.format.open_memmap(fresh, mode="r+" if start else "w+", dtype=np.uint8, shape=shape)
    pipeline = pipeline_of()
    draw_over = _drawing_over(pipeline)
    with bar("families", count, "pictures", start) as advance:
        for first in range(start, count, BATCH * VIEWS):
            last = min(first + BATCH * VIEWS, count)
            drawn = draw_range(member_at, seed, (SIDE, SIDE), (SIDE, SIDE), (first, last))
            generator = torch.Generator().manual_seed(seed + first)
            drawn[2::VIEWS] = _decoded(pipeline, drawn[2::VIEWS], generator)
            critters = [member_at(seed, number) for number in range(first + 3, last, VIEWS)]
            drawn[3::VIEWS] = draw_over(drawn[3::VIEWS], critters, generator)
            pictures[first:last] = to_bytes(F.adaptive_avg_pool2d(to_tensor(drawn), kept))
            pictures.flush()
            write_number(done, last)
            advance(last - first)
    fresh.replace(path)
    done.unlink()
    return np.load(path, mmap_mode="r")


def _decoded(pipeline: StableDiffusionXLPipeline, drawn: np.ndarray, generator: torch.Generator) -> np.ndarray:
    vae = pipeline.vae
    latents = vae.encode(to_tensor(drawn).to(vae.device)).latent_dist.mean * vae.config.scaling_factor
    strength = torch.rand(len(latents), 1, 1, 1, generator=generator).sub(0.5).clamp(min=0) * 0.6
    noise = torch.randn(latents.shape, generator=generator) * strength
    return to_bytes(vae.decode((latents + noise.to(vae.device)) / vae.config.scaling_factor).sample)


DrawOver = Callable[[np.ndarray, list[world.Critter], torch.Generator], np.ndarray]


def _drawing_over(pipeline: StableDiffusionXLPipeline) -> DrawOver:
    from diffusers import StableDiffusionXLImg2ImgPipeline

    over = StableDiffusionXLImg2ImgPipeline(**pipeline.components, add_watermarker=False)
    over.set_progress_bar_config(disable=True)

    def pictures(drawn: np.ndarray, critters: list[world.Critter], generator: torch.Generator) -> np.ndarray:
        rng = np.random.default_rng(generator.initial_seed())
        images = over(
            prompt=[world.caption(critter, rng, traits=1.0) for critter in critters],
            image=drawn.astype(np.float32) / 255,
            strength=float(rng.uniform(0.35, 0.6)),
            num_inference_steps=16,
            guidance_scale=float(rng.choice([1.0, 3.0])),
            generator=generator,
            output_type="np",
        ).images
        return np.round(images * 255).astype(np.uint8)

    return pictures
