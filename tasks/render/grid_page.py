"""A grid of pictures over two fields of a shot: its axes, the changes of its cells, one picture and one page of all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from models.picture.reading import convert_to_rgb, open_picture
from models.picture.shot import Shot
from models.system.errors import UserError
from models.system.files import write_file
from tasks.pages import html
from tasks.pages.contact_sheet import picture_grid
from tasks.settings import mistakes

MAX_CELLS = 200
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
class GridAxis:
    """A field and its values, in order."""

    field: str
    values: tuple[Any, ...]

    def label(self, value: Any) -> str:
        text = f"{value:g}" if isinstance(value, float) else str(value)
        return text if self.field in ("prompt", "negative", "") else f"{self.field} {text}"


NO_AXIS = GridAxis("", ("",))
"""For a grid of one row."""


def parse_axis(text: str) -> GridAxis:
    """Parse `guidance=3,5,7.5` or `prompt=a cat; a dog`: semicolons separate texts, since texts contain commas."""
    field, equals, rest = text.partition("=")
    field = field.strip().replace("-", "_")
    if not equals or not field:
        raise UserError(f"axis {text!r} is not field=values: write it as guidance=3,5,7.5")
    if field not in FIELDS:
        raise UserError(f"axis {text!r}: {field} is no field of a shot{mistakes.did_you_mean(field, FIELDS)}")
    parting = ";" if field in ("prompt", "negative") else ","
    parts = [part.strip() for part in rest.split(parting)]
    if not all(parts) and field != "negative":
        raise UserError(f"axis {text!r} has an empty value: take it out, or say what it should be")
    values = tuple(_parse_value(field, part, text) for part in parts)
    if len(set(values)) < len(values):
        twice = next(value for value in values if values.count(value) > 1)
        raise UserError(f"axis {text!r} has {twice} twice: take one of them out")
    return GridAxis(field, values)


def _parse_value(field: str, part: str, text: str) -> Any:
    if field not in NUMBERS:
        return part
    try:
        return NUMBERS[field](part)
    except ValueError:
        kind = "whole number" if NUMBERS[field] is int else "number"
        raise UserError(f"axis {text!r}: {part!r} is no {kind}: write it as {field}=1,2") from None


def grid_cells(across: GridAxis, down: GridAxis) -> list[dict[str, Any]]:
    """List the changed fields of each cell, row by row."""
    if across.field == down.field:
        raise UserError(f"both axes are {across.field}: let one of them be another field")
    count = len(across.values) * len(down.values)
    if count > MAX_CELLS:
        raise UserError(
            f"{len(across.values)} x {len(down.values)} are {count} cells: ask for at most {MAX_CELLS}, in several grids"
        )
    combinations = [{across.field: one, down.field: other} for other in down.values for one in across.values]
    return [{field: value for field, value in changes.items() if field} for changes in combinations]


def write_grid(
    shots: Sequence[Shot], paths: Sequence[Path], across: GridAxis, down: GridAxis, title: str, folder: Path
) -> tuple[Path, Path]:
    """Write the labelled PNG and the page into a folder named after their content. Equal grids give equal files."""
    place = folder / _folder_name(shots, across, down)
    columns = [across.label(value) for value in across.values]
    rows = [down.label(value) for value in down.values]
    wide = len(columns)
    lines = [paths[start : start + wide] for start in range(0, len(paths), wide)]
    sheet = picture_grid(
        [[_load_thumbnail(path, SHEET_SIDE) for path in line] for line in lines], rows, columns, title, SHEET_SIDE
    )
    write_file(place / "grid.png", html.png_bytes(sheet))
    cell_rows = [
        [
            {"src": html.thumbnail_data_uri(path, PAGE_SIDE), "shot": shot, "path": path.name}
            for path, shot in zip(line, row, strict=True)
        ]
        for line, row in zip(lines, _split_rows(shots, wide), strict=True)
    ]
    values = {"title": title, "columns": columns, "rows": list(zip(rows, cell_rows, strict=True))}
    write_file(
        place / "grid.html", html.render_template("grid.html", **values, across=across, down=down, first=shots[0])
    )
    return place / "grid.png", place / "grid.html"


def _split_rows(shots: Sequence[Shot], wide: int) -> list[Sequence[Shot]]:
    return [shots[start : start + wide] for start in range(0, len(shots), wide)]


def _folder_name(shots: Sequence[Shot], across: GridAxis, down: GridAxis) -> str:
    text = "\n".join([f"{across} {down}", *(shot.id for shot in shots)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _load_thumbnail(path: Path, side: int) -> Image.Image:
    picture = convert_to_rgb(open_picture(path))
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture
