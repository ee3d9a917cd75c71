"""The decoder's last lessons: edges as crisp as a drawing's.

Absolute differences alone leave edges soft, because an edge in the middle is never far wrong. So the decoder alone is trained
further, by what the scoring CLIP's first layers see (a perceptual loss), and against a small critic that tells drawings from
what was decoded. The latents stay what they are, so the UNet does not notice.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.toybox.recipe.numbers import Recipe
from models.toybox.recipe.pixels import edge_error, gradient_energy
from models.toybox.recipe.resumable_training import Losses, Training
from models.toybox.recipe.vae import MOST_NOISE, crops, load_vae

CRITIC_WIDTHS = (3, 16, 32, 48)
CRITIC_STARTS = 0.1
"""From which share of the schedule the critic's opinion counts."""


class Critic(nn.Module):
    """Says for every patch of 30 pixels or so how much it looks like a drawing."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise(CRITIC_WIDTHS):
            layers += [nn.utils.parametrizations.spectral_norm(nn.Conv2d(before, after, 4, 2, 1)), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(CRITIC_WIDTHS[-1], 1, 3, 1, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        """Judge pictures [n, 3, h, w]."""
        return self.layers(pictures)


def first_layers(visual: nn.Module, pictures: Tensor) -> list[Tensor]:
    """Look at pictures with the first layers of an open_clip ResNet."""
    x = visual.act1(visual.bn1(visual.conv1(pictures)))  # type: ignore[operator]
    x = visual.act2(visual.bn2(visual.conv2(x)))  # type: ignore[operator]
    stem = visual.act3(visual.bn3(visual.conv3(x)))  # type: ignore[operator]
    one = visual.layer1(visual.avgpool(stem))  # type: ignore[operator]
    return [stem, one, visual.layer2(one)]  # type: ignore[operator]


def perceived_error(visual: nn.Module, seen: Tensor, pictures: Tensor) -> Tensor:
    """Measure how differently two batches look to the scoring CLIP, channel by channel of equal spread."""
    errors = []
    with torch.no_grad():
        right = first_layers(visual, pictures)
    for one, other in zip(first_layers(visual, seen), right, strict=True):
        spread = other.std((0, 2, 3), keepdim=True) + 1e-3
        errors.append(((one - other) / spread).abs().mean())
    return torch.stack(errors).mean()


def train_polish(
    recipe: Recipe, drawn: np.ndarray, clip: nn.Module, work: Path, device: torch.device, minutes: float | None = None
) -> Iterator[dict[str, float]]:
    """Train the decoder alone, and its critic beside it."""
    torch.manual_seed(recipe.seed + 4)
    vae = load_vae(recipe, drawn, work, polished=False).to(device)
    visual = clip.visual.eval().requires_grad_(False).to(device)  # type: ignore[union-attr]
    parts = {"decoder": vae.decoder, "post_quant_conv": vae.post_quant_conv}
    modules = nn.ModuleDict({"vae": nn.ModuleDict(parts).requires_grad_(True), "critic": Critic()})
    training = Training(modules, recipe.polish, work / "polish.pt", recipe.seed + 4, device, minutes=minutes)
    critic = modules["critic"]

    def loss_of(generator: torch.Generator, progress: float) -> Losses:
        pictures = crops(drawn, recipe.vae_crop, recipe.polish.batch, generator).to(device)
        with torch.no_grad():
            latents = vae.encode(pictures).latent_dist.mean
            noise = torch.randn(latents.shape, generator=generator).to(device)
            strength = MOST_NOISE * torch.rand(len(latents), 1, 1, 1, generator=generator).pow(3).to(device)
            latents = latents + noise * strength * latents.std((0, 2, 3), keepdim=True)
        seen = vae.decode(latents).sample.float()
        squares = F.mse_loss(seen, pictures)
        perceived = perceived_error(visual, seen, pictures)
        loss = (
            F.l1_loss(seen, pictures) + 0.5 * edge_error(seen, pictures) + 4 * squares + recipe.perceptual * perceived
        )
        critic.requires_grad_(False)
        if progress >= CRITIC_STARTS:
            loss = loss - recipe.adversarial * critic(seen).mean()
        critic.requires_grad_(True)
        right, wrong = critic(pictures), critic(seen.detach())
        judged = F.relu(1 - right).mean() + F.relu(1 + wrong).mean()
        return {
            "loss": loss + judged,
            "psnr": -10 * torch.log10(squares.detach() / 4),
            "perceived": perceived.detach(),
            "critic": judged.detach(),
            "sharpness": torch.tensor(gradient_energy(seen.detach()) / gradient_energy(pictures)),
        }

    yield from training.run(loss_of)
