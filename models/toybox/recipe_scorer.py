"""The scoring CLIP: the picture tower and the second encoder's text tower, taught to look at every single attribute.

Contrast alone learns first what tells most pictures apart (scene, framing) and only very late a pair of sleepy eyes. So both
towers also answer for every attribute, through the same linear heads: what a picture shows and what a caption says must lie
in the same place, attribute by attribute. The heads are thrown away afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTokenizer

from models.toybox import world
from models.toybox.captions import changed, named_caption, seeds, tokenized
from models.toybox.course import Course, Losses
from models.toybox.drawings import critter_at
from models.toybox.recipe import Recipe
from models.toybox.recipe_clip import blurred, contrast, load_clip_stage, new_clip, new_encoders, shifted, text_tower
from models.toybox.recipe_vae import averaged, to_tensor


def labels(critters: list[world.Critter]) -> dict[str, Tensor]:
    """The right answers; -100 where there is nothing to see, which cross entropy leaves out."""
    truths = [world.truth(critter) for critter in critters]
    return {
        name: torch.tensor([values.index(truth[name]) if name in truth else -100 for truth in truths])
        for name, values in world.VALUES.items()
    }


def answers_loss(heads: nn.ModuleDict, seen: Tensor, right: dict[str, Tensor]) -> Tensor:
    """Mean cross entropy over all attributes; embeddings have length 1, so they are stretched first."""
    each = [F.cross_entropy(head(8 * seen), right[name].to(seen.device)) for name, head in heads.items()]
    return torch.stack([loss for loss in each if loss.isfinite()]).mean()


def lesson(
    shelf: np.ndarray, worn: np.ndarray, recipe: Recipe, generator: torch.Generator
) -> tuple[Tensor, list[world.Critter], list[str], list[world.Critter], list[str]]:
    """Related drawings, some of them worn, with full captions; then lies, and the critters that they would be true of."""
    fours = torch.randint(len(shelf) // 4, (recipe.scorer.batch // 4,), generator=generator)
    numbers = (fours[:, None] * 4 + torch.arange(4)).flatten().tolist()
    use_worn = (torch.rand(len(numbers), generator=generator) < 0.5).tolist()
    numbers = [i % len(worn) if use else i for i, use in zip(numbers, use_worn, strict=True)]
    pictures = to_tensor(np.stack([(worn if use else shelf)[i] for i, use in zip(numbers, use_worn, strict=True)]))
    critters = [critter_at(recipe.seed, i) for i in numbers]
    drawn = seeds(generator, len(critters))
    liars = [changed(critter, np.random.default_rng([s, 1])) for critter, s in zip(critters, drawn, strict=True)]
    truths = [caption_of(critter, s) for critter, s in zip(critters, drawn, strict=True)]
    lies = [caption_of(critter, s) for critter, s in zip(liars, drawn, strict=True)]
    return shifted(blurred(pictures, generator), generator), critters, truths, liars, lies


def caption_of(critter: world.Critter, seed: int) -> str:
    """Two thirds of the captions say everything, so that text can be asked about everything."""
    rng = np.random.default_rng(seed)
    return world.caption(critter, rng, traits=1.0) if seed % 3 else named_caption(critter, rng)


def train_scorer(
    recipe: Recipe,
    shelf: np.ndarray,
    worn: np.ndarray,
    tokenizers: tuple[CLIPTokenizer, CLIPTokenizer],
    work: Path,
    device: torch.device,
    minutes: float | None = None,
) -> Iterator[dict[str, float]]:
    torch.manual_seed(recipe.seed + 5)
    encoders, clip = load_clip_stage(recipe, tokenizers, work)
    sizes = {name: len(values) for name, values in world.VALUES.items()}
    modules = nn.ModuleDict(
        {
            "text": encoders["text_encoder_2"],
            "eye": clip.visual,
            "heads": nn.ModuleDict({name: nn.Linear(recipe.clip_embedding, size) for name, size in sizes.items()}),
            "scale": nn.ParameterList([nn.Parameter(torch.tensor(3.4))]),
        }
    ).train()
    course = Course(modules, recipe.scorer, work / "scorer.pt", recipe.seed + 5, device, minutes=minutes)

    def loss_of(generator: torch.Generator, _: float) -> Losses:
        pictures, critters, truths, liars, lies = lesson(shelf, worn, recipe, generator)
        ids = tokenized(tokenizers[1], truths + lies, short=True).to(device)
        seen = F.normalize(modules["eye"](pictures.to(device)).float(), dim=-1)
        said = F.normalize(modules["text"](ids).text_embeds.float(), dim=-1)
        near = contrast(seen, said, modules["scale"][0])
        shown = answers_loss(modules["heads"], seen, labels(critters))
        told = answers_loss(modules["heads"], said, labels(critters + liars))
        return {"loss": near + 2 * (shown + told), "shown": shown.detach(), "told": told.detach()}

    yield from course.run(loss_of)


def load_scorer(recipe: Recipe, tokenizers: tuple[CLIPTokenizer, CLIPTokenizer], work: Path) -> nn.Module:
    """The averaged scoring CLIP as far as it has been trained."""
    clip = new_clip(recipe, len(tokenizers[0]))
    text = new_encoders(recipe, tokenizers)["text_encoder_2"]
    text.load_state_dict(averaged(work / "scorer.pt", "text."))
    clip.visual.load_state_dict(averaged(work / "scorer.pt", "eye."))
    scale = averaged(work / "scorer.pt", "scale.")["0"]
    clip.load_state_dict(text_tower(text) | {"logit_scale": scale}, strict=False)
    return clip.eval()
