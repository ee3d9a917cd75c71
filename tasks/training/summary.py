"""A training in words: sentences for people, values for scripts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tasks.training.record import Point, Training

RATE = "steps a second"


def lead(training: Training) -> str:
    """In one sentence: what was learned, from what, how long, what was kept, and why it stopped."""
    if not training.stopped:
        return f"{_learned(training)}; no {'step is made' if not training.step else 'word is kept'} yet."
    return f"{_learned(training)}; {_kept(training)}, and it stopped because {_why(training)}."


def _learned(training: Training) -> str:
    lesson, took = training.lesson, duration(training.seconds)
    pictures = f"{_count(len(lesson.pictures), 'picture')}{f' of round {lesson.round}' if lesson.round > 1 else ''}"
    if not training.step:
        return f"{lesson.token} is to be learned from {pictures}"
    if not training.stopped:
        most = _count(lesson.config["steps"], "step")
        return f"{lesson.token} is being learned from {pictures}, {training.step} of at most {most} and {took} so far"
    return f"{lesson.token} was learned from {pictures} in {_count(training.step, 'step')} and {took}"


def _kept(training: Training) -> str:
    return "no word was kept" if training.kept is None else f"the word of step {training.kept} was kept"


def _why(training: Training) -> str:
    """As the end of a sentence."""
    text = training.stopped.strip().rstrip(".")
    return text if text[:2].isupper() else text[:1].lower() + text[1:]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def lines(training: Training) -> list[str]:
    """The report in a few lines, for a terminal."""
    if training.stopped:
        said = [f"{_learned(training)}; {_kept(training)}.", f"It stopped because {_why(training)}."]
    else:
        said = [lead(training)]
    said.append(scores(training) or "No previews are made yet.")
    spent = [f"{value} {name}" if name == RATE else f"{name} {value}" for name, value in effort(training)]
    said.append(", ".join([f"Model {training.lesson.model}", *spent]) + ".")
    return [*said, *filter(None, [version(training)])]


def summary(training: Training) -> dict[str, Any]:
    """The same in a few values, for scripts and logs."""
    point = latest(training)
    kept = point if point is not None and point.step == training.kept else None
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
        "word": kept.word if kept else "",
        "measures": _finite(vars(kept.measures)) if kept else {},
        "validation": _finite({"": kept.validation})[""] if kept else None,
        "version": training.version,
        "current": training.current,
        "verdict": training.verdict,
    }


def _finite(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """JSON has no word for what is no number."""
    return {name: value if value is not None and math.isfinite(value) else None for name, value in values.items()}


def latest(training: Training) -> Point | None:
    """The point that was kept; while none is, the last one."""
    kept = (point for point in training.points if point.step == training.kept)
    return next(kept, training.points[-1] if training.points else None)


def scores(training: Training) -> str:
    """What is measured of that point."""
    point = latest(training)
    if point is None:
        return ""
    values = {"score": point.measures.score} | vars(point.measures)
    found = ", ".join(f"{name} {number(value, 2)}" for name, value in values.items())
    return f"Step {point.step}: {found}."


def version(training: Training) -> str:
    """Its number, and whether it is the one that pictures are made with."""
    if training.version is None:
        return ""
    said = "is now the current one" if training.current else "did not become the current one"
    return f"Version {training.version} {said}{_because(training.verdict)}."


def _because(text: str) -> str:
    return f": {text.strip().rstrip('.')}" if text.strip() else ""


def effort(training: Training) -> list[tuple[str, str]]:
    """What it took."""
    rows = []
    if training.seconds > 0 and training.step:
        rows.append((RATE, f"{training.step / training.seconds:.3g}"))
    peak = training.machine.get("peak_memory")
    if isinstance(peak, int | float):
        rows.append(("peak memory", f"{peak / 2**30:.2f} GiB"))
    return rows


def number(value: float | None, places: int = 3) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.{places}f}"
