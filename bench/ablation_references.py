"""Do words from chosen references hold on to one character better than from random ones? `python -m bench.ablation_references`

Personas of bench.references whose candidates are several characters. One word learns from the filter's set, another from as many
candidates at random, for the same number of steps. The oracle says how well the pictures of each word agree on who it is.

Everything is kept under --work, so that it can be stopped and goes on.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np

from bench import references, taught
from bench.taught import Studio
from models.inversion import Config, Example, train
from models.picture.reading import open_picture, rgb
from models.picture.shot import Ref, Shot
from models.sdxl import embedding
from models.sdxl.embedding import Embedding
from models.system.files import write
from models.toybox import world
from tasks.references.reference_set import Verdict
from tasks.settings.settings import Loaded
from tasks.training.run import mean

TOKEN = "<somebody>"
SEEDS = 2
MIXED = 0.5
"""At most this share of the candidates is the commonest character."""


def learned(verdicts: Sequence[Verdict], kind: str, loaded: Loaded, steps: int, studio: Studio) -> Embedding:
    """The mean of the last three words, a fiftieth step apart. Captions say all but who it is."""
    examples = [
        Example(
            loaded.studio / each.candidate.path,
            f"{each.candidate.cell['framing']} {TOKEN} {each.candidate.cell['background']}",
        )
        for each in verdicts
    ]
    config = Config(token=TOKEN, init=kind, steps=steps)
    wanted = [steps - 50 * back for back in range(3)]
    return mean([record.embedding for record in train(studio.model, examples, config) if record.step in wanted])


def pictures(word: Embedding, studio: Studio, token: str = TOKEN) -> list[Any]:
    file = studio.work / "words" / f"{word.hash}.safetensors"
    embedding.write(file, word, {})
    refs = (Ref(str(file), word.hash),)
    look: dict[str, Any] = {"width": 128, "height": 128, "embeddings": refs, **taught.LOOK}
    shots = [
        Shot(
            prompt=taught.prompt(world.FRAMINGS[place % 3], token, scene),
            model=studio.model.source.ref,
            seed=97_000 + 100 * place + seed,
            **look,
        )
        for place, scene in enumerate(world.SCENES)
        for seed in range(SEEDS)
    ]
    made = {picture.shot.id: picture.image for picture in studio.model.generate(shots)}
    return [made[shot.id] for shot in shots]


def measured(loaded: Loaded, name: str, kind: str, steps: int, studio: Studio) -> dict[str, Any] | None:
    """Both words of a persona; nothing where its candidates are mostly one character already."""
    path = studio.work / "rows" / f"{name}-{steps}.json"
    if path.exists():
        return json.loads(path.read_text())
    made, _ = references.chosen_of(loaded, name)
    verdicts = {each.candidate.id: each for each in made.choice.verdicts}
    seen = studio.oracle.name([rgb(open_picture(loaded.studio / each.candidate.path)) for each in verdicts.values()])
    row: dict[str, Any] = {"persona": name, "pool": references.share([references.who(each) for each in seen])}
    chosen = [verdicts[each] for each in made.choice.order]
    if row["pool"] > MIXED or not chosen:
        return None
    rng = np.random.default_rng(int(name.removeprefix("p")))
    drawn = rng.choice(len(verdicts), len(chosen), replace=False)
    sets = {"chosen": chosen, "random": [list(verdicts.values())[at] for at in drawn]}
    for way, examples in sets.items():
        word = learned(examples, kind, loaded, steps, studio)
        people = [references.who(each) for each in studio.oracle.name(pictures(word, studio))]
        row[way] = {"share": references.share(people), "by trait": references.by_trait(people)}
    write(path, (json.dumps(row, indent=1) + "\n").encode())
    return row


def rows(loaded: Loaded, wanted: int, everyone: int, steps: int, studio: Studio) -> Iterator[dict[str, Any]]:
    found = 0
    for number, (critter, _) in enumerate(references.characters(everyone)):
        if found < wanted and (row := measured(loaded, f"p{number:02}", critter.kind, steps, studio)):
            found += 1
            yield row


def summary(found: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    return {
        way: {name: float(np.mean([row[way][name] for row in found])) for name in ("share", "by trait")}
        | {"personas": len(found)}
        for way in ("chosen", "random")
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.ablation_references", description=__doc__)
    parser.add_argument("--personas", type=int, default=3)
    parser.add_argument("--of", type=int, default=40, help="personas to look among")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--candidates", type=Path, default=Path("bench/work/references"))
    parser.add_argument("--work", type=Path, default=Path("bench/work/ablation_references"))
    parser.add_argument("--out", type=Path, default=Path("bench/results/ablation_references.json"))
    asked = parser.parse_args()
    loaded = references.project(asked.candidates.resolve(), asked.of, asked.guidance, "")
    found = []
    for row in rows(loaded, asked.personas, asked.of, asked.steps, Studio(asked.work.resolve(), asked.threads)):
        found.append(row)
        print(json.dumps(row), flush=True)
        whole = {"steps": asked.steps, "summary": summary(found), "personas": found}
        write(asked.out, (json.dumps(whole, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
