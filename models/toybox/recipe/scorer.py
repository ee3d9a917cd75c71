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
from models.toybox.recipe.captions import caption_of, changed, seeds, tokenized
from models.toybox.recipe.clip import blurred, contrast, new_clip, new_encoders, shifted, text_tower
from models.toybox.recipe.drawings import critter_at
from models.toybox.recipe.numbers import Recipe
from models.toybox.recipe.pixels import to_tensor
from models.toybox.recipe.resumable_training import Losses, Training, averaged
from models.toybox.recipe.text_encoders import answers_loss, labels, load_words_stage, new_heads

STRETCH = 8
"""Embeddings have length 1; heads read them stretched."""
OTHERS_WEIGH = 0.4
"""What scene, framing and clothes count in the likeness of two pictures, where each identity trait counts 1."""


def choose_lesson(
    drawn: np.ndarray, decoded: np.ndarray, recipe: Recipe, generator: torch.Generator
) -> tuple[Tensor, list[world.Critter], list[str], list[world.Critter], list[str]]:
    """Choose related drawings, some as the VAE gives them back, with full captions; then lies, and the critters that they fit."""
    fours = torch.randint(len(drawn) // 4, (recipe.scorer.batch // 4,), generator=generator)
    numbers = (fours[:, None] * 4 + torch.arange(4)).flatten().tolist()
    use_decoded = (torch.rand(len(numbers), generator=generator) < 0.5).tolist()
    numbers = [i % len(decoded) if use else i for i, use in zip(numbers, use_decoded, strict=True)]
    pictures = to_tensor(
        np.stack([(decoded if use else drawn)[i] for i, use in zip(numbers, use_decoded, strict=True)])
    )
    critters = [critter_at(recipe.seed, i) for i in numbers]
    numbers = seeds(generator, len(critters))
    liars = [changed(critter, np.random.default_rng([s, 1])) for critter, s in zip(critters, numbers, strict=True)]
    truths = [caption_of(critter, s) for critter, s in zip(critters, numbers, strict=True)]
    lies = [caption_of(critter, s) for critter, s in zip(liars, numbers, strict=True)]
    return shifted(blurred(pictures, generator), generator), critters, truths, liars, lies


def likeness_error(seen: Tensor, right: dict[str, Tensor]) -> Tensor:
    """How far the pictures' similarities are from what they should be: the weighted share of what two of them share.

    Contrast alone would let the scene rule, the largest thing in every picture; who somebody is must weigh more.
    """
    alike = torch.zeros(len(seen), len(seen), device=seen.device)
    for name, answers in right.items():
        here = answers.to(seen.device)  # two that lack a thing are alike in that
        alike += (here[:, None] == here[None]) * (1.0 if name in world.IDENTITY else OTHERS_WEIGH)
    most = len(world.IDENTITY) + OTHERS_WEIGH * (len(right) - len(world.IDENTITY))
    apart = ~torch.eye(len(seen), dtype=torch.bool, device=seen.device)
    return (seen @ seen.T - alike / most)[apart].pow(2).mean()


def train_scorer(
    recipe: Recipe,
    drawn: np.ndarray,
    decoded: np.ndarray,
    tokenizers: tuple[CLIPTokenizer, CLIPTokenizer],
    work: Path,
    device: torch.device,
    minutes: float | None = None,
) -> Iterator[dict[str, float]]:
    torch.manual_seed(recipe.seed + 5)
    encoders, _ = load_words_stage(recipe, tokenizers, work)
    modules = nn.ModuleDict(
        {
            "text": encoders["text_encoder_2"],
            "eye": new_clip(recipe, len(tokenizers[1])).visual,
            "heads": new_heads(recipe.clip_embedding),
            "scale": nn.ParameterList([nn.Parameter(torch.tensor(3.4))]),
        }
    ).train()
    training = Training(modules, recipe.scorer, work / "scorer.pt", recipe.seed + 5, device, minutes=minutes)

    def loss_of(generator: torch.Generator, _: float) -> Losses:
        pictures, critters, truths, liars, lies = choose_lesson(drawn, decoded, recipe, generator)
        ids = tokenized(tokenizers[1], truths + lies, short=True).to(device)
        seen = F.normalize(modules["eye"](pictures.to(device)).float(), dim=-1)
        said = F.normalize(modules["text"](ids).text_embeds.float(), dim=-1)
        near = contrast(seen, said, modules["scale"][0])
        shown = answers_loss(modules["heads"], STRETCH * seen, labels(critters))
        told = answers_loss(modules["heads"], STRETCH * said, labels(critters + liars))
        likeness = likeness_error(seen, labels(critters))
        loss = near + 2 * (shown + told) + 10 * likeness
        return {
            "loss": loss,
            "shown": shown.detach(),
            "told": told.detach(),
            "near": near.detach(),
            "likeness": likeness.detach(),
        }

    yield from training.run(loss_of)


def load_scorer(recipe: Recipe, tokenizers: tuple[CLIPTokenizer, CLIPTokenizer], work: Path) -> nn.Module:
    """The averaged scoring CLIP as far as it has been trained."""
    clip = new_clip(recipe, len(tokenizers[0]))
    text = new_encoders(recipe, tokenizers)["text_encoder_2"]
    text.load_state_dict(averaged(work / "scorer.pt", "text."))
    clip.visual.load_state_dict(averaged(work / "scorer.pt", "eye."))
    scale = averaged(work / "scorer.pt", "scale.")["0"]
    clip.load_state_dict(text_tower(text) | {"logit_scale": scale}, strict=False)
    return clip.eval()
