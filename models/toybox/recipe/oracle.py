"""The oracle: what is in this picture? For measuring only; the product never asks it.

It looks at pictures at 128 pixels, those that are no squares squeezed into one, and is trained on drawings with blur, grain and
round trips through the VAE.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from models import toybox
from models.toybox import world
from models.toybox.recipe.clip import blurred, shifted
from models.toybox.recipe.drawings import critter_at
from models.toybox.recipe.numbers import Recipe
from models.toybox.recipe.pixels import to_tensor
from models.toybox.recipe.resumable_training import Losses, Training, averaged
from models.toybox.recipe.text_encoders import labels

WEIGHTS = "oracle.safetensors"
WIDTHS = (24, 48, 80, 112, 128)
SIDE = 128
ABSENT = (("accessory", "accessory_colour"), ("marking", "marking_colour"))


class Block(nn.Module):
    """Two convolutions with a way around them."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(8, after)
        self.second = nn.Conv2d(after, after, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Halve the size and look at it."""
        x = F.gelu(self.norm(self.first(x)))
        return x + F.gelu(self.second(x))


class Oracle(nn.Module):
    """A small convolutional classifier with one head for each attribute and trait."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTHS[0], 4, stride=2, padding=1)
        self.blocks = nn.Sequential(*(Block(a, b) for a, b in pairwise(WIDTHS)))
        self.pool = nn.Linear(WIDTHS[-1] * 16, 224)
        self.heads = nn.ModuleDict({name: nn.Linear(224, len(values)) for name, values in world.VALUES.items()})

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Answer for every attribute, in logits."""
        seen = F.adaptive_avg_pool2d(self.blocks(F.gelu(self.stem(pictures))), 4).flatten(1)
        pooled = F.gelu(self.pool(seen))
        return {name: head(pooled) for name, head in self.heads.items()}

    @torch.no_grad()
    def look(self, pictures: Tensor) -> list[dict[str, str]]:
        """Name what every attribute and trait of each picture (-1 … 1, 128 pixels) looks like, without what cannot be seen."""
        answers: list[dict[str, str]] = []
        for batch in pictures.split(64):
            best = {name: logits.argmax(1).tolist() for name, logits in self(batch).items()}
            for i in range(len(batch)):
                seen = {name: world.VALUES[name][best[name][i]] for name in world.VALUES}
                for thing, colour in ABSENT:
                    if seen[thing] == "none":
                        del seen[colour]
                if seen["framing"] == "close-up":
                    del seen["pose"]
                answers.append(seen)
        return answers

    def name(self, pictures: Sequence[Image.Image]) -> list[dict[str, str]]:
        """`look` at ordinary pictures of any size."""
        return self.look(to_tensor(np.stack([squeezed(picture) for picture in pictures])))


def squeezed(picture: Image.Image) -> np.ndarray:
    """Make a square of 128 pixels of a picture of any shape."""
    return np.asarray(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX))


def load_oracle(weights: Path | None = None) -> Oracle:
    """Load the oracle that lies beside the weights."""
    oracle = Oracle()
    state = load_file((weights or toybox.folder()) / WEIGHTS)
    oracle.load_state_dict({name: value.float() for name, value in state.items()})
    return oracle.eval()


def train_oracle(
    recipe: Recipe,
    drawn: np.ndarray,
    decoded: np.ndarray,
    shaped: list[tuple[int, np.ndarray]],
    work: Path,
    device: torch.device,
    minutes: float | None = None,
) -> Iterator[dict]:
    """Train on drawings, on what the VAE gives back of them, and on other shapes (each with its seed), a quarter of the time."""
    torch.manual_seed(recipe.seed + 3)
    modules = nn.ModuleDict({"oracle": Oracle()})
    training = Training(modules, recipe.oracle, work / "oracle.pt", recipe.seed + 3, device, minutes=minutes)

    def source(chance: float) -> tuple[int, np.ndarray]:
        if chance < 0.25 and shaped:
            return shaped[min(int(chance * 4 * len(shaped)), len(shaped) - 1)]
        return recipe.seed, (drawn if chance < 0.65 else decoded)

    def loss_of(generator: torch.Generator, _: float) -> Losses:
        count = recipe.oracle.batch
        sources = [source(chance) for chance in torch.rand(count, generator=generator).tolist()]
        where = torch.rand(count, generator=generator).tolist()
        which = [int(share * len(pictures)) for share, (_, pictures) in zip(where, sources, strict=True)]
        raw = np.stack([pictures[i] for i, (_, pictures) in zip(which, sources, strict=True)])
        seen = shifted(blurred(to_tensor(raw), generator), generator).to(device)
        right = labels([critter_at(seed, i) for i, (seed, _) in zip(which, sources, strict=True)])
        errors = [
            F.cross_entropy(logits.float(), right[name].to(device), ignore_index=-100)
            for name, logits in modules["oracle"](seen).items()
        ]
        return {"loss": torch.stack(errors).mean(), "worst": torch.stack(errors).max().detach()}

    yield from training.run(loss_of)


def export_oracle(work: Path, out: Path) -> None:
    """Write the averaged oracle beside the other weights, in half precision."""
    state = averaged(work / "oracle.pt", "oracle.")
    save_file({name: value.half().contiguous() for name, value in state.items()}, out / WEIGHTS)


def accuracy(oracle: Oracle, pictures: Tensor, critters: Sequence[world.Critter]) -> dict[str, float]:
    """Measure the share of right answers for every attribute, where there is one to be seen."""
    answers = oracle.look(pictures)
    rates = {}
    for name in world.VALUES:
        pairs = [
            (a.get(name), t[name]) for a, c in zip(answers, critters, strict=True) if name in (t := world.truth(c))
        ]
        rates[name] = sum(a == b for a, b in pairs) / max(len(pairs), 1)
    return rates
