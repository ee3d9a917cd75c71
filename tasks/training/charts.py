"""Draw a training's charts: the measures of the embedding, and the losses, over the steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from tasks.pages import svg_charts
from tasks.pages.svg_charts import Series
from tasks.training.record import TrainingRecord

WIDE_WIDTH, PHONE_WIDTH, SMALL_WIDTH = 760, 344, 300
MAX_AVERAGED_LOSSES = 200
MEASURE_MEANINGS = {
    "identity": "How much it looks like the references: 0 is the class word, 1 is what they are to each other.",
    "editability": "How well it does what prompts ask for: 1 is as well as the class word.",
    "leak": "How much of the references' surroundings came along: 0 is nothing.",
    "collapse": "How much it repeats one single reference: 0 is not at all.",
}
MEASURE_LEVELS = {
    "identity": [(0.0, "class word"), (1.0, "references")],
    "editability": [(1.0, "class word")],
    "leak": [(0.0, "")],
    "collapse": [(0.0, "")],
}


def _measure_points(training: TrainingRecord, name: str) -> list[tuple[float, float]]:
    return [(point.step, getattr(point.measures, name)) for point in training.points]


def _kept_mark(training: TrainingRecord) -> list[tuple[float, str]]:
    return [] if training.kept is None else [(training.kept, f"kept: {training.kept}")]


def _two_widths(
    series: Sequence[Series], label: str, training: TrainingRecord, stop: bool = False
) -> dict[str, Markup]:
    """Draw a chart in two widths: on a phone the wide one would be too small to read."""
    marks = [*_kept_mark(training), *([(training.step, "stopped")] if stop and training.stopped else [])]
    charts = {
        name: svg_charts.draw_line_chart(
            series, label, marks=marks, span=(0, training.step), width=width, height=height
        )
        for name, width, height in (("wide", WIDE_WIDTH, 230), ("narrow", PHONE_WIDTH, 200))
    }
    return {name: Markup(text) for name, text in charts.items() if text}


def score_chart(training: TrainingRecord) -> dict[str, Markup]:
    """Draw the score, by which versions of the embedding are compared."""
    return _two_widths([Series("", _measure_points(training, "score"))], "score", training)


def measure_charts(training: TrainingRecord) -> list[dict[str, Any]]:
    """Draw a small chart of each measure, with its meaning."""
    charts = []
    for name, meaning in MEASURE_MEANINGS.items():
        series, span = [Series("", _measure_points(training, name))], (0, training.step)
        svg = svg_charts.draw_line_chart(
            series, name, marks=_kept_mark(training), levels=MEASURE_LEVELS[name], span=span, width=SMALL_WIDTH
        )
        if svg:
            charts.append({"title": name.capitalize(), "meaning": meaning, "svg": Markup(svg)})
    return charts


def loss_charts(training: TrainingRecord) -> dict[str, Any]:
    """Draw loss and validation loss on one scale, and small charts of values that need their own scale."""
    steps = list(enumerate(training.losses, 1))
    validation = [(float(step), loss) for step, loss in training.validations]
    mean = list(enumerate(running_mean(training.losses), 1))
    combined = [
        Series("each step", steps, "faint"),
        Series("running mean", mean),
        Series("validation", validation, "other"),
    ]
    separate = []
    span = (0, training.step)
    if len(validation) > 1:
        svg = svg_charts.draw_line_chart(
            [Series("", validation, "other")],
            "validation loss",
            marks=_kept_mark(training),
            span=span,
            width=SMALL_WIDTH,
        )
        meaning = "On the same pictures, times and noise each time: when it varies little any more, it has settled."
        separate.append({"title": "Validation loss", "meaning": meaning, "svg": Markup(svg)})
    if len(set(training.rates)) > 1:
        svg = svg_charts.draw_line_chart(
            [Series("", list(enumerate(training.rates, 1)))], "learning rate", span=span, width=SMALL_WIDTH
        )
        separate.append({"title": "Learning rate", "meaning": "How far a step may move the word.", "svg": Markup(svg)})
    combined = [series for series in combined if series.points]
    return {
        "together": _two_widths(combined, "loss", training, stop=True),
        "alone": [chart for chart in separate if chart["svg"]],
    }


def running_mean(losses: Sequence[float]) -> list[float]:
    """Average the last losses at each step. A loss depends mostly on the drawn noise, so a single one says little."""
    values = np.asarray(losses, dtype=float)
    good = np.isfinite(values)
    sums, counts = (np.concatenate([[0.0], np.cumsum(array)]) for array in (np.where(good, values, 0.0), good))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - max(1, min(MAX_AVERAGED_LOSSES, len(values) // 10)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return list((sums[ends] - sums[starts]) / (counts[ends] - counts[starts]))
