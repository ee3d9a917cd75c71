"""How well does a word learn who somebody is, and when is it enough? `python -m bench.training`

Twenty characters, five drawings of each, starting from the class word alone (`fox`). The oracle judges 8 held-out prompts x
4 seeds: the shares of pictures that show each trait of the character, and the scene and framing that were asked for. Beside
the automatic stop stand fixed numbers of steps, and words of 1, 2, 4 and 8 vectors; and what the class word alone shows.

Everything is kept under --work, so that it can be stopped and goes on. `--part 1/2` and `--part 2/2` share the work between
two processes; without a part, what there is is summed up.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np

from bench import taught
from bench.taught import Character, Studio
from models.inversion import train_token
from models.picture.shot import Ref, Shot
from models.sdxl import embedding
from models.system.files import write_file
from models.toybox import world
from tasks.persona.persona import Persona
from tasks.settings.settings import LoadedSettings, Settings
from tasks.store.picture_files import PictureFiles
from tasks.training import plan as lessons
from tasks.training import previews
from tasks.training.evaluate import PreviewEvaluator
from tasks.training.record import TrainingPlan, TrainingRecord, TrainingStore
from tasks.training.run import PreviewCallbacks, config_of, examples_of, render_missing, train_embedding
from tasks.training.run import mean_embedding as mean_word

FIXED = (200, 500, 1000, 2000)
VECTORS = (1, 2, 4, 8)
USUAL = 8
SEED = 5
PREVIEWS = tuple(previews.DEFAULT_PROMPTS["character"])


def loaded(work: Path, vectors: int, steps: int, stop: str = "auto", **knobs: object) -> LoadedSettings:
    training = {"vectors": vectors, "steps": steps, "stop": stop, **knobs}
    return LoadedSettings(Settings.model_validate({"training": training, "storage": {"studio": str(work)}}), work, {})


def lesson(character: Character, known: LoadedSettings, studio: Studio) -> TrainingPlan:
    """As the product makes it, from drawings in place of a reference set."""
    who = Persona(
        name=character.name,
        token=character.token,
        class_word=character.class_word,
        kind="character",
        subject=f"a {character.class_word}",
    )
    pictures, captions = [], []
    for number, example in enumerate(character.examples()):
        file = known.studio / "drawings" / f"{character.name}-{number}.png"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            example.image.save(file)
        pictures.append(file.relative_to(known.studio).as_posix())
        captions.append(list(example.captions))
    looks = previews.list_previews(who, known.settings.training.preview_seeds)
    return TrainingPlan(
        persona=who.name,
        token=who.token,
        class_word=who.class_word,
        reference_set="drawings",
        pictures=pictures,
        captions=captions,
        origins=["provenance"] * len(pictures),
        model="toybox",
        previews=looks,
        config=lessons.trainer_config(who, known.settings.training, known),
        pace={name: getattr(known.settings.training, name) for name in lessons.PACE_SETTINGS},
        of={
            "model": studio.model.source.ref.hash,
            "references": [f"{character.name} {known.settings.training.vectors}"],
        },
    )


def teach(character: Character, known: LoadedSettings, studio: Studio) -> TrainingRecord:
    plan = lesson(character, known, studio)
    found = TrainingStore(known.studio, character.name).load_or_new(plan)
    if found.is_over:
        return found

    def shots(word: Path | None) -> list[Shot]:
        subject = plan.token if word else world.article(plan.class_word)
        refs = (Ref(str(word), embedding.read_embedding(word, plan.token).hash),) if word else ()
        first = Shot(prompt="x", model=studio.model.source.ref, seed=0, width=128, height=128, **taught.LOOK)
        return [
            first.with_changes(prompt=each.prompt_for(subject), seed=each.seed, embeddings=refs)
            for each in plan.previews
        ]

    baseline = render_missing(studio.model, shots(None), PictureFiles(known.studio))
    judge = PreviewEvaluator(plan, baseline, known)
    return train_embedding(
        plan,
        studio.model,
        PreviewCallbacks(shots, judge.measure_pictures, baseline, judge.word_measurer.scale_ends()),
        known.studio,
    )


def automatic(character: Character, vectors: int, work: Path, studio: Studio) -> dict:
    done = teach(character, loaded(work, vectors, 1000), studio)
    word = embedding.read_embedding(work / done.best_point.word, character.token)
    return {
        "steps": done.step,
        "kept": done.kept,
        "by": done.by,
        "seconds": done.seconds,
        **studio.judge(character, word),
    }


def fixed(character: Character, work: Path, studio: Studio, marks: Sequence[int]) -> Iterator[tuple[int, dict]]:
    """The same training without a stop: it goes on from where the automatic one ended. Words are averaged alike."""
    known = loaded(work, USUAL, max(marks))
    pace = known.settings.training
    auto = teach(character, loaded(work, USUAL, 1000), studio)
    place = TrainingStore(work, character.name).training_folder(auto.lesson.id)
    raw = {int(path.stem.removeprefix("step-")): path for path in (place / "steps").glob("*.safetensors")}
    words = work / "fixed" / character.name
    raw |= {int(path.stem): path for path in words.glob("*.safetensors")}
    needed = {step: [step - back * pace.validate_every for back in range(pace.average)] for step in marks}
    missing = {each for steps in needed.values() for each in steps if each not in raw}
    if missing:
        config = config_of(lesson(character, known, studio))
        state = TrainingStore(work, character.name).read_checkpoint(auto) if min(missing) > auto.step else None
        for record in train_token(studio.model, examples_of(auto.lesson, work), config, state):
            if record.step in missing:
                raw[record.step] = words / f"{record.step}.safetensors"
                embedding.write_embedding(raw[record.step], record.current_embedding, {})
    for step, steps in needed.items():
        yield (
            step,
            studio.judge(
                character, mean_word([embedding.read_embedding(raw[each], character.token) for each in steps])
            ),
        )


def measured(character: Character, work: Path, studio: Studio, marks: Sequence[int], vectors: Sequence[int]) -> dict:
    """Everything about one character; what was done already is read."""
    path = work / "rows" / f"{character.name}.json"
    row = json.loads(path.read_text()) if path.exists() else {"traits": character.traits, "fixed": {}}
    if "class" not in row:
        row |= {"class": studio.judge(character, None), "auto": automatic(character, USUAL, work, studio)}
    if missing := [step for step in marks if str(step) not in row["fixed"]]:
        row["fixed"] |= {str(step): found for step, found in fixed(character, work, studio, missing)}
    for count in vectors:
        if f"vectors {count}" not in row:
            row[f"vectors {count}"] = row["auto"] if count == USUAL else automatic(character, count, work, studio)
    write_file(path, (json.dumps(row, indent=1) + "\n").encode())
    return row


def mean(rows: Sequence[dict], *path: str) -> dict[str, float]:
    """Over the characters that have it: traits right, scene and framing obeyed, steps."""
    found = [each for row in rows if (each := _at(row, path))]
    out = {"characters": len(found)}
    if found:
        out |= {
            "traits": float(np.mean([taught.traits(each) for each in found])),
            "obeyed": float(np.mean([taught.obeyed(each) for each in found])),
        }
        if "steps" in found[0]:
            out |= {name: float(np.mean([each[name] for each in found])) for name in ("steps", "kept", "seconds")}
    return out


def _at(row: dict, path: Sequence[str]) -> dict | None:
    for name in path:
        row = row.get(name) or {}
    return row or None


def summary(rows: Sequence[dict]) -> dict:
    found = {"class word": mean(rows, "class"), "automatic": mean(rows, "auto")}
    found |= {f"{step} steps": mean(rows, "fixed", str(step)) for step in FIXED}
    found |= {f"{count} vectors": mean(rows, f"vectors {count}") for count in VECTORS}
    best = max((f"{step} steps" for step in FIXED), key=lambda name: found[name].get("traits", 0))
    return found | {"best fixed": best}


def table(found: dict) -> Iterator[str]:
    yield f"{'':14} {'traits':>7} {'obeyed':>7} {'steps':>7} {'kept':>6}"
    for name, row in found.items():
        if isinstance(row, dict) and "traits" in row:
            more = f"{row['steps']:7.0f} {row['kept']:6.0f}" if "steps" in row else ""
            yield f"{name:14} {row['traits']:7.1%} {row['obeyed']:7.1%} {more}"
    yield f"the best fixed number is {found['best fixed']}"


def known(work: Path, out: Path) -> None:
    """What there is about all the characters that were begun."""
    files = sorted((work / "rows").glob("*.json"))
    rows = [json.loads(path.read_text()) for path in files]
    newest = max((path.stat().st_mtime for path in files), default=0.0)
    print("\n".join(table(summary(rows))))
    write_file(out, (json.dumps({"summary": summary(rows), "characters": rows}, indent=1) + "\n").encode())
    os.utime(out, (newest, newest))  # the figures are as old as what they sum up


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.training", description=__doc__)
    parser.add_argument("--personas", type=int, default=20)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--vectors", type=int, nargs="*", default=VECTORS)
    parser.add_argument("--part", default="", help="such as 1/2: do this share of the characters, and no summary")
    parser.add_argument("--summary", action="store_true", help="teach nobody anything, sum up what there is")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("bench/work/training"))
    parser.add_argument("--out", type=Path, default=Path("bench/results/training.json"))
    options = parser.parse_args()
    work = options.work.resolve()
    if options.summary:
        known(work, options.out)
        return
    people = taught.characters(options.personas, options.seed)
    if options.part:
        number, _, parts = options.part.partition("/")
        people = people[int(number) - 1 :: int(parts)]
    studio = Studio(work, options.threads)
    rows = []
    for marks, vectors in ((FIXED[:3], ()), (FIXED, ()), (FIXED, options.vectors)):  # first what matters most, for all
        rows = [measured(character, work, studio, marks, vectors) for character in people]
        print("\n".join(table(summary(rows))), flush=True)
    if not options.part:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"summary": summary(rows), "characters": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
