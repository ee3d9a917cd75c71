"""The VAE: 8 × 8 pixels become 16 numbers and come back recognisable."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from models.toybox.recipe.resumable_training import Course, Losses
from models.toybox.recipe.numbers import Recipe

SCALING = 0.13025
"""SDXL's own factor. The latents are brought to it (see `settle`), so code that forgets the factor shows at once."""


def new_vae(recipe: Recipe) -> AutoencoderKL:
    levels = len(recipe.vae_channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=recipe.vae_channels,
        layers_per_block=1,
        latent_channels=recipe.latent_channels,
        norm_num_groups=8,
        mid_block_add_attention=False,  # learnt on crops, so it must not care about the size
        sample_size=128,
        scaling_factor=SCALING,
        force_upcast=False,
    )


def to_tensor(pictures: np.ndarray) -> Tensor:
    """Bytes [n, h, w, 3] to floats [n, 3, h, w] in -1 … 1."""
    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def to_bytes(pictures: Tensor) -> np.ndarray:
    return pictures.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def crops(shelf: np.ndarray, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """A batch of crops at random places, half of them mirrored."""
    size, batch = recipe.vae_crop, recipe.vae.batch
    which = torch.randint(len(shelf), (batch,), generator=generator).tolist()
    corners = torch.randint(128 - size + 1, (batch, 2), generator=generator).tolist()
    mirrored = torch.rand(batch, generator=generator) < 0.5
    cut = to_tensor(np.stack([shelf[i, y : y + size, x : x + size] for i, (y, x) in zip(which, corners, strict=True)]))
    return torch.where(mirrored[:, None, None, None], cut.flip(-1), cut)


def edges(picture: Tensor) -> tuple[Tensor, Tensor]:
    return picture.diff(dim=-1), picture.diff(dim=-2)


def vae_loss(vae: nn.Module, pictures: Tensor, noise: Tensor, kl: float) -> Losses:
    """Absolute difference of pixels and of edges, and a pull towards a unit Gaussian."""
    posterior = vae.encode(pictures).latent_dist
    mean, std = posterior.mean.float(), posterior.std.float()
    seen = vae.decode(mean + std * noise).sample.float()
    pixels = F.l1_loss(seen, pictures)
    contours = sum(F.l1_loss(a, b) for a, b in zip(edges(seen), edges(pictures), strict=True))
    divergence = 0.5 * (mean**2 + std**2 - 1 - 2 * std.log()).mean()
    squares = F.mse_loss(seen, pictures)
    return {
        "loss": pixels + 0.5 * contours + 2 * squares + kl * divergence,
        "psnr": -10 * torch.log10(squares.detach() / 4),
        "kl": divergence.detach(),
    }


def train_vae(
    recipe: Recipe, shelf: np.ndarray, work: Path, device: torch.device, minutes: float | None = None
) -> Iterator[dict[str, float]]:
    torch.manual_seed(recipe.seed)
    modules = nn.ModuleDict({"vae": new_vae(recipe)})
    course = Course(modules, recipe.vae, work / "vae.pt", recipe.seed, device, minutes=minutes)
    side = recipe.vae_crop // 8

    def loss_of(generator: torch.Generator, _: float) -> Losses:
        pictures = crops(shelf, recipe, generator).to(device)
        noise = torch.randn(recipe.vae.batch, recipe.latent_channels, side, side, generator=generator).to(device)
        return vae_loss(modules["vae"], pictures, noise, recipe.kl)

    yield from course.run(loss_of)


def polish(
    recipe: Recipe, shelf: np.ndarray, work: Path, device: torch.device, minutes: float | None = None
) -> Iterator[dict[str, float]]:
    """Train the decoder alone for longer. The latents stay what they are, so the UNet can learn at the same time."""
    vae = new_vae(recipe)
    vae.load_state_dict(averaged(work / "vae.pt", "vae."))
    vae.requires_grad_(False).to(device)
    modules = nn.ModuleDict({"decoder": vae.decoder, "post_quant_conv": vae.post_quant_conv}).requires_grad_(True)
    course = Course(modules, recipe.polish, work / "polish.pt", recipe.seed + 4, device, minutes=minutes)

    def loss_of(generator: torch.Generator, _: float) -> Losses:
        pictures = crops(shelf, recipe, generator).to(device)
        with torch.no_grad():
            latents = vae.encode(pictures).latent_dist.mean
        seen = vae.decode(latents).sample.float()
        contours = sum(F.l1_loss(a, b) for a, b in zip(edges(seen), edges(pictures), strict=True))
        squares = F.mse_loss(seen, pictures)
        loss = F.l1_loss(seen, pictures) + 0.5 * contours + 4 * squares
        return {"loss": loss, "psnr": -10 * torch.log10(squares.detach() / 4)}

    yield from course.run(loss_of)


def averaged(checkpoint: Path, prefix: str) -> dict[str, Tensor]:
    """The averaged weights in a checkpoint whose names begin with `prefix`, without it."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["average"]
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


@torch.no_grad()
def settle(vae: AutoencoderKL, pictures: Tensor) -> None:
    """Give every latent channel mean 0 and variance 1 (after SDXL's scaling factor).

    The pipeline knows one factor for all channels, so the rest goes into the convolutions on either side of the latents,
    which costs nothing: what the encoder's is multiplied by, the decoder's is divided by.
    """
    found = torch.cat([vae.encode(batch).latent_dist.mean for batch in pictures.split(32)])
    middle, spread = found.mean((0, 2, 3)), found.std((0, 2, 3))
    factor = 1 / (SCALING * spread)
    channels = len(middle)
    before, after = vae.quant_conv, vae.post_quant_conv
    before.weight[:channels] *= factor[:, None, None, None]
    before.bias[:channels] = (before.bias[:channels] - middle) * factor
    before.bias[channels:] += 2 * factor.log()  # log variances
    after.bias += (after.weight[:, :, 0, 0] * middle).sum(1)
    after.weight /= factor[None, :, None, None]


def load_vae(recipe: Recipe, shelf: np.ndarray, work: Path) -> AutoencoderKL:
    """The averaged VAE as far as it has been trained, with settled latents."""
    vae = new_vae(recipe)
    vae.load_state_dict(averaged(work / "vae.pt", "vae."))
    if (work / "polish.pt").exists():
        vae.load_state_dict(averaged(work / "polish.pt", ""), strict=False)
    vae.eval().requires_grad_(False)
    settle(vae, to_tensor(shelf[:256]))
    return vae


@torch.no_grad()
def psnr(vae: AutoencoderKL, pictures: Tensor) -> float:
    """Of whole pictures through encoder and decoder, averaged over the pictures."""
    each = []
    for batch in pictures.split(16):
        seen = vae.decode(vae.encode(batch).latent_dist.mean).sample.clamp(-1, 1)
        each += [-10 * math.log10(float(e) / 4) for e in (seen - batch).pow(2).mean((1, 2, 3))]
    return sum(each) / len(each)


@torch.no_grad()
def round_trips(
    vae_of: Callable[[], AutoencoderKL], shelf: np.ndarray, path: Path, seed: int, device: torch.device
) -> np.ndarray:
    """The drawings as the VAE gives them back, half of them from latents that were disturbed a little."""
    if path.exists():
        return np.load(path, mmap_mode="r")
    vae, found = vae_of().to(device), []
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, len(shelf), 32):
        pictures = to_tensor(shelf[start : start + 32]).to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            latents = vae.encode(pictures).latent_dist.mean
            strength = torch.rand(len(latents), 1, 1, 1, generator=generator).sub(0.5).clamp(min=0) * 0.6 / SCALING
            noise = torch.randn(latents.shape, generator=generator) * strength
            found.append(to_bytes(vae.decode(latents + noise.to(device)).sample.float()))
    fresh = path.with_suffix(".new.npy")
    np.save(fresh, np.concatenate(found))
    fresh.replace(path)
    return np.load(path, mmap_mode="r")
