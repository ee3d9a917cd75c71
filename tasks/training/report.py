"""The report on a training: a page that stands alone, and its previews over the steps as one picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from models.picture.reading import open_picture, rgb
from models.system.errors import UserError
from models.system.files import write
from tasks.pages import html
from tasks.pages.contact_sheet import grid
from tasks.persona.persona import article
from tasks.training import charts
from tasks.training.record import Desk, Point, Training
from tasks.training.summary import duration, effort, latest, lead, number, scores, version
from tasks.training.summary import lines as lines
from tasks.training.summary import summary as summary

# What keeps the page small enough to be sent: how many of each are shown, and how large.
MOST_REFERENCES, MOST_PAIRS, MOST_STEPS, THUMB, TINY = 24, 16, 9, 224, 72
SIDES, MANY, ROOM = (72, 144), 200, 960
"""The least and the greatest side of a picture in the page's grid, which is the least where there are more than so many; and
the width that they share."""

ORIGINS = {
    "provenance": "from the prompt that the picture was made with",
    "txt": "from the text beside the picture",
    "captioner": "by a captioner",
    "template": "from templates",
}


def report(training: Training, studio: Path) -> Path:
    """Write `report.html` and `grid.png` beside the record, in place of earlier ones; returns the page."""
    place = Desk(studio, training.lesson.persona).place(training.lesson.id)
    thumbs = _Thumbs(studio)
    if training.lesson.previews and _columns(training):
        write(place / "grid.png", _sheet(training, thumbs))
    path = place / "report.html"
    write(path, _page(training, thumbs))
    return path


def _page(training: Training, thumbs: _Thumbs) -> bytes:
    return html.filled(
        "training.html",
        training=training,
        lesson=training.lesson,
        lead=lead(training),
        figures=_figures(training),
        references=(references := _references(training, thumbs)),
        most=MOST_REFERENCES,
        called=[each for each in references if each["captions"]],
        origin=_origin(training),
        plain=article(training.lesson.class_word),
        names=list(charts.MEANING),
        latest=latest(training),
        pairs=_pairs(training, thumbs),
        score=charts.score(training),
        measures=charts.measures(training),
        losses=charts.losses(training),
        grid=_grid(training, thumbs),
        points=[(point, _numbers(point)) for point in training.points],
        settings=_settings(training),
        machine=_machine(training),
        version=version(training),
        more=max(0, len(training.lesson.previews) - MOST_PAIRS),
        ends=", ".join(f"{name} {number(value, 2)}" for name, value in training.references.items()),
    )


class _Thumbs:
    """Pictures of the studio, small; each is read once. One that is gone leaves a hole and costs no report."""

    def __init__(self, studio: Path) -> None:
        self.studio = studio
        self._known: dict[str, Image.Image | None] = {}

    def picture(self, path: str) -> Image.Image | None:
        if path not in self._known:
            self._known[path] = self._read(path) if path else None
        return self._known[path]

    def _read(self, path: str) -> Image.Image | None:
        try:
            picture = rgb(open_picture(self.studio / path))
        except UserError:
            return None
        picture.thumbnail((THUMB, THUMB), Image.Resampling.LANCZOS)
        return picture

    def data(self, path: str, side: int = THUMB) -> str:
        """A small JPEG inside the page, so that the page can be sent to somebody; empty where the picture is gone."""
        picture = self.picture(path)
        if picture is None:
            return ""
        small = picture.copy()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        return html.jpeg(small, 85 if side > SIDES[0] else 80)


def _figures(training: Training) -> list[tuple[str, str]]:
    rows = [("references", str(len(training.lesson.pictures)))]
    if training.step:
        rows += [("steps", str(training.step)), ("of computing", duration(training.seconds))]
    if training.kept is not None:
        rows.append(("the step that was kept", str(training.kept)))
        point = latest(training)
        if point is not None and point.step == training.kept:
            rows.append(("its score", number(point.measures.score, 2)))
    if training.version is not None:
        rows.append(("version, the current one" if training.current else "version", str(training.version)))
    return rows


def _references(training: Training, thumbs: _Thumbs) -> list[dict[str, Any]]:
    """The pictures that were learned from, with what each was called and where that came from."""
    lesson = training.lesson
    return [
        {
            "src": thumbs.data(path) if number < MOST_REFERENCES else "",
            "tiny": thumbs.data(path, TINY) if number < MOST_REFERENCES else "",
            "captions": lesson.captions[number] if number < len(lesson.captions) else (),
            "origin": ORIGINS.get(_at(lesson.origins, number), ""),
        }
        for number, path in enumerate(lesson.pictures)
    ]


def _origin(training: Training) -> str:
    """Where the captions came from, where that is the same for all of them."""
    found = set(training.lesson.origins)
    return f"{ORIGINS.get(found.pop(), '').capitalize()}." if len(found) == 1 else ""


def _pairs(training: Training, thumbs: _Thumbs) -> list[dict[str, str]]:
    """What the word shows, and under it the same prompt and seed with the class word."""
    lesson, point = training.lesson, latest(training)
    rows = zip(lesson.previews, _labels(training), strict=True)
    return [
        {
            "now": thumbs.data(_at(point.pictures, number)) if point else "",
            "before": thumbs.data(_at(training.baseline, number)),
            "prompt": prompt,
            "seed": seed,
            "plain": look.said_of(article(lesson.class_word)),
        }
        for number, (look, (prompt, seed)) in enumerate(rows)
        if number < MOST_PAIRS and (point or training.baseline)
    ]


def _at(values: Sequence[str], number: int) -> str:
    return values[number] if number < len(values) else ""


def _labels(training: Training) -> list[tuple[str, str]]:
    """The prompt of each preview, and its seed where several share a prompt."""
    looks, token = training.lesson.previews, training.lesson.token
    times = Counter(look.prompt for look in looks)
    return [(look.said_of(token), f"seed {look.seed}" if times[look.prompt] > 1 else "") for look in looks]


@dataclass(frozen=True)
class _Column:
    name: str
    pictures: Sequence[str]
    kept: bool


def _columns(training: Training) -> list[_Column]:
    """The class word, then the word over the steps."""
    shown = [training.points[at] for at in spread(len(training.points), _kept_at(training))]
    plain = [_Column(article(training.lesson.class_word), training.baseline, False)] if training.baseline else []
    return plain + [_Column(f"step {point.step}", point.pictures, point.step == training.kept) for point in shown]


def _kept_at(training: Training) -> int | None:
    return next((at for at, point in enumerate(training.points) if point.step == training.kept), None)


def spread(count: int, kept: int | None, most: int = MOST_STEPS) -> list[int]:
    """Which of so many points are shown: evenly spread, and always the first, the kept and the last."""
    if count <= most:
        return list(range(count))
    shown = [round(number * (count - 1) / (most - 1)) for number in range(most)]
    if kept is not None and kept not in shown:
        nearest = min(range(1, most - 1), key=lambda at: abs(shown[at] - kept))
        shown[nearest] = kept
    return shown


def _side(columns: int, rows: int) -> int:
    least, greatest = SIDES
    return least if columns * rows > MANY else max(least, min(greatest, ROOM // columns - 8))


def _grid(training: Training, thumbs: _Thumbs) -> dict[str, Any]:
    columns, labels = _columns(training), _labels(training)
    side = _side(max(1, len(columns)), len(labels))
    rows = [
        (*label, [(column, thumbs.data(_at(column.pictures, number), side)) for column in columns])
        for number, label in enumerate(labels if training.points else ())
    ]
    return {"columns": columns, "rows": rows, "side": side, "left_out": max(0, len(training.points) - MOST_STEPS)}


def _sheet(training: Training, thumbs: _Thumbs) -> bytes:
    columns, labels = _columns(training), _labels(training)
    rows = [[thumbs.picture(_at(column.pictures, number)) for column in columns] for number in range(len(labels))]
    kept = next((at for at, column in enumerate(columns) if column.kept), None)
    names = [f"{column.name}, kept" if column.kept else column.name for column in columns]
    cell = 192 if len(columns) * len(labels) <= MANY // 2 else 96
    made = grid(
        rows,
        ["\n".join(label) for label in labels],
        names,
        f"{training.lesson.token} over its steps",
        cell,
        marked_column=kept,
    )
    return html.png(made)


def _numbers(point: Point) -> list[str]:
    measures = point.measures
    values = [point.validation, *(getattr(measures, name) for name in charts.MEANING), measures.score]
    return [number(value) for value in values]


def _settings(training: Training) -> list[tuple[str, str]]:
    lesson = training.lesson
    return [*_flat(lesson.config), *_flat(lesson.pace, "pace."), *_flat(lesson.of, "of.")]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and values as text, what lies deeper with its path before it."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _plain(value)


def _plain(value: Any) -> str:
    """As settings.toml would have it."""
    if isinstance(value, list | tuple):
        return ", ".join(_plain(each) for each in value) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value in (None, "") else str(value)


def _machine(training: Training) -> list[tuple[str, str]]:
    rest = {name: value for name, value in training.machine.items() if name != "peak_memory"}
    return [*effort(training), *_flat(rest)]


def markdown(training: Training, picture: Path) -> str:
    """The report in short, for Prefect's page: the grid inside, small enough to be stored in a database."""
    text = [lead(training), version(training), scores(training)]
    # A word in angle brackets would be taken for a tag and not be seen.
    said = [f"# Training of {training.lesson.persona}", *(escape(each, quote=False) for each in text)]
    said.append(html.shown(picture, "the prompts over the steps"))
    return "\n\n".join([*filter(None, said), f"Training {training.lesson.id}"])
