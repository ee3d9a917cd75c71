"""Give the word that a training kept its version, and decide whether it becomes the current one."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version as version_of
from pathlib import Path

from models.picture.environment import pixel_hash
from models.picture.reading import open_picture, rgb
from models.sdxl import embedding
from models.sdxl.embedding import About
from tasks.settings.settings import Loaded
from tasks.store.store import Store
from tasks.training import versions
from tasks.training.record import Desk, Lesson, Training
from tasks.training.versions import Version

LIBRARIES = ("restage", "torch", "diffusers", "transformers")
BY = "restage train"


def register(training: Training, loaded: Loaded, use: bool, score_of: Callable[[Path], float]) -> Training:
    """`score_of` is asked for the score of the version that is current now, under the very previews of this training."""
    lesson, best, store = training.lesson, training.best, Store.open(loaded.database, loaded.studio, clock=loaded.clock)
    try:
        word = embedding.read(loaded.studio / best.word, lesson.token)
        made = versions.keep(
            store,
            loaded.studio,
            lesson.persona,
            word,
            about(training, loaded.studio),
            half=loaded.settings.training.half,
            reference_set=lesson.reference_set,
            training=lesson.id,
            score=best.measures.score,
            note=f"step {best.step} of {training.step}" + (f", round {lesson.round}" if lesson.round > 1 else ""),
        )
        better, verdict = _judged(training, made, versions.current(store, lesson.persona), use, score_of, loaded)
        if better:
            versions.use(store, lesson.persona, made.number, verdict, BY)
    finally:
        store.close()
    return Desk(loaded.studio, lesson.persona).put(training.but(version=made.number, current=better, verdict=verdict))


def _judged(
    training: Training,
    made: Version,
    now: Version | None,
    use: bool,
    score_of: Callable[[Path], float],
    loaded: Loaded,
) -> tuple[bool, str]:
    """Whether the new version is to be the current one, and why."""
    if now is None:
        return True, "it is the first version"
    if now.number == made.number:
        return True, training.verdict or "it is the current version already"
    if use:
        return True, "it was told to be"
    if now.token != made.token:
        return True, f"the current version {now.number} is of another token, {now.token}"
    if now.vectors and now.base_model != made.base_model:
        return True, f"the current version {now.number} was learned on another model, {now.base_model_name}"
    before, score = score_of(loaded.studio / now.file), training.best.measures.score
    said = f"its score of {score:.3f} is {{}} than version {now.number}'s {before:.3f} in the same previews"
    if score >= before:
        return True, said.format("no lower")
    return False, said.format("lower")


def about(training: Training, studio: Path) -> About:
    """What stands in the header of the word's file."""
    lesson, best = training.lesson, training.best
    measures = vars(best.measures)
    return About(
        persona=lesson.persona,
        base_model=str(lesson.of["model"]),
        base_model_name=lesson.model,
        references=tuple(pixel_hash(rgb(open_picture(studio / path))) for path in lesson.pictures),
        settings=_settings(lesson),
        seed=lesson.config["seed"],
        versions={name: version_of(name) for name in LIBRARIES},
        metrics={**measures, "step": best.step, "validation": best.validation},
    )


def _settings(lesson: Lesson) -> dict[str, object]:
    return {name: value for name, value in lesson.config.items() if name not in ("token", "seed", "init_file")}
