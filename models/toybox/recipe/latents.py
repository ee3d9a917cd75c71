"""Drawings of all shapes as latents: what the UNet learns from. Training never runs the VAE again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from models.progress import bar
from models.toybox.drawing import SIDE
from models.toybox.recipe.drawings import Size, critter_at, draw_range
from models.toybox.recipe.files import write_number
from models.toybox.recipe.numbers import Recipe
from models.toybox.recipe.pixels import to_tensor
from models.toybox.recipe.small_details import detail_map
from models.toybox.recipe.vae import SCALING
from models.toybox.world import Critter

SQUARE: Size = (SIDE, SIDE)
SHAPES: tuple[Size, ...] = (SQUARE, (224, 288), (288, 224), (368, 192), (192, 336))
"""Width and height of what the UNet learns: square, portrait 4:5, landscape 5:4 and 1.91:1, story 9:16. All have about as many
pixels as a square, as SDXL's own shapes do."""
BLOCK = 64


@dataclass(frozen=True)
class Bucket:
    """The latents of one shape, [n, channels, height / 16, width / 16], with their detail maps."""

    size: Size
    seed: int
    latents: np.ndarray
    details: np.ndarray

    def critter(self, number: int) -> Critter:
        """Find who is drawn there."""
        return critter_at(self.seed, number)


def bucket_seed(recipe: Recipe, number: int) -> int:
    """Choose the seed of a shape; squares share theirs with the drawings of the other stages."""
    return recipe.seed if number == 0 else recipe.seed + 20 + number


def encode_shape(
    recipe: Recipe,
    number: int,
    vae_of: Callable[[], AutoencoderKL],
    drawn: np.ndarray,
    work: Path,
    device: torch.device,
) -> Bucket:
    """Draw and encode everything of one shape, block by block; from the files if they are there."""
    width, height = size = SHAPES[number]
    count = recipe.latents if number == 0 else recipe.shaped_latents
    seed, name = bucket_seed(recipe, number), f"latents-{width}x{height}"
    path, details = work / f"{name}.npy", work / f"{name}-details.npy"
    if not path.exists():
        fresh, done = path.with_suffix(".part.npy"), path.with_suffix(".done")
        start = int(done.read_text()) if done.exists() and fresh.exists() else 0
        shape = (count, recipe.latent_channels, height // 16, width // 16)
        rows = np.lib.format.open_memmap(fresh, mode="r+" if start else "w+", dtype=np.float16, shape=shape)
        vae = vae_of().to(device)
        with bar(name, count, "drawings", start) as advance:
            for first in range(start, count, BLOCK):
                last = min(first + BLOCK, count)
                known = size == SQUARE and last <= len(drawn)
                pictures = drawn[first:last] if known else draw_range(critter_at, seed, size, size, (first, last))
                with torch.no_grad():
                    means = [vae.encode(part.to(device)).latent_dist.mean for part in to_tensor(pictures).split(8)]
                rows[first:last] = (torch.cat(means).float() * SCALING).cpu().numpy()
                rows.flush()
                write_number(done, last)
                advance(last - first)
        maps = np.stack([detail_map(critter_at(seed, i), width, height) for i in range(count)])
        np.save(details, maps)
        fresh.replace(path)
        done.unlink()
    return Bucket(size, seed, np.load(path, mmap_mode="r"), np.load(details))


def encode_shapes(
    recipe: Recipe, vae_of: Callable[[], AutoencoderKL], drawn: np.ndarray, work: Path, device: torch.device
) -> list[Bucket]:
    """Draw and encode all shapes, squares first."""
    return [encode_shape(recipe, number, vae_of, drawn, work, device) for number in range(len(SHAPES))]


def choose_bucket(recipe: Recipe, buckets: list[Bucket], generator: torch.Generator) -> Bucket:
    """Choose the shape of a step."""
    chance = float(torch.rand(1, generator=generator))
    if chance < recipe.square_share or len(buckets) == 1:
        return buckets[0]
    share = (chance - recipe.square_share) / (1 - recipe.square_share)
    return buckets[1 + min(int(share * (len(buckets) - 1)), len(buckets) - 2)]
