"""References from a folder of one's own pictures: read with care, cropped to the model's size, kept by their pixels."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from models.picture.environment import pixel_hash
from models.picture.reading import open_picture, rgb
from models.system.errors import UserError
from models.system.files import path_of, write
from models.system.progress import bar

KINDS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
SOMETIMES = {".avif", ".heic", ".heif"}  # where the Pillow at hand reads them
CAPTION = ".txt"

MAP_SIDE = 256  # detail is looked for in a copy of this size, where noise and grain are gone and faces are not
PREFERENCE = 0.2  # a window as far from the expected place as can be must hold this share of all detail more
MIDDLE, UPPER_THIRD = 1 / 2, 1 / 3  # of the way; both lie on the steps below
STEPS = 96

Box = tuple[float, float, float, float]  # left, top, right and bottom


@dataclass(frozen=True)
class OwnPicture:
    """A picture from the folder, as it will be used."""

    source: Path
    path: Path
    """The normalised PNG."""
    hash: str
    """Of the normalised pixels, and the name of the PNG."""
    caption: str
    size: tuple[int, int]
    """Width and height of the original, upright."""
    crop: Box
    """What was kept, in pixels of the original."""
    upscaled: bool
    """Whether what was kept is smaller than the model wants it."""


@dataclass(frozen=True)
class Skipped:
    """A file that was not used, and why; it may be the caption of a picture that was."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Collected:
    pictures: tuple[OwnPicture, ...]
    skipped: tuple[Skipped, ...]


def collect(folder: Path, side_w: int, side_h: int, artifacts_root: Path) -> Collected:
    """Every usable picture of the folder in the order of names, and every other file with the reason."""
    folder = path_of(folder)
    files = _files(folder)
    captions = {file.stem: file for file in files if file.suffix.lower() == CAPTION}
    others = [file for file in files if file.suffix.lower() != CAPTION]
    pictures: dict[str, OwnPicture] = {}
    skipped: list[Skipped] = []
    with bar("own pictures", len(others), "files") as advance:
        for file in others:
            advance(1)
            try:
                image, size, crop = _fitted(file, side_w, side_h)
            except UserError as error:
                skipped.append(Skipped(file, str(error).removeprefix(f"{file} ")))
                continue
            name = _name(image)
            if name in pictures:
                skipped.append(Skipped(file, f"has the same pixels as {pictures[name].source.name}"))
                continue
            caption, problems = _caption(captions.get(file.stem))
            skipped += problems
            path = _kept(image, artifacts_root / "own" / name[:2] / f"{name}.png")
            upscaled = size[0] < side_w or size[1] < side_h
            pictures[name] = OwnPicture(file, path, name, caption, size, crop, upscaled)
    if not pictures:
        why = f" ({skipped[0].path.name} {skipped[0].reason})" if skipped else ""
        raise UserError(f"{folder} holds no picture that can be used{why}: put PNG, JPEG or WebP files in it")
    return Collected(tuple(pictures.values()), tuple(dict.fromkeys(skipped)))


def _files(folder: Path) -> list[Path]:
    try:
        if not folder.exists():
            raise UserError(f"there is no folder of pictures at {folder}: check the path")
        if not folder.is_dir():
            raise UserError(f"{folder} is a file: name the folder that your pictures are in")
        files = [each for each in folder.iterdir() if not each.name.startswith(".")]
    except OSError as error:
        raise UserError(
            f"{folder} cannot be read ({(error.strerror or str(error)).lower()}): check its rights"
        ) from None
    if not files:
        raise UserError(f"{folder} is empty: put your pictures in it")
    return sorted(files, key=lambda file: file.name)


def _fitted(file: Path, side_w: int, side_h: int) -> tuple[Image.Image, tuple[int, int], Box]:
    """The picture at the model's size, the size it had, and the part of it that was kept."""
    if file.is_dir():
        raise UserError("is a folder: only pictures directly in the folder are read")
    if not file.is_file():  # a pipe would be waited for without end
        raise UserError("is a broken link or no ordinary file")
    if file.suffix.lower() not in KINDS | (SOMETIMES & set(Image.registered_extensions())):
        raise UserError("is not a picture of a kind that is read here: save it as PNG, JPEG or WebP")
    own = open_picture(file)
    seen = rgb(own)
    crop = _window(seen, side_w, side_h)
    image = own.convert("RGBA") if _see_through(own) else seen  # a training weighs less what is transparent
    fitted = image.resize((side_w, side_h), Image.Resampling.LANCZOS, box=crop)
    fitted.info = {}  # place, camera and the like stay where they are
    return fitted, image.size, crop


def _see_through(image: Image.Image) -> bool:
    return image.has_transparency_data and bool((np.asarray(image.convert("RGBA"))[..., 3] < 255).any())


def _window(image: Image.Image, side_w: int, side_h: int) -> Box:
    """The largest part in the wanted shape, moved along the long side to where most detail is."""
    scale = max(side_w / image.width, side_h / image.height)
    width, height = min(side_w / scale, image.width), min(side_h / scale, image.height)
    detail = _detail(image)
    left = (image.width - width) * _way(detail.sum(axis=0), width / image.width, MIDDLE)
    top = (image.height - height) * _way(detail.sum(axis=1), height / image.height, UPPER_THIRD)
    return left, top, min(left + width, image.width), min(top + height, image.height)


def _detail(image: Image.Image) -> np.ndarray:
    """How much neighbouring pixels differ, on a small grey copy [height, width]."""
    scale = min(1.0, MAP_SIDE / max(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    grey = np.asarray(image.convert("L").resize(size, Image.Resampling.BOX), dtype=np.float64)
    across, down = np.diff(grey, axis=1, append=grey[:, -1:]), np.diff(grey, axis=0, append=grey[-1:])
    return np.abs(across) + np.abs(down)


def _way(detail: np.ndarray, share: float, expected: float) -> float:
    """How far along the spare length, 0 to 1, a window of this share of the length is best placed."""
    total = detail.sum()
    if total == 0:
        return expected
    ways = np.arange(STEPS + 1) / STEPS
    starts = ways * (1 - share) * len(detail)
    sums, places = np.concatenate([[0.0], np.cumsum(detail)]), np.arange(len(detail) + 1)
    inside = np.interp(starts + share * len(detail), places, sums) - np.interp(starts, places, sums)
    return float(ways[np.argmax(inside / total - PREFERENCE * np.abs(ways - expected))])


def _caption(file: Path | None) -> tuple[str, list[Skipped]]:
    """What stands beside the picture, on one line. A picture is worth keeping when its caption cannot be read."""
    if file is None:
        return "", []
    try:
        return " ".join(file.read_text(encoding="utf-8-sig").split()), []
    except UnicodeDecodeError:
        why = "is not UTF-8 text, so its picture has no caption: save it as UTF-8"
    except OSError as error:
        why = f"cannot be read ({(error.strerror or str(error)).lower()}), so its picture has no caption: check its rights"
    return "", [Skipped(file, why)]


def _name(image: Image.Image) -> str:
    """The hash of its pixels, and of how transparent they are where any is."""
    opaque = pixel_hash(rgb(image))
    if image.mode == "RGB":
        return opaque
    return hashlib.sha256(f"{opaque} ".encode() + image.getchannel("A").tobytes()).hexdigest()


def _kept(image: Image.Image, path: Path) -> Path:
    if not path.exists():
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        write(path, buffer.getvalue())
    return path
