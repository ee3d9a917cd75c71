"""A grid of pictures over two fields of a shot: what each axis says, the shots of its cells, one picture and a page of all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from models.picture.reading import open_picture, rgb
from models.picture.shot import Shot
from models.system.errors import UserError
from models.system.files import write
from tasks.pages import html
from tasks.pages.contact_sheet import grid
from tasks.settings import mistakes

MOST_CELLS = 200
TEXTS = ("prompt", "negative", "sampler")
NUMBERS: Mapping[str, Callable[[str], float]] = {
    "seed": int,
    "steps": int,
    "guidance": float,
    "guidance_until": float,
    "width": int,
    "height": int,
    "strength": float,
}
NAMES = ("embedding", "lora", "model")
FIELDS = (*TEXTS, *NUMBERS, *NAMES)
NONE = "none"
SHEET_SIDE, PAGE_SIDE = 256, 320


@dataclass(frozen=True)
class Axis:
    """A field and its values, in order."""

    field: str
    values: tuple[Any, ...]

    def label(self, value: Any) -> str:
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        return shown if self.field in ("prompt", "negative", "") else f"{self.field} {shown}"


NO_AXIS = Axis("", ("",))
"""For a grid of one row."""


def axis(text: str) -> Axis:
    """`guidance=3,5,7.5` or `prompt=a cat; a dog`: texts are parted by semicolons, since commas belong to them."""
    field, equals, rest = text.partition("=")
    field = field.strip().replace("-", "_")
    if not equals or not field:
        raise UserError(f"axis {text!r} is not field=values: write it as guidance=3,5,7.5")
    if field not in FIELDS:
        raise UserError(f"axis {text!r}: {field} is no field of a shot{mistakes.near(field, FIELDS)}")
    parting = ";" if field in ("prompt", "negative") else ","
    parts = [part.strip() for part in rest.split(parting)]
    if not all(parts) and field != "negative":
        raise UserError(f"axis {text!r} has an empty value: take it out, or say what it should be")
    values = tuple(_value(field, part, text) for part in parts)
    if len(set(values)) < len(values):
        twice = next(value for value in values if values.count(value) > 1)
        raise UserError(f"axis {text!r} has {twice} twice: take one of them out")
    return Axis(field, values)


def _value(field: str, part: str, text: str) -> Any:
    if field not in NUMBERS:
        return part
    try:
        return NUMBERS[field](part)
    except ValueError:
        kind = "whole number" if NUMBERS[field] is int else "number"
        raise UserError(f"axis {text!r}: {part!r} is no {kind}: write it as {field}=1,2") from None


def cells(across: Axis, down: Axis) -> list[dict[str, Any]]:
    """What each cell changes, row by row."""
    if across.field == down.field:
        raise UserError(f"both axes are {across.field}: let one of them be another field")
    count = len(across.values) * len(down.values)
    if count > MOST_CELLS:
        raise UserError(
            f"{len(across.values)} x {len(down.values)} are {count} cells: ask for at most {MOST_CELLS}, in several grids"
        )
    found = [{across.field: one, down.field: other} for other in down.values for one in across.values]
    return [{field: value for field, value in each.items() if field} for each in found]


def report(
    shots: Sequence[Shot], paths: Sequence[Path], across: Axis, down: Axis, title: str, folder: Path
) -> tuple[Path, Path]:
    """The labelled PNG and the page, in a folder named by what they show. Made again they are the same."""
    place = folder / _name(shots, across, down)
    columns = [across.label(value) for value in across.values]
    rows = [down.label(value) for value in down.values]
    wide = len(columns)
    lines = [paths[start : start + wide] for start in range(0, len(paths), wide)]
    sheet = grid([[_small(path, SHEET_SIDE) for path in line] for line in lines], rows, columns, title, SHEET_SIDE)
    write(place / "grid.png", html.png(sheet))
    shown = [
        [
            {"src": html.small(path, PAGE_SIDE), "shot": shot, "path": path.name}
            for path, shot in zip(line, own, strict=True)
        ]
        for line, own in zip(lines, _lines(shots, wide), strict=True)
    ]
    values = {"title": title, "columns": columns, "rows": list(zip(rows, shown, strict=True))}
    write(place / "grid.html", html.filled("grid.html", **values, across=across, down=down, first=shots[0]))
    return place / "grid.png", place / "grid.html"


def _lines(shots: Sequence[Shot], wide: int) -> list[Sequence[Shot]]:
    return [shots[start : start + wide] for start in range(0, len(shots), wide)]


def _name(shots: Sequence[Shot], across: Axis, down: Axis) -> str:
    said = "\n".join([f"{across} {down}", *(shot.id for shot in shots)])
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _small(path: Path, side: int) -> Image.Image:
    picture = rgb(open_picture(path))
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture
