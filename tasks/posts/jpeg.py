"""Turn a master picture into the JPEG that is approved and published: its exact size, its bytes, its label."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageFilter, ImageOps

from models.picture.reading import convert_to_rgb, open_picture
from models.system.files import write_file
from tasks.persona.calendar_section import Size
from tasks.publishers import place_rules
from tasks.publishers.disclosure import encode_jpeg
from tasks.settings.settings import LoadedSettings

FOLDER = "ready"
SIZES: Mapping[Size, tuple[int, int]] = {
    "square": (1080, 1080),
    "portrait": (1080, 1350),
    "landscape": (1080, 566),
    "story": (1080, 1920),
}
"""Width and height of the published JPEG; Instagram shrinks anything larger."""
FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
    "refine": Image.Resampling.LANCZOS,  # for the rest after the model's own pass
}
MAX_SQUARE_ONLY_SIDE = (
    256  # models at home at this side or below learned from squares alone: other shapes come out doubled or smeared
)
MAX_AREA_FACTOR = 1.02  # a picture of more pixels than a model was trained at repeats itself
MAX_CROPPED_SHARE = 0.25  # a centre crop that takes more than this takes heads off
MIN_QUALITY, QUALITY_STEP = 40, 4


@dataclass(frozen=True)
class PublishedJpeg:
    """The JPEG of a post, as it is approved and published."""

    file: str
    """From the studio, with forward slashes."""
    sha256: str
    width: int
    height: int


def make_jpeg(master: Path, size: Size, alt: str, loaded: LoadedSettings) -> PublishedJpeg:
    """Make the JPEG of a master picture. The same picture, size, text and settings give the same bytes, under one name."""
    settings = loaded.settings.pictures
    width, height = SIZES[size]
    shaped = fit_picture(open_picture(master), (width, height), FILTERS[settings.upscale])
    max_bytes = place_rules(loaded).jpeg_bytes
    data = compress_to(lambda quality: encode_jpeg(shaped, quality, alt), settings.quality, max_bytes)
    digest = hashlib.sha256(data).hexdigest()
    path = loaded.studio / FOLDER / digest[:2] / f"{digest}.jpg"
    if not _is_intact(path, digest):
        write_file(path, data)
    return PublishedJpeg(path.relative_to(loaded.studio).as_posix(), digest, width, height)


def render_size(size: Size, side: int) -> tuple[int, int]:
    """Return the width and height at which a model trained at `side` renders such a picture best.

    Sides are multiples of a sixteenth of `side` (64 for SDXL, whose trained shapes these are), nearest in shape and then
    in area. The remaining centre crop takes a few hundredths.
    """
    if side <= MAX_SQUARE_ONLY_SIDE:
        return side, side
    shape, step = _aspect_ratio(size), max(8, side // 128 * 8)
    sides = range(step, 3 * side, step)
    fitting = [(width, height) for width in sides for height in sides if width * height <= MAX_AREA_FACTOR * side**2]

    def distance(pair: tuple[int, int]) -> float:
        width, height = pair
        return 4 * abs(math.log(width / height / shape)) + abs(math.log(width * height / side**2))

    return min(fitting, key=distance)


def fit_picture(image: Image.Image, size: tuple[int, int], resample: Image.Resampling) -> Image.Image:
    """Fit the picture to exactly this size: cropped at the centre, or whole before a blurred copy if a crop takes too much."""
    plain = convert_to_rgb(image)
    if plain.size == size:
        return plain
    cut = ImageOps.fit(plain, size, resample)
    kept_share = min(plain.width / plain.height, size[0] / size[1]) / max(plain.width / plain.height, size[0] / size[1])
    if 1 - kept_share <= MAX_CROPPED_SHARE:
        return cut
    whole = ImageOps.contain(plain, size, resample)
    ground = cut.filter(ImageFilter.GaussianBlur(min(size) / 20))
    ground.paste(whole, ((size[0] - whole.width) // 2, (size[1] - whole.height) // 2))
    return ground


def compress_to(make: Callable[[int], bytes], quality: int, most: int) -> bytes:
    """Encode at this quality, or at the best lower quality that fits the byte limit."""
    data = make(quality)
    while len(data) > most and quality > MIN_QUALITY:
        quality = max(MIN_QUALITY, quality - QUALITY_STEP)
        data = make(quality)
    return data


def _aspect_ratio(size: Size) -> float:
    width, height = SIZES[size]
    return width / height


def _is_intact(path: Path, digest: str) -> bool:
    """Tell whether the file exists and its hash matches its name; a damaged file is written again."""
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest
