"""Summarise a training: sentences for people, values for scripts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tasks.training.record import PreviewPoint, TrainingRecord

RATE = "steps a second"


def training_summary(training: TrainingRecord) -> str:
    """Summarise the training in one sentence: token, references, duration, kept step and reason to stop."""
    if not training.stopped:
        return f"{_learned_clause(training)}; no {'step is made' if not training.step else 'word is kept'} yet."
    return f"{_learned_clause(training)}; {_kept_clause(training)}, and it stopped because {_stop_clause(training)}."


def _learned_clause(training: TrainingRecord) -> str:
    plan, time_text = training.lesson, format_duration(training.seconds)
    pictures = f"{_count_of(len(plan.pictures), 'picture')}{f' of round {plan.round}' if plan.round > 1 else ''}"
    if not training.step:
        return f"{plan.token} is to be learned from {pictures}"
    if not training.stopped:
        max_steps = _count_of(plan.config["steps"], "step")
        return f"{plan.token} is being learned from {pictures}, {training.step} of at most {max_steps} and {time_text} so far"
    return f"{plan.token} was learned from {pictures} in {_count_of(training.step, 'step')} and {time_text}"


def _kept_clause(training: TrainingRecord) -> str:
    return "no word was kept" if training.kept is None else f"the word of step {training.kept} was kept"


def _stop_clause(training: TrainingRecord) -> str:
    """Return the reason to stop as the end of a sentence."""
    text = training.stopped.strip().rstrip(".")
    return text if text[:2].isupper() else text[:1].lower() + text[1:]


def _count_of(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def format_duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def summary_lines(training: TrainingRecord) -> list[str]:
    """Return the report in a few lines, for a terminal."""
    if training.stopped:
        sentences = [
            f"{_learned_clause(training)}; {_kept_clause(training)}.",
            f"It stopped because {_stop_clause(training)}.",
        ]
    else:
        sentences = [training_summary(training)]
    sentences.append(scores_sentence(training) or "No previews are made yet.")
    spent = [f"{value} {name}" if name == RATE else f"{name} {value}" for name, value in effort_rows(training)]
    sentences.append(", ".join([f"Model {training.lesson.model}", *spent]) + ".")
    return [*sentences, *filter(None, [version_sentence(training)])]


def summary_values(training: TrainingRecord) -> dict[str, Any]:
    """Return the report's main values, for scripts and logs."""
    point = latest_point(training)
    kept_point = point if point is not None and point.step == training.kept else None
    return {
        "persona": training.lesson.persona,
        "token": training.lesson.token,
        "training": training.lesson.id,
        "round": training.lesson.round,
        "pictures": len(training.lesson.pictures),
        "steps": training.step,
        "seconds": round(training.seconds, 3),
        "stopped": training.stopped,
        "kept": training.kept,
        "word": kept_point.word if kept_point else "",
        "measures": _finite_or_none(vars(kept_point.measures)) if kept_point else {},
        "validation": _finite_or_none({"": kept_point.validation})[""] if kept_point else None,
        "version": training.version,
        "current": training.current,
        "verdict": training.verdict,
    }


def _finite_or_none(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Replace values that are not finite by None, as JSON cannot hold them."""
    return {name: value if value is not None and math.isfinite(value) else None for name, value in values.items()}


def latest_point(training: TrainingRecord) -> PreviewPoint | None:
    """Return the point that was kept, or the last one if none is kept yet."""
    kept_points = (point for point in training.points if point.step == training.kept)
    return next(kept_points, training.points[-1] if training.points else None)


def scores_sentence(training: TrainingRecord) -> str:
    """Return a sentence with the measures of the latest point."""
    point = latest_point(training)
    if point is None:
        return ""
    values = {"score": point.measures.score} | vars(point.measures)
    texts = ", ".join(f"{name} {format_number(value, 2)}" for name, value in values.items())
    return f"Step {point.step}: {texts}."


def version_sentence(training: TrainingRecord) -> str:
    """Return a sentence with the version's number, and whether it is the current one."""
    if training.version is None:
        return ""
    outcome = "is now the current one" if training.current else "did not become the current one"
    return f"Version {training.version} {outcome}{_reason_clause(training.verdict)}."


def _reason_clause(text: str) -> str:
    return f": {text.strip().rstrip('.')}" if text.strip() else ""


def effort_rows(training: TrainingRecord) -> list[tuple[str, str]]:
    """Return the training's speed and peak memory as rows."""
    rows = []
    if training.seconds > 0 and training.step:
        rows.append((RATE, f"{training.step / training.seconds:.3g}"))
    peak = training.machine.get("peak_memory")
    if isinstance(peak, int | float):
        rows.append(("peak memory", f"{peak / 2**30:.2f} GiB"))
    return rows


def format_number(value: float | None, places: int = 3) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.{places}f}"
