"""Train: the word of a persona, learned from its references, looked at on the way, registered, reported.

`train` is the whole way, the same for the command and for Prefect (`flow()`); what follows it are its steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import references
from models.sdxl import renderer
from models.system import file_lock, processes
from models.system.errors import UserError
from tasks import step
from tasks.persona import persona as personas
from tasks.persona.persona import Persona
from tasks.pictures import generate
from tasks.references.reference_set import ReferenceSet, Shelf, enough_rounds
from tasks.settings.settings import Loaded
from tasks.store.picture_files import Artifacts
from tasks.training import captions, plan, previews, register, report
from tasks.training.evaluate import Judge
from tasks.training.record import Desk, Lesson, Training
from tasks.training.run import Eyes, learn, made

if TYPE_CHECKING:
    from prefect import Flow

    from models.picture.shot import Shot


@dataclass(frozen=True)
class Outcome:
    """The training that is done, and the page about it."""

    training: Training
    page: Path


def train(persona: str, loaded: Loaded, use: bool = False, rounds: int = 0) -> Outcome:
    """Teach the model the persona's word. The version becomes the current one if it is better or equal, or with `use`.

    With several rounds, references are made again with what was learned, and learned from again, until that brings nothing.
    """
    processes.join()
    who = personas.find(persona, loaded.folder)
    chosen = set_of(who, loaded)
    knobs = loaded.settings.references.model_copy(update={"rounds": rounds or loaded.settings.references.rounds})
    if knobs.rounds > 1 and processes.count() > 1:
        raise UserError("several processes learn one round together: leave --rounds and references.rounds at 1")
    distances = [chosen.choice.figures.get("distance", 0.0)]
    while True:
        plan = prepare(who, chosen, loaded)
        learned = invert(plan, who, loaded)
        if not processes.leads():
            raise SystemExit(0)  # the leading process does the rest
        done = register_best(learned, who, loaded, use)
        page = tell(done, loaded)
        if enough_rounds(distances, knobs) or not done.current:  # a worse word makes worse references
            return Outcome(done, page)
        word = loaded.studio / done.best.word
        chosen = references.references(who.name, loaded, word=word, round=len(distances) + 1).made
        distances.append(chosen.choice.figures.get("distance", 0.0))


def set_of(who: Persona, loaded: Loaded) -> ReferenceSet:
    """The references that are there."""
    found = Shelf(loaded.studio, who.name).current()
    if found is None:
        raise UserError(f"{who.name} has no references yet: run restage references {who.name} first")
    if found.token != who.token:
        raise UserError(
            f"the references of {who.name} were chosen for {found.token}, and its file now says {who.token}: run restage"
            f" references {who.name} again"
        )
    return found


@step.step("prepare", retries=1)
def prepare(who: Persona, chosen: ReferenceSet, loaded: Loaded) -> Lesson:
    """Captions, previews and every knob, as one record that names the training."""
    knobs = loaded.settings.training
    candidates = [verdict.candidate for verdict in chosen.choice.chosen]
    kind, colon, place = knobs.captioner.partition(":")
    captioning = captions.Captioning(knobs.captions, f"{kind}{colon}{loaded.place(place)}")
    called = captions.captions(candidates, who, captioning, loaded.studio, loaded.settings.models.device)
    source = generate.machine(loaded, who.model).source
    looks = previews.previews(who, knobs.preview_seeds)
    look = previews.preview_shots(who, looks, who.class_word, None, loaded)[0].as_dict()
    for name in ("prompt", "seed", "model", "embeddings"):
        look.pop(name)
    return plan.lesson(chosen, who, called, looks, source, look, loaded)


@step.step("train", retries=1, gpu=True)
def invert(plan: Lesson, who: Persona, loaded: Loaded) -> Training:
    """Learn, saved as it goes; a training that was stopped goes on, one that is over is left alone."""
    known = Desk(loaded.studio, who.name).get(plan)
    if known.over:
        return known
    machine = generate.machine(loaded, who.model)
    if not processes.leads():  # it computes its share and looks at nothing
        return learn(plan, renderer.load(machine.source, machine.options), None, loaded.studio)
    with _alone(plan, loaded):
        return _taught(plan, who, machine, loaded)


@contextmanager
def _alone(plan: Lesson, loaded: Loaded) -> Iterator[None]:
    """Two that learn the same would each undo what the other wrote down."""
    place = Desk(loaded.studio, plan.persona).place(plan.id)
    try:
        with file_lock.hold(place / ".lock", {"persona": plan.persona}):
            yield
    except file_lock.HeldError as held:
        raise UserError(
            f"{plan.persona} is being trained already, by process {held.said.get('pid', 'unknown')}: wait for it, or stop"
            " it and run this again, which goes on from its last checkpoint"
        ) from None


def _taught(plan: Lesson, who: Persona, machine: generate.Machine, loaded: Loaded) -> Training:
    artifacts, model = Artifacts(loaded.studio), renderer.load(machine.source, machine.options)
    baseline = made(model, previews.preview_shots(who, plan.previews, who.class_word, None, loaded), artifacts)
    judge = Judge(plan, baseline, loaded)

    def shots(word: Path | None) -> list[Shot]:
        return previews.preview_shots(who, plan.previews, who.token, word, loaded)

    return learn(plan, model, Eyes(shots, judge.measure, baseline, judge.yardstick.ends()), loaded.studio)


@step.step("register")
def register_best(training: Training, who: Persona, loaded: Loaded, use: bool) -> Training:
    """Give the kept word a version; it becomes the current one where it is no worse than that."""
    if training.version is not None and not use:
        return training
    return register.register(training, loaded, use, lambda word: again(training.lesson, who, word, loaded))


def again(plan: Lesson, who: Persona, word: Path, loaded: Loaded) -> float:
    """The score of another version in the previews of this training."""
    machine, artifacts = generate.machine(loaded, who.model), Artifacts(loaded.studio)
    shots = [
        previews.preview_shots(who, plan.previews, subject, file, loaded)
        for subject, file in ((who.class_word, None), (who.token, word))
    ]
    generate.generate([shot for each in shots for shot in each], machine, artifacts, "previews of the current version")
    baseline, pictures = ([artifacts.name(shot.id) for shot in each] for each in shots)
    return Judge(plan, baseline, loaded).measure(pictures).score


@step.step("report")
def tell(training: Training, loaded: Loaded) -> Path:
    """Write the page and the grid; in Prefect, show them there too."""
    page = report.report(training, loaded.studio)
    if step.in_flow_run():
        text = report.markdown(training, page.with_name("grid.png"))
        step.show(f"training-{training.lesson.persona}", text, f"Training of {training.lesson.token}")
    return page


def flow() -> Flow[..., Any]:
    """The same as a Prefect flow, for deployments."""
    from prefect import flow as prefect_flow

    def run(persona: str, use: bool = False, rounds: int = 0, settings: str = "") -> str:
        """Teach the model the word of a persona.

        Args:
            persona: The name of a file in prompts/, without .toml.
            use: Make the version the current one even where it is worse.
            rounds: How often references are made and learned from, each time with what was learned; 0: settings.toml's.
            settings: The settings file; empty takes settings.toml of the folder the worker runs in.
        """
        from tasks.settings.settings import load

        return str(train(persona, load(Path(settings) if settings else None), use, rounds).page)

    return prefect_flow(name="train", flow_run_name="training of {persona}", persist_result=False)(run)
