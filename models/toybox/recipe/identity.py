"""The identity scorer: pictures of one somebody lie together, those of everybody else apart, wherever they stand.

It starts as the scoring CLIP's eye, which knows what can be seen, and is taught by contrast among families (`families.py`) what
of it matters: within a batch every picture of the same critter is a friend, and the strangers are its own brothers and sisters,
who differ in a pair of eyes or a stripe. Linear heads that ask for each trait hurry it along and are thrown away.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.toybox import world
from models.toybox.recipe.clip import blurred
from models.toybox.recipe.families import MEMBERS, VIEWS, member_at
from models.toybox.recipe.numbers import Recipe
from models.toybox.recipe.pixels import to_tensor
from models.toybox.recipe.resumable_training import Losses, Training, averaged
from models.toybox.recipe.scorer import STRETCH
from models.toybox.recipe.text_encoders import answers_loss, labels

FAMILY = MEMBERS * VIEWS
WARMTH = 0.1
"""The temperature of the contrast: lower looks at the nearest strangers only."""


def zoomed(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Each picture a little nearer or farther, moved and tilted by itself."""
    count = len(pictures)
    scale = torch.empty(count).uniform_(0.85, 1.1, generator=generator)
    tilt = torch.empty(count).uniform_(-0.12, 0.12, generator=generator)
    shift = torch.empty(count, 2).uniform_(-0.08, 0.08, generator=generator)
    turn = torch.stack([tilt.cos(), -tilt.sin(), tilt.sin(), tilt.cos()], 1).view(count, 2, 2)
    grid = F.affine_grid(torch.cat([turn * scale[:, None, None], shift[..., None]], 2), list(pictures.shape), False)
    return F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)


def contrast_of(seen: Tensor, who: Sequence[object]) -> Tensor:
    """Supervised contrast (arXiv 2004.11362): of all other pictures, the friends are to be the nearest."""
    names = {name: number for number, name in enumerate(dict.fromkeys(who))}
    numbers = torch.tensor([names[name] for name in who], device=seen.device)
    itself = torch.eye(len(seen), dtype=torch.bool, device=seen.device)
    friends = (numbers[:, None] == numbers[None]) & ~itself
    with torch.autocast(
        seen.device.type, enabled=False
    ):  # bfloat16 has three digits, and close kin differ in the third
        near = seen @ seen.T / WARMTH
    near = near.masked_fill(itself, -torch.inf).log_softmax(1)
    return -(near.masked_fill(~friends, 0).sum(1) / friends.sum(1).clamp(min=1)).mean()


def train_identity(
    recipe: Recipe, drawn: np.ndarray, clip: nn.Module, work: Path, device: torch.device, minutes: float | None = None
) -> Iterator[dict[str, float]]:
    """Teach the picture tower of `clip`, which it starts from."""
    torch.manual_seed(recipe.seed + 10)
    heads = {name: nn.Linear(recipe.clip_embedding, len(world.VALUES[name])) for name in world.IDENTITY}
    modules = nn.ModuleDict({"eye": clip.visual, "heads": nn.ModuleDict(heads)}).train().requires_grad_(True)
    modules.to(memory_format=torch.channels_last)
    training = Training(modules, recipe.identity, work / "identity.pt", recipe.seed + 10, device, minutes=minutes)

    def loss_of(generator: torch.Generator, _: float) -> Losses:
        families = torch.randint(len(drawn) // FAMILY, (recipe.identity.batch // FAMILY,), generator=generator)
        which = (families[:, None] * FAMILY + torch.arange(FAMILY)).flatten().tolist()
        critters = [member_at(recipe.seed + 10, number) for number in which]
        pictures = blurred(zoomed(to_tensor(drawn[which]), generator), generator)
        found = modules["eye"](pictures.to(device).contiguous(memory_format=torch.channels_last))
        seen = F.normalize(found.float(), dim=-1)
        right = {name: answers for name, answers in labels(critters).items() if name in world.IDENTITY}
        near = contrast_of(seen, [world.identity(critter) for critter in critters])
        told = answers_loss(modules["heads"], STRETCH * seen, right)
        return {"loss": near + told, "near": near.detach(), "told": told.detach()}

    yield from training.run(loss_of)


def load_identity(clip: nn.Module, work: Path) -> nn.Module:
    """`clip` with the picture tower as far as it has been taught; its texts mean nothing to that any more."""
    clip.visual.load_state_dict(averaged(work / "identity.pt", "eye."))
    return clip.eval()
