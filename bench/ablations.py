"""What does each default of the training bring? `python -m bench.ablations`

Toybox, a few characters, five drawings of each, the same number of steps; each way changes one default. The oracle judges the
held-out prompts of bench.training, and beside them prompts that ask for something to wear after the word, which is what the
pooled vector loses where it is taken at the word itself.

Everything is kept under --work, so that it can be stopped and goes on; what there is is summed up at any time.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import torch

from bench import taught
from bench.taught import Character, Studio
from models.inversion import Config, Example, train
from models.picture.shot import Ref, Shot
from models.sdxl import embedding
from models.sdxl.embedding import Embedding
from models.sdxl.renderer import Model
from models.system.files import write
from models.toybox import world
from tasks.training.captions import OF_A_SUBJECT
from tasks.training.run import mean

SEED = 5
MARKS = 3
"""Words of the last so many fiftieth steps are averaged, as the product does."""


@contextmanager
def pooled_at_the_word(model: Model) -> Iterator[None]:
    """The pooled vector is taken at the word's last place, as where added words have the highest ids of a prompt."""
    encoder = model.encoders[-1]
    stand_in = next(n for n in range(3) if n not in (encoder.tokenizer.bos_token_id, encoder.tokenizer.eos_token_id))

    def move(module: Any, args: Any, given: Any, output: Any) -> Any:
        ids = args[0] if args else given["input_ids"]
        last = output.last_hidden_state.clone()
        for row, each in enumerate(ids.tolist()):
            end = each.index(encoder.tokenizer.eos_token_id)
            places = [at for at in range(end) if each[at] == stand_in]
            if places:
                last[row, end] = output.last_hidden_state[row, places[-1]]
        output.last_hidden_state = last
        return output

    handle = encoder.model.register_forward_hook(move, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@dataclass(frozen=True)
class Way:
    """The training as it comes, or with one thing changed."""

    knobs: dict[str, Any] = field(default_factory=dict)
    around: Callable[[Model], AbstractContextManager[None]] = lambda model: nullcontext()
    captions: Callable[[str], Sequence[str]] | None = None
    """Of every picture, for the token, in place of what its drawing shows."""


WAYS = {
    "as it comes": Way(),
    "pooled at the word": Way(around=pooled_at_the_word),
    "norms left free": Way({"norms": None}),
    "without min-SNR": Way({"min_snr": 0.0}),
    "captions that name nothing": Way(captions=lambda token: [each.format(token) for each in OF_A_SUBJECT]),
    "4 vectors": Way({"vectors": 4}),
    "1 vector": Way({"vectors": 1}),
}


def learned(character: Character, way: Way, steps: int, model: Model) -> Embedding:
    """The mean of the last words, a fiftieth step apart."""
    config = Config(token=character.token, init=character.class_word, steps=steps, **way.knobs)
    wanted = [steps - 50 * back for back in range(MARKS)]
    examples = character.examples()
    if way.captions:
        examples = [Example(each.image, way.captions(character.token)) for each in examples]
    return mean([record.embedding for record in train(model, examples, config) if record.step in wanted])


def worn(character: Character, word: Embedding, studio: Studio) -> float:
    """The share of pictures that show what the prompt says the character wears."""
    file = studio.work / "words" / f"{word.hash}.safetensors"
    asked = [(thing, scene) for thing in world.ACCESSORIES[1:] for scene in ("forest", "snow", "meadow")]
    look = {"width": 128, "height": 128, "embeddings": (Ref(str(file), word.hash),), **taught.LOOK}
    shots = [
        Shot(prompt=_wearing(character, thing, scene), model=studio.model.source.ref, seed=95_000 + number, **look)
        for number, (thing, scene) in enumerate(asked)
    ]
    made = {picture.shot.id: picture.image for picture in studio.model.generate(shots)}
    seen = studio.oracle.name([made[shot.id] for shot in shots])
    return float(np.mean([each["accessory"] == thing for each, (thing, _) in zip(seen, asked, strict=True)]))


def _wearing(character: Character, thing: str, scene: str) -> str:
    named = "red glasses" if thing == "glasses" else f"a red {thing}"
    return f"a portrait of {character.token} wearing {named} {world.SCENE_PHRASES[scene][0]}"


def longest(word: Embedding, model: Model) -> float:
    """In lengths of the vocabulary's longest word, over both encoders."""
    tables = [encoder.model.get_input_embeddings().weight.detach().float() for encoder in model.encoders]
    pairs = zip(word.vectors, tables, strict=True)
    return max(float(own.norm(dim=1).max() / table.norm(dim=1).max()) for own, table in pairs)


def measured(character: Character, name: str, steps: int, studio: Studio) -> dict[str, float]:
    """One character one way; what was done already is read."""
    path = studio.work / "rows" / f"{character.name}-{name.replace(' ', '-')}-{steps}.json"
    if not path.exists():
        way = WAYS[name]
        with way.around(studio.model):
            word = learned(character, way, steps, studio.model)
            studio.model._prompts.clear()  # encoded otherwise, perhaps
            embedding.write(studio.work / "words" / f"{word.hash}.safetensors", word, {})
            found = studio.judge(character, word)
            row = {"traits": taught.traits(found), "obeyed": taught.obeyed(found)}
            row |= {"accessory": worn(character, word, studio), "longest": longest(word, studio.model)}
        studio.model._prompts.clear()
        write(path, (json.dumps(row, indent=1) + "\n").encode())
    return json.loads(path.read_text())


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Means over the characters for whom every way is known, so that rows can be compared.

    `less` is how much less of the traits than as it comes, over the same characters, and `error` that mean's standard error.
    """
    by_way: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_way.setdefault(row["way"], []).append(row)
    whole = set.intersection(*({row["character"] for row in found} for found in by_way.values())) if by_way else set()
    found: dict[str, dict[str, float]] = {}
    usual = {row["character"]: row["traits"] for row in by_way.get("as it comes", [])}
    for way, each in by_way.items():
        known = [row for row in each if row["character"] in whole]
        if known:
            names = ("traits", "obeyed", "accessory", "longest")
            found[way] = {name: float(np.mean([row[name] for row in known])) for name in names} | {
                "characters": len(known)
            }
            less = [usual[row["character"]] - row["traits"] for row in known if row["character"] in usual]
            if len(less) > 1 and way != "as it comes":
                found[way] |= {"less": float(np.mean(less)), "error": float(np.std(less, ddof=1) / len(less) ** 0.5)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.ablations", description=__doc__)
    parser.add_argument("--personas", type=int, default=12)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("bench/work/ablations"))
    parser.add_argument("--out", type=Path, default=Path("bench/results/ablations.json"))
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    studio, rows = Studio(asked.work.resolve(), asked.threads), []
    for character in taught.characters(20, SEED)[: asked.personas]:
        for name in asked.ways:
            rows.append({"character": character.name, "way": name} | measured(character, name, asked.steps, studio))
            print(json.dumps(rows[-1]), flush=True)
            found = {"steps": asked.steps, "summary": summary(rows), "characters": rows}
            write(asked.out, (json.dumps(found, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
