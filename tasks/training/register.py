"""Register the embedding that a training kept as a version, and decide whether it becomes the current one."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version as version_of
from pathlib import Path

from models.picture.environment import pixel_hash
from models.picture.reading import convert_to_rgb, open_picture
from models.sdxl import embedding
from models.sdxl.embedding import EmbeddingMetadata
from tasks.settings.settings import LoadedSettings
from tasks.store.store import Store
from tasks.training import versions
from tasks.training.record import TrainingPlan, TrainingRecord, TrainingStore
from tasks.training.versions import Version

LIBRARIES = ("restage", "torch", "diffusers", "transformers")
REGISTERED_BY = "restage train"


def register_training(
    training: TrainingRecord, loaded: LoadedSettings, use: bool, score_of: Callable[[Path], float]
) -> TrainingRecord:
    """Register the kept embedding; `score_of` scores the current version's file in the same previews."""
    plan, best, store = (
        training.lesson,
        training.best_point,
        Store.open(loaded.database, loaded.studio, clock=loaded.clock),
    )
    try:
        vectors = embedding.read_embedding(loaded.studio / best.word, plan.token)
        version = versions.save_version(
            store,
            loaded.studio,
            plan.persona,
            vectors,
            embedding_metadata(training, loaded.studio),
            half=loaded.settings.training.half,
            reference_set=plan.reference_set,
            training=plan.id,
            score=best.measures.score,
            note=f"step {best.step} of {training.step}" + (f", round {plan.round}" if plan.round > 1 else ""),
        )
        better, verdict = _decide_current(
            training, version, versions.current_version(store, plan.persona), use, score_of, loaded
        )
        if better:
            versions.make_current(store, plan.persona, version.number, verdict, REGISTERED_BY)
    finally:
        store.close()
    return TrainingStore(loaded.studio, plan.persona).save_training(
        training.with_changes(version=version.number, current=better, verdict=verdict)
    )


def _decide_current(
    training: TrainingRecord,
    version: Version,
    current: Version | None,
    use: bool,
    score_of: Callable[[Path], float],
    loaded: LoadedSettings,
) -> tuple[bool, str]:
    """Decide whether the new version becomes the current one; return the reason too."""
    if current is None:
        return True, "it is the first version"
    if current.number == version.number:
        return True, training.verdict or "it is the current version already"
    if use:
        return True, "it was told to be"
    if current.token != version.token:
        return True, f"the current version {current.number} is of another token, {current.token}"
    if current.vectors and current.base_model != version.base_model:
        return True, f"the current version {current.number} was learned on another model, {current.base_model_name}"
    current_score, score = score_of(loaded.studio / current.file), training.best_point.measures.score
    comparison = (
        f"its score of {score:.3f} is {{}} than version {current.number}'s {current_score:.3f} in the same previews"
    )
    if score >= current_score:
        return True, comparison.format("no lower")
    return False, comparison.format("lower")


def embedding_metadata(training: TrainingRecord, studio: Path) -> EmbeddingMetadata:
    """Return the header of the embedding's file."""
    plan, best = training.lesson, training.best_point
    measures = vars(best.measures)
    return EmbeddingMetadata(
        persona=plan.persona,
        base_model=str(plan.of["model"]),
        base_model_name=plan.model,
        references=tuple(pixel_hash(convert_to_rgb(open_picture(studio / path))) for path in plan.pictures),
        settings=_trainer_settings(plan),
        seed=plan.config["seed"],
        versions={name: version_of(name) for name in LIBRARIES},
        metrics={**measures, "step": best.step, "validation": best.validation},
    )


def _trainer_settings(plan: TrainingPlan) -> dict[str, object]:
    return {name: value for name, value in plan.config.items() if name not in ("token", "seed", "init_file")}
