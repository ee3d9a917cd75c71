"""Characters to teach toybox, and the oracle's judgement of what a learned word shows. Shared by the training benchmarks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.oracle import Oracle, load_oracle
from models import embeddings, registry
from models.embeddings import Embedding
from models.files import write
from models.inversion import Example
from models.loading import Options
from models.sdxl import Model
from models.shot import Ref, Shot
from models.toybox import world
from models.toybox.drawing import SIDE, draw

SEEDS = 4
LOOK: dict[str, Any] = {"guidance": 4.0, "steps": 15, "sampler": "dpm++ 2m"}
SEEN = ("forest", "beach", "snow", "desert", "city")
"""Scenes of the references. A held-out prompt is a scene and a framing that no reference has together."""


@dataclass(frozen=True)
class Character:
    """Somebody to teach: five drawings with captions that leave the looks to the word."""

    name: str
    critter: world.Critter
    drawings: Sequence[world.Critter]

    @property
    def token(self) -> str:
        return f"<{self.name}>"

    @property
    def class_word(self) -> str:
        return self.critter.kind

    @property
    def traits(self) -> dict[str, str]:
        seen = world.truth(self.critter)
        return {name: seen[name] for name in world.IDENTITY if name in seen}

    def examples(self) -> list[Example]:
        return [Example(draw(each), prompt(each.framing, self.token, each.scene)) for each in self.drawings]

    def asked(self) -> list[tuple[str, str]]:
        """Scene and framing of each held-out prompt: every scene once, the seen ones from where they were not seen."""
        used = {each.scene: each.framing for each in self.drawings}
        framings = world.FRAMINGS
        return [
            (
                scene,
                framings[(framings.index(used[scene]) + 1 + place % 2) % 3] if scene in used else framings[place % 3],
            )
            for place, scene in enumerate(world.SCENES)
        ]


def characters(count: int, seed: int) -> list[Character]:
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        critter = world.random_critter(rng, accessory="none", marking=world.MARKINGS[1 + number % 3])
        same = {name: getattr(critter, name) for name in world.IDENTITY}
        framings = [world.FRAMINGS[(number + place) % 3] for place in range(len(SEEN))]
        drawings = [
            world.random_critter(rng, **same, accessory="none", scene=scene, framing=framing)
            for scene, framing in zip(SEEN, framings, strict=True)
        ]
        found.append(Character(f"c{seed}-{number:02}", critter, drawings))
    return found


def prompt(framing: str, subject: str, scene: str) -> str:
    return f"{world.FRAMING_PHRASES[framing][0]} {subject} {world.SCENE_PHRASES[scene][0]}"


class Studio:
    """Makes and judges pictures of learned words; what was judged once is read from disk."""

    def __init__(self, work: Path, threads: int = 0) -> None:
        self.work, self.model, self.oracle = work, toybox(threads), load_oracle()

    def judge(self, character: Character, embedding: Embedding | None) -> dict[str, float]:
        """The shares of pictures that show each trait, scene and framing; without a word, those of the class word."""
        name = f"{character.name}-{embedding.hash[:16] if embedding else 'class'}"
        path = self.work / "judged" / f"{name}.json"
        if not path.exists():
            found = shares(self.oracle, self.pictures(character, embedding), character)
            write(path, json.dumps(found, indent=1).encode())
        return json.loads(path.read_text())

    def pictures(self, character: Character, embedding: Embedding | None) -> list[Image.Image]:
        subject, refs = world.article(character.class_word), ()
        if embedding:
            file = self.work / "words" / f"{embedding.hash}.safetensors"
            if not file.exists():
                embeddings.write(file, embedding, {})
            subject, refs = character.token, (Ref(str(file), embedding.hash),)
        shots = [
            Shot(
                prompt=prompt(framing, subject, scene),
                model=self.model.source.ref,
                seed=90_000 + 100 * place + seed,
                width=SIDE,
                height=SIDE,
                embeddings=refs,
                **LOOK,
            )
            for place, (scene, framing) in enumerate(character.asked())
            for seed in range(SEEDS)
        ]
        made = {picture.shot.id: picture.image for picture in self.model.generate(shots)}
        return [made[shot.id] for shot in shots]


def toybox(threads: int = 0) -> Model:
    options = Options(
        device="auto", precision="auto", memory="none", compile="off", batch_size=8, threads=threads, vae=None
    )
    return registry.load(registry.locate("toybox"), options)


def shares(oracle: Oracle, pictures: Sequence[Image.Image], character: Character) -> dict[str, float]:
    seen = oracle.name(pictures)
    asked = [each for each in character.asked() for _ in range(SEEDS)]
    found = {name: _share(seen, [value] * len(seen), name) for name, value in character.traits.items()}
    found |= {name: _share(seen, [pair[at] for pair in asked], name) for at, name in enumerate(("scene", "framing"))}
    return found


def _share(seen: Sequence[Mapping[str, str]], wanted: Sequence[str], name: str) -> float:
    return float(np.mean([each.get(name) == want for each, want in zip(seen, wanted, strict=True)]))


def traits(found: Mapping[str, float]) -> float:
    """The mean over the identity's traits."""
    return float(np.mean([value for name, value in found.items() if name in world.IDENTITY]))


def obeyed(found: Mapping[str, float]) -> float:
    return float(np.mean([found["scene"], found["framing"]]))
