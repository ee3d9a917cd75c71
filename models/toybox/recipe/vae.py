"""The VAE: 16 × 16 pixels become 32 numbers and come back sharp."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from models.progress import bar
from models.toybox.drawing import SIDE
from models.toybox.recipe.files import write_number
from models.toybox.recipe.numbers import Recipe
from models.toybox.recipe.pixels import colour_error, edge_error, gradient_energy, halved, to_bytes, to_tensor
from models.toybox.recipe.resumable_training import Losses, Training, averaged

SCALING = 0.13025
"""SDXL's own factor. The latents are brought to it (see `settle`), so code that forgets the factor shows at once."""
HALVED_SHARE = 0.2
"""How many steps ask that halved latents decode to a halved picture. Latents that keep this rule have little that changes from
place to place without need, which a UNet learns sooner (after EQ-VAE, arXiv 2502.09509)."""
MOST_NOISE = 0.25
"""The latents are disturbed by up to so much of their spread, so that a UNet's small errors do not show."""


def new_vae(recipe: Recipe) -> AutoencoderKL:
    """Make the untrained VAE."""
    levels = len(recipe.vae_channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=recipe.vae_channels,
        layers_per_block=1,
        latent_channels=recipe.latent_channels,
        norm_num_groups=1,  # a group of its own for each of 8 channels would lose every picture's colour at the last norm
        mid_block_add_attention=False,  # learnt on crops, so it must not care about the size
        sample_size=SIDE,
        scaling_factor=SCALING,
        force_upcast=False,
    )


def crops(drawn: np.ndarray, size: int, batch: int, generator: torch.Generator) -> Tensor:
    """Cut a batch of squares at random places, half of them mirrored."""
    which = torch.randint(len(drawn), (batch,), generator=generator).tolist()
    corners = torch.randint(drawn.shape[1] - size + 1, (batch, 2), generator=generator).tolist()
    mirrored = torch.rand(batch, generator=generator) < 0.5
    cut = to_tensor(np.stack([drawn[i, y : y + size, x : x + size] for i, (y, x) in zip(which, corners, strict=True)]))
    return torch.where(mirrored[:, None, None, None], cut.flip(-1), cut)


def disturbed(mean: Tensor, std: Tensor, generator: torch.Generator) -> Tensor:
    """Sample latents around their means, some of them disturbed further."""
    noise = torch.randn(mean.shape, generator=generator).to(mean.device)
    strength = MOST_NOISE * torch.rand(len(mean), 1, 1, 1, generator=generator).pow(2).to(mean.device)
    spread = mean.detach().std((0, 2, 3), keepdim=True)
    return mean + noise * (std.pow(2) + (strength * spread).pow(2)).sqrt()


def vae_loss(vae: nn.Module, pictures: Tensor, kl: float, generator: torch.Generator) -> Losses:
    """Measure differences of pixels and of edges, and the distance from a unit Gaussian."""
    posterior = vae.encode(pictures).latent_dist
    mean, std = posterior.mean.float(), posterior.std.float()
    latents = disturbed(mean, std, generator)
    half = float(torch.rand(1, generator=generator)) < HALVED_SHARE
    if half:
        latents, pictures = halved(latents), halved(pictures)
    seen = vae.decode(latents).sample.float()
    squares = F.mse_loss(seen, pictures)
    divergence = 0.5 * (mean**2 + std**2 - 1 - 2 * std.log()).mean()
    distance = F.l1_loss(seen, pictures) + 0.5 * edge_error(seen, pictures) + 2 * squares
    distance = distance + 0.5 * colour_error(seen, pictures)
    loss = (0.25 if half else 1.0) * distance + kl * divergence
    found = {"loss": loss, "kl": divergence.detach()}
    return found if half else found | {"psnr": -10 * torch.log10(squares.detach() / 4)}


def train_vae(
    recipe: Recipe, drawn: np.ndarray, work: Path, device: torch.device, minutes: float | None = None
) -> Iterator[dict[str, float]]:
    """Train encoder and decoder on crops of drawings."""
    torch.manual_seed(recipe.seed)
    modules = nn.ModuleDict({"vae": new_vae(recipe)})
    training = Training(modules, recipe.vae, work / "vae.pt", recipe.seed, device, minutes=minutes)

    def loss_of(generator: torch.Generator, _: float) -> Losses:
        pictures = crops(drawn, recipe.vae_crop, recipe.vae.batch, generator).to(device)
        return vae_loss(modules["vae"], pictures, recipe.kl, generator)

    yield from training.run(loss_of)


@torch.no_grad()
def settle(vae: AutoencoderKL, pictures: Tensor) -> None:
    """Give every latent channel mean 0 and variance 1 (after SDXL's scaling factor).

    The pipeline knows one factor for all channels, so the rest goes into the convolutions on either side of the latents,
    which costs nothing: what the encoder's is multiplied by, the decoder's is divided by.
    """
    means = torch.cat([vae.encode(batch).latent_dist.mean for batch in pictures.split(32)])
    middle, spread = means.mean((0, 2, 3)), means.std((0, 2, 3))
    factor = 1 / (SCALING * spread)
    channels = len(middle)
    before, after = vae.quant_conv, vae.post_quant_conv
    before.weight[:channels] *= factor[:, None, None, None]
    before.bias[:channels] = (before.bias[:channels] - middle) * factor
    before.bias[channels:] += 2 * factor.log()  # log variances
    after.bias += (after.weight[:, :, 0, 0] * middle).sum(1)
    after.weight /= factor[None, :, None, None]


def load_vae(recipe: Recipe, drawn: np.ndarray, work: Path, polished: bool = True) -> AutoencoderKL:
    """Load the averaged VAE as far as it has been trained, with settled latents."""
    vae = new_vae(recipe)
    vae.load_state_dict(averaged(work / "vae.pt", "vae."))
    vae.eval().requires_grad_(False)
    settle(vae, to_tensor(drawn[:256]))
    if polished and (work / "polish.pt").exists():  # which was trained on settled latents
        vae.load_state_dict(averaged(work / "polish.pt", "vae."), strict=False)
    return vae


@torch.no_grad()
def psnr(vae: AutoencoderKL, pictures: Tensor) -> float:
    """Measure whole pictures through encoder and decoder, averaged over the pictures."""
    rates: list[float] = []
    for batch in pictures.split(16):
        seen = vae.decode(vae.encode(batch).latent_dist.mean).sample.clamp(-1, 1)
        rates += [-10 * math.log10(float(error) / 4) for error in (seen - batch).pow(2).mean((1, 2, 3))]
    return sum(rates) / len(rates)


def measure(vae: AutoencoderKL, drawn: np.ndarray) -> dict[str, float]:
    """Measure decibels, and sharpness as the share of the drawings' gradient energy, over drawings it was not trained on."""
    rates = {"psnr": 0.0, "sharpness": 0.0}
    for first in range(0, len(drawn), 16):
        pictures = to_tensor(drawn[first : first + 16])
        share = len(pictures) / len(drawn)
        rates["psnr"] += share * psnr(vae, pictures)
        with torch.no_grad():
            seen = vae.decode(vae.encode(pictures).latent_dist.mean).sample
        rates["sharpness"] += share * gradient_energy(seen) / gradient_energy(pictures)
    return rates


@torch.no_grad()
def round_trips(
    vae_of: Callable[[], AutoencoderKL], drawn: np.ndarray, path: Path, seed: int, device: torch.device, side: int
) -> np.ndarray:
    """Pass drawings through the VAE, half of them with latents disturbed a little; kept at `side` pixels."""
    if path.exists():
        return np.load(path, mmap_mode="r")
    fresh, done = path.with_suffix(".part.npy"), path.with_suffix(".done")
    start = int(done.read_text()) if done.exists() and fresh.exists() else 0
    shape = (len(drawn), side, side, 3)
    pictures = np.lib.format.open_memmap(fresh, mode="r+" if start else "w+", dtype=np.uint8, shape=shape)
    vae = vae_of().to(device)
    with bar("round trips", len(drawn), "pictures", start) as advance:
        for first in range(start, len(drawn), 32):
            batch = to_tensor(drawn[first : first + 32]).to(device)
            generator = torch.Generator().manual_seed(seed + first)
            latents = vae.encode(batch).latent_dist.mean
            strength = torch.rand(len(batch), 1, 1, 1, generator=generator).sub(0.5).clamp(min=0) * 0.6 / SCALING
            noise = torch.randn(latents.shape, generator=generator) * strength
            seen = vae.decode(latents + noise.to(device)).sample.float()
            pictures[first : first + len(batch)] = to_bytes(F.adaptive_avg_pool2d(seen, side))
            pictures.flush()
            write_number(done, first + len(batch))
            advance(len(batch))
    fresh.replace(path)
    done.unlink()
    return np.load(path, mmap_mode="r")
