"""The text encoders' first lessons: to read a caption for everything it says.

Contrast with pictures teaches text first what tells most pictures apart (scene, framing) and only very late a pair of sleepy
eyes. So both encoders first learn from text alone to answer for every attribute and trait,
from the pooled text and from the layer that the UNet reads. Text that can be asked for a gold belly has room for a gold belly,
which is what a prompt, a scoring CLIP and a textual inversion need. The heads that answer go on as a second opinion beside the
UNet's lessons and are thrown away at the end.
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
from models.toybox.recipe.clip import new_encoders
from models.toybox.recipe.numbers import Recipe
from models.toybox.recipe.resumable_training import Losses, Training, averaged

ENCODERS = ("text_encoder", "text_encoder_2")


def labels(critters: list[world.Critter]) -> dict[str, Tensor]:
    """The right answers; -100 where there is nothing to see, which cross entropy leaves out."""
    truths = [world.truth(critter) for critter in critters]
    return {
        name: torch.tensor([values.index(truth[name]) if name in truth else -100 for truth in truths])
        for name, values in world.VALUES.items()
    }


def answers_loss(heads: nn.ModuleDict, seen: Tensor, right: dict[str, Tensor]) -> Tensor:
    """Mean cross entropy over all attributes."""
    each = [F.cross_entropy(head(seen).float(), right[name].to(seen.device)) for name, head in heads.items()]
    return torch.stack([loss for loss in each if loss.isfinite()]).mean()


def new_heads(width: int) -> nn.ModuleDict:
    return nn.ModuleDict({name: nn.Linear(width, len(values)) for name, values in world.VALUES.items()})


def new_readers(recipe: Recipe) -> nn.ModuleDict:
    """For each encoder, heads on what the UNet reads (`words`) and on the pooled text (`pooled`)."""
    first, second = recipe.encoder_widths
    pooled = {"text_encoder": first, "text_encoder_2": recipe.clip_embedding}
    words = {"text_encoder": first, "text_encoder_2": second}
    return nn.ModuleDict(
        {
            f"{kind}_{name}": new_heads(widths[name])
            for kind, widths in (("words", words), ("pooled", pooled))
            for name in ENCODERS
        }
    )


def read(modules: nn.ModuleDict, name: str, ids: Tensor) -> dict[str, Tensor]:
    """One encoder's words [n, positions, width], the same at the text's end [n, width], and its pooled text."""
    seen = modules[name](ids, output_hidden_states=True)
    words = seen.hidden_states[-2]
    ends = (ids == modules[name].config.eos_token_id).int().argmax(1)
    end = words[torch.arange(len(ids), device=ids.device), ends]
    return {"all": words, "words": end, "pooled": seen.pooler_output if name == ENCODERS[0] else seen.text_embeds}


def reading_loss(readers: nn.ModuleDict, found: dict[str, dict[str, Tensor]], right: dict[str, Tensor]) -> Tensor:
    """How wrong the heads are about the captions, averaged over both encoders and both places."""
    each = [
        answers_loss(readers[f"{kind}_{name}"], found[name][kind], right)
        for name in ENCODERS
        for kind in ("words", "pooled")
    ]
    return torch.stack(each).mean()


def train_words(
    recipe: Recipe,
    tokenizers: tuple[CLIPTokenizer, CLIPTokenizer],
    work: Path,
    device: torch.device,
    minutes: float | None = None,
) -> Iterator[dict[str, float]]:
    torch.manual_seed(recipe.seed + 1)
    modules = nn.ModuleDict({**new_encoders(recipe, tokenizers), **new_readers(recipe)}).train()
    training = Training(modules, recipe.words, work / "words.pt", recipe.seed + 1, device, minutes=minutes)

    def loss_of(generator: torch.Generator, _: float) -> Losses:
        drawn = seeds(generator, recipe.words.batch // 2)
        critters = [world.random_critter(np.random.default_rng([s, 2])) for s in drawn]
        critters += [
            changed(critter, np.random.default_rng([s, 1])) for critter, s in zip(critters, drawn, strict=True)
        ]
        texts = [caption_of(critter, s) for critter, s in zip(critters, drawn * 2, strict=True)]
        ids = tokenized(tokenizers[0], texts, short=True).to(device)
        found = {name: read(modules, name, ids) for name in ENCODERS}
        return {"loss": reading_loss(modules, found, labels(critters))}

    yield from training.run(loss_of)


def load_words_stage(
    recipe: Recipe, tokenizers: tuple[CLIPTokenizer, CLIPTokenizer], work: Path
) -> tuple[nn.ModuleDict, nn.ModuleDict]:
    """The averaged text encoders and their readers as far as they have been trained."""
    encoders, readers = new_encoders(recipe, tokenizers), new_readers(recipe)
    for name, module in {**encoders, **readers}.items():
        module.load_state_dict(averaged(work / "words.pt", f"{name}."))
        module.eval()
    return encoders, readers
