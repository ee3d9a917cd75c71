"""What pages that stand alone have in common: their look, and pictures small enough to lie inside."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from PIL import Image

from models.picture.reading import open_picture, rgb
from models.system.errors import UserError


def filled(template: str, **values: Any) -> bytes:
    """A template of this package with these values, as the file to be written."""
    environment = Environment(loader=PackageLoader("tasks.pages"), autoescape=True, trim_blocks=True)
    return environment.get_template(template).render(**values).encode()


def small(path: Path, side: int, height: int = 0, quality: int = 85) -> str:
    """The picture as a JPEG for `src=`, no side longer than this. Empty where it is gone: that costs no page."""
    try:
        picture = rgb(open_picture(path))
    except UserError:
        return ""
    picture.thumbnail((side, height or side), Image.Resampling.LANCZOS)
    return jpeg(picture, quality)


def shown(sheet: Path, what: str) -> str:
    """The picture in Markdown, small enough to be stored in Prefect's database. Empty where it is gone."""
    data = small(sheet, 1400, 4000, 80)
    return f"![{what}]({data})" if data else ""


def jpeg(picture: Image.Image, quality: int = 85) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def png(picture: Image.Image) -> bytes:
    """As a file of its own."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
