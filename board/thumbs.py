"""Small copies of pictures, made on request and kept in the studio's cache."""

from __future__ import annotations

import io
import re
from pathlib import Path
from threading import BoundedSemaphore
from typing import Literal, get_args

from PIL import Image

from models.picture.reading import convert_to_rgb, open_picture
from models.system.files import write_file

Width = Literal[96, 240, 480, 1080]
WIDTHS: tuple[int, ...] = get_args(Width)
ID = r"^[0-9a-f]{8,64}$"
QUALITY = 84


class PictureThumbnails:
    """Thumbnails, named by their picture's hash, so that none has to be made again."""

    def __init__(self, studio: Path) -> None:
        self.folder = studio / "cache" / "thumbs"
        self._turns = BoundedSemaphore(2)  # a page asks for dozens at once, and each takes memory

    def thumbnail_file(self, source: Path, name: str, width: Width) -> Path:
        """Return the file of a copy of this width; `name` is the hash of the picture or of its shot."""
        assert re.match(ID, name), "a name is never a path"
        path = self.folder / name[:2] / f"{name}-{width}.webp"
        if not path.is_file():
            with self._turns:
                if not path.is_file():
                    write_file(path, _encode_thumbnail(source, width))
        return path


def _encode_thumbnail(source: Path, width: int) -> bytes:
    image = convert_to_rgb(open_picture(source))
    if image.width != width:
        # Pictures of a small model are tiny; enlarged by the browser they would be smeared in its own way.
        way = Image.Resampling.LANCZOS
        image = image.resize((width, max(1, round(image.height * width / image.width))), way)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY, method=2)
    return buffer.getvalue()
