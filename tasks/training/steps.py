"""Steps of the train flow: plan the training, learn the word, register the best embedding, and report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from models.sdxl import renderer
from models.system import file_lock, processes
from models.system.errors import UserError
from tasks import step
from tasks.persona.persona import Persona
from tasks.pictures import generate
from tasks.references.reference_set import ReferenceSet, ReferenceSetStore
from tasks.settings.settings import LoadedSettings
from tasks.store.picture_files import PictureFiles
from tasks.training import captions, plan, previews, register, report
from tasks.training.evaluate import PreviewEvaluator
from tasks.training.record import TrainingPlan, TrainingRecord, TrainingStore
from tasks.training.run import PreviewCallbacks, render_missing, train_embedding

if TYPE_CHECKING:
    from models.picture.shot import Shot


def current_references(persona: Persona, loaded: LoadedSettings) -> ReferenceSet:
    """Return the current reference set, or say how to make one."""
    reference_set = ReferenceSetStore(loaded.studio, persona.name).current_set()
    if reference_set is None:
        raise UserError(f"{persona.name} has no references yet: run restage references {persona.name} first")
    if reference_set.token != persona.token:
        raise UserError(
            f"the references of {persona.name} were chosen for {reference_set.token}, and its file now says {persona.token}:"
            f" run restage references {persona.name} again"
        )
    return reference_set


@step.step("prepare", retries=1)
def plan_training(persona: Persona, reference_set: ReferenceSet, loaded: LoadedSettings) -> TrainingPlan:
    """Collect captions, previews and all settings in one record that identifies the training."""
    settings = loaded.settings.training
    candidates = [verdict.candidate for verdict in reference_set.choice.chosen]
    kind, colon, place = settings.captioner.partition(":")
    captioning = captions.CaptionSettings(settings.captions, f"{kind}{colon}{loaded.resolve_path(place)}")
    picture_captions = captions.caption_pictures(
        candidates, persona, captioning, loaded.studio, loaded.settings.models.device
    )
    source = generate.model_setup(loaded, persona.model).source
    preview_texts = previews.list_previews(persona, settings.preview_seeds)
    shot_values = previews.preview_shots(persona, preview_texts, persona.class_word, None, loaded)[0].as_dict()
    for name in ("prompt", "seed", "model", "embeddings"):
        shot_values.pop(name)
    return plan.plan_training(reference_set, persona, picture_captions, preview_texts, source, shot_values, loaded)


@step.step("train", retries=1, gpu=True)
def run_training(plan: TrainingPlan, persona: Persona, loaded: LoadedSettings) -> TrainingRecord:
    """Train and save along the way. A stopped training continues; a finished one is left alone."""
    record = TrainingStore(loaded.studio, persona.name).load_or_new(plan)
    if record.is_over:
        return record
    machine = generate.model_setup(loaded, persona.model)
    if not processes.is_leader():  # it computes its share and looks at nothing
        return train_embedding(plan, renderer.load_renderer(machine.source, machine.options), None, loaded.studio)
    with _exclusive_training(plan, loaded):
        return _train_and_evaluate(plan, persona, machine, loaded)


@contextmanager
def _exclusive_training(plan: TrainingPlan, loaded: LoadedSettings) -> Iterator[None]:
    """Hold the lock of this training, because two runs of the same one would overwrite each other's files."""
    folder = TrainingStore(loaded.studio, plan.persona).training_folder(plan.id)
    try:
        with file_lock.hold_lock(folder / ".lock", {"persona": plan.persona}):
            yield
    except file_lock.LockHeldError as error:
        raise UserError(
            f"{plan.persona} is being trained already, by process {error.holder.get('pid', 'unknown')}: wait for it, or stop"
            " it and run this again, which goes on from its last checkpoint"
        ) from None


def _train_and_evaluate(
    plan: TrainingPlan, persona: Persona, machine: generate.ModelSetup, loaded: LoadedSettings
) -> TrainingRecord:
    artifacts, model = PictureFiles(loaded.studio), renderer.load_renderer(machine.source, machine.options)
    baseline = render_missing(
        model, previews.preview_shots(persona, plan.previews, persona.class_word, None, loaded), artifacts
    )
    judge = PreviewEvaluator(plan, baseline, loaded)

    def preview_shots(embedding: Path | None) -> list[Shot]:
        return previews.preview_shots(persona, plan.previews, persona.token, embedding, loaded)

    return train_embedding(
        plan,
        model,
        PreviewCallbacks(preview_shots, judge.measure_pictures, baseline, judge.word_measurer.scale_ends()),
        loaded.studio,
    )


@step.step("register")
def register_best(training: TrainingRecord, persona: Persona, loaded: LoadedSettings, use: bool) -> TrainingRecord:
    """Give the saved embedding a version, and make it current if it is no worse than the current one."""
    if training.version is not None and not use:
        return training
    return register.register_training(
        training, loaded, use, lambda embedding: score_version(training.lesson, persona, embedding, loaded)
    )


def score_version(plan: TrainingPlan, persona: Persona, embedding: Path, loaded: LoadedSettings) -> float:
    """Score another version on the previews of this training."""
    machine, artifacts = generate.model_setup(loaded, persona.model), PictureFiles(loaded.studio)
    shots = [
        previews.preview_shots(persona, plan.previews, subject, file, loaded)
        for subject, file in ((persona.class_word, None), (persona.token, embedding))
    ]
    generate.generate_pictures(
        [shot for group in shots for shot in group], machine, artifacts, "previews of the current version"
    )
    baseline, pictures = ([artifacts.relative_path(shot.id) for shot in group] for group in shots)
    return PreviewEvaluator(plan, baseline, loaded).measure_pictures(pictures).score


@step.step("report")
def write_report(training: TrainingRecord, loaded: LoadedSettings) -> Path:
    """Write the page and the grid; in Prefect, show them there too."""
    page = report.write_report(training, loaded.studio)
    if step.in_flow_run():
        text = report.as_markdown(training, page.with_name("grid.png"))
        step.publish_markdown(f"training-{training.lesson.persona}", text, f"Training of {training.lesson.token}")
    return page
