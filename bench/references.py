"""Does the filter find one character among many? `python -m bench.references`

Personas whose prompts leave one identity trait open, so that the candidates are several characters; only those of whose
candidates at most half agree are counted. The oracle says who is who: a set agrees where all its pictures show the same kind,
colour, belly, eyes and marking. Beside the filter: as many pictures at random, and the ones most like their prompt. Characters
are compared by the scoring CLIP, as the settings that ship say, and by the identity scorer that ships with toybox.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np

from bench.oracle import Oracle, load_oracle
from flows.references import ReferencesResult, make_references
from models.picture.reading import convert_to_rgb, open_picture
from models.system.errors import UserError
from models.toybox import world
from tasks.references.reference_set import ReferenceCandidate, ReferenceSet, ReferenceSetStore, Verdict
from tasks.settings.settings import LoadedSettings, load_settings

SEED = 9
SETTINGS = '[models]\nname = "toybox"\n[rendering]\nguidance = {guidance}\n[storage]\nstudio = "studio"\n{more}'
PERSONA = """
name = "{name}"
token = "<{name}>"
class_word = "{kind}"
kind = "character"
subject = "{subject}"
[references]
seed = {seed}
prompt = "{{framing}} {{subject}} {{background}}"
[references.matrix]
framing = ["a close-up of", "a portrait of", "a full body picture of"]
background = ["in the forest", "on the beach", "in the snow", "in the desert", "in the city", "in a meadow"]
"""
OPEN = ("belly", "eyes", "marking")
SPREAD_EVENLY = ("belly", "eyes")
"""The traits that seeds vary most, for the personas after the first twenty: sets of one character prove nothing."""


def characters(count: int, seed: int = SEED) -> list[tuple[world.Critter, str]]:
    """Who to look for, and which trait the prompt leaves open."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        critter = world.random_critter(rng, accessory="none")
        while critter.marking == "none":
            critter = world.random_critter(rng, accessory="none")
        kinds = OPEN if number < 20 else SPREAD_EVENLY
        found.append((critter, kinds[number % len(kinds)]))
    return found


def subject(critter: world.Critter, left_open: str) -> str:
    """All that is said of the character: everything but one trait."""
    phrases = {
        "belly": world.BELLY_PHRASES[0].format(critter.belly),
        "eyes": world.EYE_PHRASES[critter.eyes],
        "marking": world.MARKING_PHRASES[critter.marking].format(critter.marking_colour),
    }
    said = [phrase for name, phrase in phrases.items() if name != left_open]
    return f"{world.article(f'{critter.colour} {critter.kind}')} {said[0]} and {said[1].removeprefix('with ')}"


def project(folder: Path, count: int, guidance: float, more: str, seed: int = SEED) -> LoadedSettings:
    (folder / "prompts").mkdir(parents=True, exist_ok=True)
    (folder / "settings.toml").write_text(SETTINGS.format(guidance=guidance, more=more))
    for number, (critter, left_open) in enumerate(characters(count, seed)):
        text = PERSONA.format(
            name=f"p{number:02}", kind=critter.kind, subject=subject(critter, left_open), seed=250 * seed + number
        )
        (folder / "prompts" / f"p{number:02}.toml").write_text(text)
    return load_settings(folder / "settings.toml")


def who(seen: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(seen.get(name, "-") for name in world.IDENTITY)


def agree(identities: Sequence[tuple[str, ...]]) -> bool:
    return len(set(identities)) == 1


def share(identities: Sequence[tuple[str, ...]]) -> float:
    """How many belong to the commonest character."""
    return Counter(identities).most_common(1)[0][1] / len(identities)


def by_trait(identities: Sequence[tuple[str, ...]]) -> float:
    """The mean over traits of how many agree with the commonest value."""
    return float(
        np.mean([Counter(values).most_common(1)[0][1] / len(identities) for values in zip(*identities, strict=True)])
    )


def chosen_of(loaded: LoadedSettings, name: str) -> tuple[ReferenceSet, bool]:
    """The set, and whether it was usable."""
    try:
        outcome: ReferencesResult = make_references(name, loaded)
        return outcome.reference_set, True
    except UserError:
        shelf = ReferenceSetStore(loaded.studio, name)
        newest = max(shelf.folder.glob("*/set.json"), key=lambda path: path.stat().st_mtime)
        return shelf.load_set(newest.parent.name), False


class Witness:
    """The oracle, asked once about a picture."""

    def __init__(self, oracle: Oracle, studio: Path) -> None:
        self.oracle, self.studio = oracle, studio
        self.known: dict[str, tuple[str, ...]] = {}

    def who(self, candidates: Sequence[ReferenceCandidate]) -> dict[str, tuple[str, ...]]:
        new = [each for each in candidates if each.id not in self.known]
        answers = (
            self.oracle.name([convert_to_rgb(open_picture(self.studio / each.path)) for each in new]) if new else []
        )
        self.known |= {each.id: who(answer) for each, answer in zip(new, answers, strict=True)}
        return {each.id: self.known[each.id] for each in candidates}


def measure(loaded: LoadedSettings, witness: Witness, name: str, left_open: str, random_sets: int = 200) -> dict:
    made, usable = chosen_of(loaded, name)
    verdicts = list(made.choice.verdicts)
    seen = witness.who([verdict.candidate for verdict in verdicts])
    everyone = [seen[verdict.candidate.id] for verdict in verdicts]
    keep = loaded.settings.references.keep

    def prompt(verdict: Verdict) -> float:
        return verdict.scores.get("prompt", -1.0)

    rng = np.random.default_rng(1)
    draws = [[everyone[i] for i in rng.choice(len(everyone), keep, replace=False)] for _ in range(random_sets)]
    best = [seen[verdict.candidate.id] for verdict in sorted(verdicts, key=prompt, reverse=True)[:keep]]
    chosen = [seen[each] for each in made.choice.order]
    return {
        "persona": name,
        "open": left_open,
        "usable": usable,
        "pool": share(everyone),
        "pool_by_trait": by_trait(everyone),
        "chosen": agree(chosen) if chosen else False,
        "chosen_by_trait": by_trait(chosen) if chosen else 0.0,
        "random": float(np.mean([agree(draw) for draw in draws])),
        "random_by_trait": float(np.mean([by_trait(draw) for draw in draws])),
        "prompt": agree(best),
        "prompt_by_trait": by_trait(best),
    }


def summary(rows: Sequence[dict]) -> dict:
    """Over the personas whose candidates agree in at most half."""
    mixed = [row for row in rows if row["pool"] <= 0.5]
    names = (
        "chosen",
        "random",
        "prompt",
        "chosen_by_trait",
        "random_by_trait",
        "prompt_by_trait",
        "pool",
        "pool_by_trait",
    )
    found: dict = {name: float(np.mean([row[name] for row in mixed])) if mixed else 0.0 for name in names}
    return found | {"personas": len(mixed), "of": len(rows), "usable": sum(row["usable"] for row in mixed)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.references", description=__doc__)
    parser.add_argument("--personas", type=int, default=40)
    parser.add_argument("--seed", type=int, default=SEED, help="of the characters; another one to try things out on")
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument(
        "--candidates",
        type=int,
        nargs="*",
        default=[96, 48],
        help="of each persona; of several numbers the first is summed up",
    )
    parser.add_argument(
        "--set", action="append", default=[], help="a line of [references], such as 'identity = \"core\"'"
    )
    parser.add_argument("--scorers", nargs="*", default=["", "toybox"], help="each as references.identity_scorer")
    parser.add_argument("--work", type=Path, default=Path("bench/work/references"))
    parser.add_argument("--out", type=Path, default=Path("bench/results/references.json"))
    options = parser.parse_args()
    found: dict = {"by candidates": []}
    work, witness = options.work.resolve(), None
    for scorer, count in product(options.scorers, options.candidates):
        more = "\n".join(
            ["[references]", f"candidates = {count}", f'identity_scorer = "{scorer}"', *options.set],
        )
        loaded = project(work, options.personas, options.guidance, more, options.seed)
        witness, rows = witness or Witness(load_oracle(), loaded.studio), []
        for number, (_, left_open) in enumerate(characters(options.personas, options.seed)):
            rows.append(measure(loaded, witness, f"p{number:02}", left_open))
            print(json.dumps(rows[-1]), flush=True)
        found["by candidates"].append(summary(rows) | {"candidates": count, "scorer": scorer})
        print(json.dumps(found["by candidates"][-1], indent=1), flush=True)
        found.setdefault("personas", rows)
    found["summary"] = found["by candidates"][0]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
