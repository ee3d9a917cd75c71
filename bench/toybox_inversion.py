"""Can a plain textual inversion learn an identity on toybox? `python -m bench.toybox_inversion`

The simplest one there is: four vectors an encoder and nothing else trained, captions that say scene and framing. It is how
a candidate toybox is judged; the product has a better one.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.oracle import load_oracle
from bench.toybox_pictures import Studio
from models import toybox
from models.toybox import world
from models.toybox.drawing import draw
from models.toybox.recipe.captions import tokenized
from models.toybox.recipe.pixels import to_tensor
from models.toybox.recipe.resumable_training import generator_for
from models.toybox.recipe.text_encoders import ENCODERS, read
from models.toybox.recipe.unet import SIZES, condition

VECTORS = 4
WORD = "<someone>"


class Word:
    """A new word in both encoders: rows added to the tables, of which only these rows are ever moved."""

    def __init__(self, pipeline: Any, start: str) -> None:
        self.names = [WORD, *(f"{WORD[:-1]}{i}>" for i in range(1, VECTORS))]
        self.pairs = [
            (pipeline.tokenizer, pipeline.text_encoder),
            (pipeline.tokenizer_2, pipeline.text_encoder_2),
        ]
        self.rows: list[nn.Parameter] = []
        for tokenizer, encoder in self.pairs:
            tokenizer.add_tokens(self.names)
            encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
            table = encoder.get_input_embeddings().weight.requires_grad_(False)
            known = table[tokenizer(start, add_special_tokens=False).input_ids]
            noise = 0.1 * known.std() * torch.randn(VECTORS, table.shape[1], generator=generator_for(1, 1))
            self.rows.append(nn.Parameter(known.repeat(VECTORS, 1)[:VECTORS] + noise))

    def install(self) -> None:
        """Put the rows into the tables so that gradients flow back to them."""
        for (_, encoder), rows in zip(self.pairs, self.rows, strict=True):
            embedding = encoder.get_input_embeddings()
            old = embedding._parameters["weight"].detach()
            embedding._parameters["weight"] = torch.cat([old[: len(old) - VECTORS], rows])

    def settle(self) -> None:
        for _, encoder in self.pairs:
            embedding = encoder.get_input_embeddings()
            embedding.weight = nn.Parameter(embedding._parameters["weight"].detach(), requires_grad=False)

    def text(self, prompt: str) -> str:
        return prompt.replace(WORD, " ".join(self.names))


def references(identity: world.Critter, count: int, rng: np.random.Generator) -> tuple[list[str], Tensor]:
    """Drawings of one identity in different scenes, with captions that leave its looks to the new word."""
    same = {name: getattr(identity, name) for name in world.IDENTITY}
    critters = [world.random_critter(rng, **same, accessory="none") for _ in range(count)]
    captions = [world.caption(critter, rng, subject=WORD) for critter in critters]
    return captions, to_tensor(np.stack([np.asarray(draw(critter)) for critter in critters]))


def learn(pipeline: Any, identity: world.Critter, steps: int, rate: float, batch: int = 8) -> tuple[Word, list[float]]:
    """Train the word; returns it with its losses."""
    captions, pictures = references(identity, 12, np.random.default_rng(31))
    word = Word(pipeline, f"{identity.colour} {identity.kind}")
    for module in (pipeline.unet, pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2):
        module.requires_grad_(False)
    with torch.no_grad():
        clean_all = pipeline.vae.encode(pictures).latent_dist.mean * pipeline.vae.config.scaling_factor
    encoders = {"text_encoder": pipeline.text_encoder, "text_encoder_2": pipeline.text_encoder_2}
    alphas, losses = pipeline.scheduler.alphas_cumprod, []
    optimiser = torch.optim.AdamW(word.rows, lr=rate, weight_decay=0.0)
    for step in range(steps):
        generator = generator_for(3, step)
        which = torch.randint(len(captions), (batch,), generator=generator)
        texts = [word.text(captions[i]) for i in which.tolist()]
        word.install()
        ids = tuple(tokenized(tokenizer, texts) for tokenizer, _ in word.pairs)
        found = {name: read(encoders, name, each) for name, each in zip(ENCODERS, ids, strict=True)}
        words, pooled = condition(found, torch.zeros(batch, dtype=torch.bool))
        noise = torch.randn(clean_all[which].shape, generator=generator)
        times = ((torch.arange(batch) + torch.rand(batch, generator=generator)) * 1000 / batch).long()
        level = alphas[times][:, None, None, None]
        noisy = level.sqrt() * clean_all[which] + (1 - level).sqrt() * noise
        sizes = {"text_embeds": pooled, "time_ids": torch.tensor([SIZES]).expand(batch, -1)}
        loss = (pipeline.unet(noisy, times, words, added_cond_kwargs=sizes).sample - noise).pow(2).mean()
        loss.backward()
        for group in optimiser.param_groups:
            group["lr"] = rate * (0.5 + 0.5 * np.cos(np.pi * step / steps))
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(loss.detach()))
    word.install()
    word.settle()
    return word, losses


def judge(studio: Studio, word: Word, identity: world.Critter, count: int) -> dict[str, float]:
    """How often new pictures show the identity, and how often they obey the rest of the prompt."""
    rng = np.random.default_rng(32)
    same = {name: getattr(identity, name) for name in world.IDENTITY}
    critters = [world.random_critter(rng, **same) for _ in range(count)]
    prompts = [word.text(world.caption(critter, rng, subject=WORD)) for critter in critters]
    made = studio.make(prompts, first_seed=20_000)
    seen = studio.oracle.name(made)
    wishes = [world.truth(critter) for critter in critters]
    for i, picture in enumerate(made[:16]):
        picture.save(studio.out / f"inversion-{identity.seed}-{i}.png")
    return {
        name: float(np.mean([a.get(name) == w[name] for a, w in zip(seen, wishes, strict=True) if name in w]))
        for name in world.VALUES
        if any(name in w for w in wishes)
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.toybox_inversion", description=__doc__)
    parser.add_argument("--identities", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--pictures", type=int, default=48)
    parser.add_argument("--out", type=Path, default=Path("bench/results/toybox"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(30)
    identities = [world.PIP, *(world.random_critter(rng) for _ in range(options.identities - 1))]
    figures = []
    for identity in identities:
        studio = Studio(toybox.folder(), load_oracle(), options.pictures, options.out)
        start = time.monotonic()
        word, losses = learn(studio.pipeline, identity, options.steps, options.rate)
        row = {"identity": " ".join(world.truth(identity)[n] for n in world.IDENTITY if n in world.truth(identity))}
        row |= {"seconds": round(time.monotonic() - start, 1), "loss": float(np.mean(losses[-50:]))}
        row["agreement"] = judge(studio, word, identity, options.pictures)
        figures.append(row)
        print(json.dumps(row), flush=True)
    (options.out / "inversion.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
