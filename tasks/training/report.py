"""Report on a training: a self-contained page, and its previews over the steps as one picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from models.picture.reading import convert_to_rgb, open_picture
from models.system.errors import UserError
from models.system.files import write_file
from tasks.pages import html
from tasks.pages.contact_sheet import picture_grid
from tasks.persona.persona import with_article
from tasks.training import charts
from tasks.training.record import PreviewPoint, TrainingRecord, TrainingStore
from tasks.training.summary import (
    effort_rows,
    format_duration,
    format_number,
    latest_point,
    scores_sentence,
    training_summary,
    version_sentence,
)
from tasks.training.summary import summary_lines as summary_lines
from tasks.training.summary import summary_values as summary_values

# Limits that keep the page small enough to be sent: how many of each are shown, and how large.
MAX_REFERENCES, MAX_PAIRS, MAX_COLUMNS, THUMB_SIDE, TINY_SIDE = 24, 16, 9, 224, 72
SIDE_RANGE, MAX_LARGE_CELLS, GRID_WIDTH = (72, 144), 200, 960
"""Least and greatest side of a picture in the page's grid; the number of pictures above which the least is used; and the width
of the grid."""

ORIGIN_PHRASES = {
    "provenance": "from the prompt that the picture was made with",
    "txt": "from the text beside the picture",
    "captioner": "by a captioner",
    "template": "from templates",
}


def write_report(training: TrainingRecord, studio: Path) -> Path:
    """Write `report.html` and `grid.png` beside the record, replacing earlier ones; return the page's path."""
    folder = TrainingStore(studio, training.lesson.persona).training_folder(training.lesson.id)
    thumbs = _ThumbnailCache(studio)
    if training.lesson.previews and _grid_columns(training):
        write_file(folder / "grid.png", _render_grid(training, thumbs))
    path = folder / "report.html"
    write_file(path, _render_page(training, thumbs))
    return path


def _render_page(training: TrainingRecord, thumbs: _ThumbnailCache) -> bytes:
    return html.render_template(
        "training.html",
        training=training,
        lesson=training.lesson,
        lead=training_summary(training),
        figures=_figure_rows(training),
        references=(references := _reference_rows(training, thumbs)),
        most=MAX_REFERENCES,
        called=[row for row in references if row["captions"]],
        origin=_common_origin(training),
        plain=with_article(training.lesson.class_word),
        names=list(charts.MEASURE_MEANINGS),
        latest=latest_point(training),
        pairs=_preview_pairs(training, thumbs),
        score=charts.score_chart(training),
        measures=charts.measure_charts(training),
        losses=charts.loss_charts(training),
        grid=_html_grid(training, thumbs),
        points=[(point, _measure_cells(point)) for point in training.points],
        settings=_setting_rows(training),
        machine=_machine_rows(training),
        version=version_sentence(training),
        more=max(0, len(training.lesson.previews) - MAX_PAIRS),
        ends=", ".join(f"{name} {format_number(value, 2)}" for name, value in training.references.items()),
    )


class _ThumbnailCache:
    """Caches small copies of the studio's pictures; a missing picture is left out of the report."""

    def __init__(self, studio: Path) -> None:
        self.studio = studio
        self._thumbnails: dict[str, Image.Image | None] = {}

    def load_thumbnail(self, path: str) -> Image.Image | None:
        if path not in self._thumbnails:
            self._thumbnails[path] = self._make_thumbnail(path) if path else None
        return self._thumbnails[path]

    def _make_thumbnail(self, path: str) -> Image.Image | None:
        try:
            picture = convert_to_rgb(open_picture(self.studio / path))
        except UserError:
            return None
        picture.thumbnail((THUMB_SIDE, THUMB_SIDE), Image.Resampling.LANCZOS)
        return picture

    def data_uri(self, path: str, side: int = THUMB_SIDE) -> str:
        """Return a small JPEG as a data URI, so that the page is self-contained; empty if the picture is missing."""
        picture = self.load_thumbnail(path)
        if picture is None:
            return ""
        small = picture.copy()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        return html.jpeg_data_uri(small, 85 if side > SIDE_RANGE[0] else 80)


def _figure_rows(training: TrainingRecord) -> list[tuple[str, str]]:
    rows = [("references", str(len(training.lesson.pictures)))]
    if training.step:
        rows += [("steps", str(training.step)), ("of computing", format_duration(training.seconds))]
    if training.kept is not None:
        rows.append(("the step that was kept", str(training.kept)))
        point = latest_point(training)
        if point is not None and point.step == training.kept:
            rows.append(("its score", format_number(point.measures.score, 2)))
    if training.version is not None:
        rows.append(("version, the current one" if training.current else "version", str(training.version)))
    return rows


def _reference_rows(training: TrainingRecord, thumbs: _ThumbnailCache) -> list[dict[str, Any]]:
    """List the reference pictures with their captions and the origin of these."""
    plan = training.lesson
    return [
        {
            "src": thumbs.data_uri(path) if number < MAX_REFERENCES else "",
            "tiny": thumbs.data_uri(path, TINY_SIDE) if number < MAX_REFERENCES else "",
            "captions": plan.captions[number] if number < len(plan.captions) else (),
            "origin": ORIGIN_PHRASES.get(_item_or_empty(plan.origins, number), ""),
        }
        for number, path in enumerate(plan.pictures)
    ]


def _common_origin(training: TrainingRecord) -> str:
    """Return the captions' origin if it is the same for all of them."""
    origins = set(training.lesson.origins)
    return f"{ORIGIN_PHRASES.get(origins.pop(), '').capitalize()}." if len(origins) == 1 else ""


def _preview_pairs(training: TrainingRecord, thumbs: _ThumbnailCache) -> list[dict[str, str]]:
    """Pair each preview of the token with the same prompt and seed for the class word."""
    plan, point = training.lesson, latest_point(training)
    rows = zip(plan.previews, _preview_labels(training), strict=True)
    return [
        {
            "now": thumbs.data_uri(_item_or_empty(point.pictures, number)) if point else "",
            "before": thumbs.data_uri(_item_or_empty(training.baseline, number)),
            "prompt": prompt,
            "seed": seed,
            "plain": preview.prompt_for(with_article(plan.class_word)),
        }
        for number, (preview, (prompt, seed)) in enumerate(rows)
        if number < MAX_PAIRS and (point or training.baseline)
    ]


def _item_or_empty(values: Sequence[str], number: int) -> str:
    return values[number] if number < len(values) else ""


def _preview_labels(training: TrainingRecord) -> list[tuple[str, str]]:
    """Return the prompt of each preview, and its seed if several share a prompt."""
    previews, token = training.lesson.previews, training.lesson.token
    times = Counter(preview.prompt for preview in previews)
    return [
        (preview.prompt_for(token), f"seed {preview.seed}" if times[preview.prompt] > 1 else "") for preview in previews
    ]


@dataclass(frozen=True)
class _Column:
    name: str
    pictures: Sequence[str]
    kept: bool


def _grid_columns(training: TrainingRecord) -> list[_Column]:
    """List the columns of the grid: the class word, then the token over the steps."""
    points = [training.points[index] for index in spread_indices(len(training.points), _kept_index(training))]
    plain = [_Column(with_article(training.lesson.class_word), training.baseline, False)] if training.baseline else []
    return plain + [_Column(f"step {point.step}", point.pictures, point.step == training.kept) for point in points]


def _kept_index(training: TrainingRecord) -> int | None:
    return next((index for index, point in enumerate(training.points) if point.step == training.kept), None)


def spread_indices(count: int, kept: int | None, most: int = MAX_COLUMNS) -> list[int]:
    """Choose evenly spread indices of the points to show, always with the first, the kept and the last."""
    if count <= most:
        return list(range(count))
    indices = [round(number * (count - 1) / (most - 1)) for number in range(most)]
    if kept is not None and kept not in indices:
        nearest = min(range(1, most - 1), key=lambda position: abs(indices[position] - kept))
        indices[nearest] = kept
    return indices


def _thumbnail_side(columns: int, rows: int) -> int:
    least, greatest = SIDE_RANGE
    return least if columns * rows > MAX_LARGE_CELLS else max(least, min(greatest, GRID_WIDTH // columns - 8))


def _html_grid(training: TrainingRecord, thumbs: _ThumbnailCache) -> dict[str, Any]:
    columns, labels = _grid_columns(training), _preview_labels(training)
    side = _thumbnail_side(max(1, len(columns)), len(labels))
    rows = [
        (*label, [(column, thumbs.data_uri(_item_or_empty(column.pictures, number), side)) for column in columns])
        for number, label in enumerate(labels if training.points else ())
    ]
    return {"columns": columns, "rows": rows, "side": side, "left_out": max(0, len(training.points) - MAX_COLUMNS)}


def _render_grid(training: TrainingRecord, thumbs: _ThumbnailCache) -> bytes:
    columns, labels = _grid_columns(training), _preview_labels(training)
    rows = [
        [thumbs.load_thumbnail(_item_or_empty(column.pictures, number)) for column in columns]
        for number in range(len(labels))
    ]
    kept_column = next((index for index, column in enumerate(columns) if column.kept), None)
    names = [f"{column.name}, kept" if column.kept else column.name for column in columns]
    cell = 192 if len(columns) * len(labels) <= MAX_LARGE_CELLS // 2 else 96
    image = picture_grid(
        rows,
        ["\n".join(label) for label in labels],
        names,
        f"{training.lesson.token} over its steps",
        cell,
        marked_column=kept_column,
    )
    return html.png_bytes(image)


def _measure_cells(point: PreviewPoint) -> list[str]:
    measures = point.measures
    values = [point.validation, *(getattr(measures, name) for name in charts.MEASURE_MEANINGS), measures.score]
    return [format_number(value) for value in values]


def _setting_rows(training: TrainingRecord) -> list[tuple[str, str]]:
    plan = training.lesson
    return [*_flatten_tree(plan.config), *_flatten_tree(plan.pace, "pace."), *_flatten_tree(plan.of, "of.")]


def _flatten_tree(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield names and values as text; nested names have their path before them."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten_tree(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _as_toml(value)


def _as_toml(value: Any) -> str:
    """Format a value as in settings.toml."""
    if isinstance(value, list | tuple):
        return ", ".join(_as_toml(item) for item in value) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value in (None, "") else str(value)


def _machine_rows(training: TrainingRecord) -> list[tuple[str, str]]:
    rest = {name: value for name, value in training.machine.items() if name != "peak_memory"}
    return [*effort_rows(training), *_flatten_tree(rest)]


def as_markdown(training: TrainingRecord, picture: Path) -> str:
    """Return a short report with the grid for Prefect's page, small enough to be stored in a database."""
    text = [training_summary(training), version_sentence(training), scores_sentence(training)]
    # Markdown would take a token in angle brackets for a tag and hide it.
    parts = [f"# Training of {training.lesson.persona}", *(escape(sentence, quote=False) for sentence in text)]
    parts.append(html.markdown_image(picture, "the prompts over the steps"))
    return "\n\n".join([*filter(None, parts), f"Training {training.lesson.id}"])
