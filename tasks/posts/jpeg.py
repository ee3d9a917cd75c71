"""From a master picture to the JPEG that is approved and published: its exact size, its bytes, its label."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageFilter, ImageOps

from models.picture.reading import open_picture, rgb
from models.system.files import write
from tasks.persona.calendar_section import Size
from tasks.publishers.disclosure import jpeg
from tasks.publishers.instagram_picture_rules import MOST_BYTES
from tasks.settings.settings import Loaded

FOLDER = "ready"
SIZES: Mapping[Size, tuple[int, int]] = {
    "square": (1080, 1080),
    "portrait": (1080, 1350),
    "landscape": (1080, 566),
    "story": (1080, 1920),
}
"""Width and height of what is published; whatever is larger would be made smaller on arrival."""
FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
    "refine": Image.Resampling.LANCZOS,  # for what is still missing after the model's own pass
}
ONE_SHAPE = (
    256  # models at home at this side or below learned from squares alone: other shapes come out doubled or smeared
)
AREA_MOST = 1.02  # a picture of more pixels than a model was trained at repeats itself
MOST_CROPPED = 0.25  # a centre crop that takes more than this takes heads off
LEAST_QUALITY, QUALITY_STEP = 40, 4


@dataclass(frozen=True)
class Ready:
    """The JPEG of a post, as it is approved and published."""

    file: str
    """From the studio, with forward slashes."""
    sha256: str
    width: int
    height: int


def ready(master: Path, size: Size, alt: str, loaded: Loaded) -> Ready:
    """Make the JPEG of a master picture. The same picture, size, text and settings give the same bytes, under one name."""
    knobs = loaded.settings.pictures
    width, height = SIZES[size]
    shaped = fitted(open_picture(master), (width, height), FILTERS[knobs.upscale])
    data = within(lambda quality: jpeg(shaped, quality, alt), knobs.quality)
    digest = hashlib.sha256(data).hexdigest()
    path = loaded.studio / FOLDER / digest[:2] / f"{digest}.jpg"
    if not _is_there(path, digest):
        write(path, data)
    return Ready(path.relative_to(loaded.studio).as_posix(), digest, width, height)


def render_size(size: Size, side: int) -> tuple[int, int]:
    """The width and height at which a model at home at `side` makes such a picture best.

    Sides are multiples of a sixteenth of `side` (64 for SDXL, whose trained shapes these are), nearest in shape and then
    in area. The centre crop that is left to do takes a few hundredths.
    """
    if side <= ONE_SHAPE:
        return side, side
    shape, step = _shape(size), max(8, side // 128 * 8)
    sides = range(step, 3 * side, step)
    fitting = [(width, height) for width in sides for height in sides if width * height <= AREA_MOST * side**2]

    def distance(pair: tuple[int, int]) -> float:
        width, height = pair
        return 4 * abs(math.log(width / height / shape)) + abs(math.log(width * height / side**2))

    return min(fitting, key=distance)


def fitted(image: Image.Image, size: tuple[int, int], resample: Image.Resampling) -> Image.Image:
    """The picture at exactly this size: cut at its centre, or whole before a blurred copy where a cut would take too much."""
    plain = rgb(image)
    if plain.size == size:
        return plain
    cut = ImageOps.fit(plain, size, resample)
    kept = min(plain.width / plain.height, size[0] / size[1]) / max(plain.width / plain.height, size[0] / size[1])
    if 1 - kept <= MOST_CROPPED:
        return cut
    whole = ImageOps.contain(plain, size, resample)
    ground = cut.filter(ImageFilter.GaussianBlur(min(size) / 20))
    ground.paste(whole, ((size[0] - whole.width) // 2, (size[1] - whole.height) // 2))
    return ground


def within(make: Callable[[int], bytes], quality: int, most: int = MOST_BYTES) -> bytes:
    """The bytes at this quality, or at the best lower one at which they are few enough."""
    data = make(quality)
    while len(data) > most and quality > LEAST_QUALITY:
        quality = max(LEAST_QUALITY, quality - QUALITY_STEP)
        data = make(quality)
    return data


def _shape(size: Size) -> float:
    width, height = SIZES[size]
    return width / height


def _is_there(path: Path, digest: str) -> bool:
    """Whole, that is: a file that is not what its name says is made again."""
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest
