"""What pages that stand alone have in common: their look, and pictures small enough to lie inside."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from PIL import Image

from models.picture.reading import convert_to_rgb, open_picture
from models.system.errors import UserError


def render_template(template: str, **values: Any) -> bytes:
    """Render a template of this package with these values, as the bytes of a file."""
    environment = Environment(loader=PackageLoader("tasks.pages"), autoescape=True, trim_blocks=True)
    return environment.get_template(template).render(**values).encode()


def thumbnail_data_uri(path: Path, side: int, height: int = 0, quality: int = 85) -> str:
    """Return the picture as a JPEG for `src=`, no side longer than this; empty if the file is gone: the page does without."""
    try:
        picture = convert_to_rgb(open_picture(path))
    except UserError:
        return ""
    picture.thumbnail((side, height or side), Image.Resampling.LANCZOS)
    return jpeg_data_uri(picture, quality)


def markdown_image(sheet: Path, what: str) -> str:
    """Return the picture in Markdown, small enough for Prefect's database; empty if the file is gone."""
    data = thumbnail_data_uri(sheet, 1400, 4000, 80)
    return f"![{what}]({data})" if data else ""


def jpeg_data_uri(picture: Image.Image, quality: int = 85) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def png_bytes(picture: Image.Image) -> bytes:
    """Return the picture as the bytes of a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
