"""The curves of a training as charts: what is measured of the word, and its losses, over the steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from tasks.pages import svg_charts
from tasks.pages.svg_charts import Series
from tasks.training.record import Training

WIDE, PHONE, SMALL = 760, 344, 300
LONGEST_MEAN = 200  # losses
MEANING = {
    "identity": "How much it looks like the references: 0 is the class word, 1 is what they are to each other.",
    "editability": "How well it does what prompts ask for: 1 is as well as the class word.",
    "leak": "How much of the references' surroundings came along: 0 is nothing.",
    "collapse": "How much it repeats one single reference: 0 is not at all.",
}
LEVELS = {
    "identity": [(0.0, "class word"), (1.0, "references")],
    "editability": [(1.0, "class word")],
    "leak": [(0.0, "")],
    "collapse": [(0.0, "")],
}


def _measured(training: Training, name: str) -> list[tuple[float, float]]:
    return [(point.step, getattr(point.measures, name)) for point in training.points]


def _marks(training: Training) -> list[tuple[float, str]]:
    return [] if training.kept is None else [(training.kept, f"kept: {training.kept}")]


def _wide(series: Sequence[Series], label: str, training: Training, stop: bool = False) -> dict[str, Markup]:
    """A chart in two widths: a phone would shrink the wide one until nobody could read it."""
    marks = [*_marks(training), *([(training.step, "stopped")] if stop and training.stopped else [])]
    charts = {
        name: svg_charts.lines(series, label, marks=marks, span=(0, training.step), width=width, height=height)
        for name, width, height in (("wide", WIDE, 230), ("narrow", PHONE, 200))
    }
    return {name: Markup(text) for name, text in charts.items() if text}


def score(training: Training) -> dict[str, Markup]:
    """What versions of the word are compared by."""
    return _wide([Series("", _measured(training, "score"))], "score", training)


def measures(training: Training) -> list[dict[str, Any]]:
    """A small chart of each measure, with what it means."""
    found = []
    for name, meaning in MEANING.items():
        series, span = [Series("", _measured(training, name))], (0, training.step)
        svg = svg_charts.lines(series, name, marks=_marks(training), levels=LEVELS[name], span=span, width=SMALL)
        if svg:
            found.append({"title": name.capitalize(), "meaning": meaning, "svg": Markup(svg)})
    return found


def losses(training: Training) -> dict[str, Any]:
    """Loss and validation loss on one scale; beside them, what only shows on a scale of its own."""
    steps = list(enumerate(training.losses, 1))
    validation = [(float(step), loss) for step, loss in training.validations]
    mean = list(enumerate(running(training.losses), 1))
    together = [
        Series("each step", steps, "faint"),
        Series("running mean", mean),
        Series("validation", validation, "other"),
    ]
    alone = []
    span = (0, training.step)
    if len(validation) > 1:
        svg = svg_charts.lines(
            [Series("", validation, "other")], "validation loss", marks=_marks(training), span=span, width=SMALL
        )
        meaning = "On the same pictures, times and noise each time: when it varies little any more, it has settled."
        alone.append({"title": "Validation loss", "meaning": meaning, "svg": Markup(svg)})
    if len(set(training.rates)) > 1:
        svg = svg_charts.lines(
            [Series("", list(enumerate(training.rates, 1)))], "learning rate", span=span, width=SMALL
        )
        alone.append({"title": "Learning rate", "meaning": "How far a step may move the word.", "svg": Markup(svg)})
    together = [each for each in together if each.points]
    return {"together": _wide(together, "loss", training, stop=True), "alone": [each for each in alone if each["svg"]]}


def running(losses: Sequence[float]) -> list[float]:
    """The mean of the last losses at each step. Loss depends most on how much noise was drawn, so one alone says little."""
    values = np.asarray(losses, dtype=float)
    good = np.isfinite(values)
    sums, counts = (np.concatenate([[0.0], np.cumsum(each)]) for each in (np.where(good, values, 0.0), good))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - max(1, min(LONGEST_MEAN, len(values) // 10)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return list((sums[ends] - sums[starts]) / (counts[ends] - counts[starts]))
