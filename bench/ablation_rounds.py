"""Do further rounds hold on to one character better? `python -m bench.ablation_rounds`

Personas of bench.references whose candidates are several characters, learned as `restage train --rounds 3` does: references,
word, references made with that word, and so on. The oracle says how well the pictures of each round's word agree on who it is.

Everything is kept under --candidates, so that it can be stopped and goes on.
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

from bench import references
from bench.ablation_references import MIXED, pictures
from bench.taught import Studio
from flows.references import references as make
from flows.train import train
from models.picture.reading import open_picture, rgb
from models.sdxl import embedding
from models.system.files import write
from tasks.persona import persona
from tasks.settings.settings import Loaded
from tasks.training.record import Training

ROUNDS = 3


def learned(loaded: Loaded, name: str) -> Iterator[Training]:
    """The training of each round, from the references that are there."""
    for number in range(1, ROUNDS + 1):
        training = train(name, loaded, rounds=1).training
        yield training
        if number < ROUNDS:
            make(name, loaded, word=loaded.studio / training.best.word, round=number + 1)


def measured(loaded: Loaded, name: str, studio: Studio) -> dict[str, Any] | None:
    """What the word of each round shows; nothing where the candidates are mostly one character already."""
    path = studio.work / "rows" / f"{name}-rounds.json"
    if path.exists():
        return json.loads(path.read_text())
    made, usable = references.chosen_of(loaded, name)
    shown = [rgb(open_picture(loaded.studio / each.candidate.path)) for each in made.choice.verdicts]
    row: dict[str, Any] = {
        "persona": name,
        "pool": references.share(list(map(references.who, studio.oracle.name(shown)))),
    }
    if row["pool"] > MIXED or not usable:
        return None
    token = persona.find(name, loaded.folder).token
    for training in learned(loaded, name):
        word = embedding.read(loaded.studio / training.best.word, token)
        people = [references.who(each) for each in studio.oracle.name(pictures(word, studio, token))]
        found = {"share": references.share(people), "by trait": references.by_trait(people), "steps": training.step}
        row[f"round {training.lesson.round}"] = found
    write(path, (json.dumps(row, indent=1) + "\n").encode())
    return row


def summary(found: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    return {
        way: {name: float(np.mean([row[way][name] for row in found])) for name in ("share", "by trait", "steps")}
        | {"personas": len(found)}
        for way in (f"round {number}" for number in range(1, ROUNDS + 1))
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.ablation_rounds", description=__doc__)
    parser.add_argument("--personas", type=int, default=8)
    parser.add_argument("--of", type=int, default=40, help="personas to look among")
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--candidates", type=Path, default=Path("bench/work/references"))
    parser.add_argument("--work", type=Path, default=Path("bench/work/ablation_rounds"))
    parser.add_argument("--out", type=Path, default=Path("bench/results/ablation_rounds.json"))
    asked = parser.parse_args()
    loaded = references.project(asked.candidates.resolve(), asked.of, asked.guidance, "")
    studio, found = Studio(asked.work.resolve(), asked.threads), []
    for number in range(asked.of):
        if len(found) < asked.personas and (row := measured(loaded, f"p{number:02}", studio)):
            found.append(row)
            print(json.dumps(row), flush=True)
            whole = {"summary": summary(found), "personas": found}
            write(asked.out, (json.dumps(whole, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
