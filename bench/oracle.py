"""The oracle: what is in this picture? For measuring only; the product never asks it.

`python -m bench.oracle` trains it on drawings (with blur, grain and VAE round trips) and states its held-out accuracy.
"""

from __future__ import annotations

import argparse
import json
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
from models.toybox.recipe.build import Build
from models.toybox.recipe.resumable_training import Course, Losses, generator_for
from models.toybox.recipe.drawings import critter_at
from models.toybox.recipe.progress import sharing, shown
from models.toybox.recipe.numbers import STANDARD, Recipe
from models.toybox.recipe.clip import blurred, shifted
from models.toybox.recipe.vae import to_tensor
from models.toybox.recipe.text_encoders import labels

WEIGHTS = "oracle.safetensors"
WIDTHS = (24, 48, 96, 128, 160)


class Block(nn.Module):
    """Two convolutions with a way around them."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(8, after)
        self.second = nn.Conv2d(after, after, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.norm(self.first(x)))
        return x + F.gelu(self.second(x))


class Oracle(nn.Module):
    """A small convolutional classifier with one head for each attribute and trait."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTHS[0], 4, stride=2, padding=1)
        self.blocks = nn.Sequential(*(Block(a, b) for a, b in pairwise(WIDTHS)))
        self.pool = nn.Linear(WIDTHS[-1] * 16, 256)
        self.heads = nn.ModuleDict({name: nn.Linear(256, len(values)) for name, values in world.VALUES.items()})

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        seen = F.adaptive_avg_pool2d(self.blocks(F.gelu(self.stem(pictures))), 4).flatten(1)
        felt = F.gelu(self.pool(seen))
        return {name: head(felt) for name, head in self.heads.items()}

    @torch.no_grad()
    def look(self, pictures: Tensor) -> list[dict[str, str]]:
        """For each picture (-1 … 1), what every attribute and trait looks like; colours of absent things left out."""
        found: list[dict[str, str]] = []
        for batch in pictures.split(64):
            best = {name: logits.argmax(1).tolist() for name, logits in self(batch).items()}
            for i in range(len(batch)):
                seen = {name: world.VALUES[name][best[name][i]] for name in world.VALUES}
                for thing, colour in (("accessory", "accessory_colour"), ("marking", "marking_colour")):
                    if seen[thing] == "none":
                        del seen[colour]
                found.append(seen)
        return found

    def name(self, pictures: Sequence[Image.Image]) -> list[dict[str, str]]:
        """`look` for ordinary pictures of any size."""
        small = [
            np.asarray(picture.convert("RGB").resize((128, 128), Image.Resampling.LANCZOS)) for picture in pictures
        ]
        return self.look(to_tensor(np.stack(small)))


def load_oracle(weights: Path | None = None) -> Oracle:
    oracle = Oracle()
    state = load_file((weights or toybox.folder()) / WEIGHTS)
    oracle.load_state_dict({name: value.float() for name, value in state.items()})
    return oracle.eval()


def train_oracle(
    recipe: Recipe, shelf: np.ndarray, worn: np.ndarray, work: Path, device: torch.device, minutes: float | None = None
) -> Iterator[dict]:
    torch.manual_seed(recipe.seed + 3)
    modules = nn.ModuleDict({"oracle": Oracle()})
    course = Course(modules, recipe.oracle, work / "oracle.pt", recipe.seed + 3, device, minutes=minutes)

    def loss_of(generator: torch.Generator, _: float) -> Losses:
        which = torch.randint(len(shelf), (recipe.oracle.batch,), generator=generator).tolist()
        use_worn = torch.rand(len(which), generator=generator) < 0.5
        which = [i % len(worn) if use else i for i, use in zip(which, use_worn, strict=True)]
        raw = np.stack([worn[i] if use else shelf[i] for i, use in zip(which, use_worn, strict=True)])
        pictures = shifted(blurred(to_tensor(raw), generator), generator).to(device)
        right = labels([critter_at(recipe.seed, i) for i in which])
        each = [
            F.cross_entropy(logits.float(), right[name].to(device), ignore_index=-100)
            for name, logits in modules["oracle"](pictures).items()
        ]
        return {"loss": torch.stack(each).mean(), "worst": torch.stack(each).max().detach()}

    yield from course.run(loss_of)


def accuracy(oracle: Oracle, pictures: Tensor, critters: Sequence[world.Critter]) -> dict[str, float]:
    """The share of right answers for every attribute, where there is one to be seen."""
    answers = oracle.look(pictures)
    rates = {}
    for name in world.VALUES:
        pairs = [
            (a.get(name), t[name]) for a, c in zip(answers, critters, strict=True) if name in (t := world.truth(c))
        ]
        rates[name] = sum(a == b for a, b in pairs) / len(pairs)
    return rates


def soft(pictures: Tensor) -> Tensor:
    return blurred(pictures, generator_for(1, 1))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.oracle", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("bench/work/toybox"))
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="how many threads may compute (default: what pays off)")
    options = parser.parse_args()
    build = Build(STANDARD, options.work, toybox.folder(), torch.device(options.device))
    rows = train_oracle(STANDARD, build.shelf, build.worn_shelf, options.work, build.device, options.minutes)
    if options.threads:
        torch.set_num_threads(options.threads)
    for _ in shown(rows if options.threads else sharing(rows), "oracle"):
        pass
    state = torch.load(options.work / "oracle.pt", map_location="cpu", weights_only=True)["average"]
    halves = {name.removeprefix("oracle."): value.half().contiguous() for name, value in state.items()}
    save_file(halves, toybox.folder() / WEIGHTS)
    if (toybox.folder() / toybox.HASHES).exists():
        toybox.write_hashes(toybox.folder())
    critters = [critter_at(STANDARD.seed + 1, i) for i in range(STANDARD.held_out)]
    print(json.dumps(accuracy(load_oracle(), to_tensor(build.held_out), critters), indent=2))


if __name__ == "__main__":
    main()
