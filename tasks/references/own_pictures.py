"""Read a folder of the user's own pictures: crop them to the model's size and store them under the hash of their pixels."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from models.picture.environment import pixel_hash
from models.picture.reading import convert_to_rgb, open_picture
from models.system.errors import UserError
from models.system.files import expand_path, write_file
from models.system.progress import show_progress

PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
OPTIONAL_SUFFIXES = {".avif", ".heic", ".heif"}  # only where the installed Pillow reads them
CAPTION_SUFFIX = ".txt"

DETAIL_MAP_SIDE = 256  # detail is measured in a copy of this size: without noise and grain, with faces
DISTANCE_PENALTY = 0.2  # share of all detail that a window at the far end must hold in addition
MIDDLE, UPPER_THIRD = 1 / 2, 1 / 3  # expected offsets; both are multiples of 1 / OFFSET_STEPS
OFFSET_STEPS = 96

Box = tuple[float, float, float, float]  # left, top, right and bottom


@dataclass(frozen=True)
class OwnPicture:
    """A picture from the folder, as it will be used."""

    source: Path
    path: Path
    """The normalised PNG."""
    hash: str
    """Hash of the normalised pixels, which names the PNG."""
    caption: str
    size: tuple[int, int]
    """Width and height of the original, upright."""
    crop: Box
    """The part that was kept, in pixels of the original."""
    upscaled: bool
    """True if the kept part was smaller than the model's size."""


@dataclass(frozen=True)
class SkippedFile:
    """A file that was not used, and the reason; it may be the caption of a picture that was used."""

    path: Path
    reason: str


@dataclass(frozen=True)
class FolderPictures:
    pictures: tuple[OwnPicture, ...]
    skipped: tuple[SkippedFile, ...]


def load_folder(folder: Path, side_w: int, side_h: int, artifacts_root: Path) -> FolderPictures:
    """Load every usable picture of the folder, ordered by name; list every other file with its reason."""
    folder = expand_path(folder)
    files = _list_files(folder)
    captions = {file.stem: file for file in files if file.suffix.lower() == CAPTION_SUFFIX}
    others = [file for file in files if file.suffix.lower() != CAPTION_SUFFIX]
    pictures: dict[str, OwnPicture] = {}
    skipped: list[SkippedFile] = []
    with show_progress("own pictures", len(others), "files") as advance:
        for file in others:
            advance(1)
            try:
                image, size, crop = _fit_to_model(file, side_w, side_h)
            except UserError as error:
                skipped.append(SkippedFile(file, str(error).removeprefix(f"{file} ")))
                continue
            name = _picture_hash(image)
            if name in pictures:
                skipped.append(SkippedFile(file, f"has the same pixels as {pictures[name].source.name}"))
                continue
            caption, problems = _read_caption(captions.get(file.stem))
            skipped += problems
            path = _write_once(image, artifacts_root / "own" / name[:2] / f"{name}.png")
            upscaled = size[0] < side_w or size[1] < side_h
            pictures[name] = OwnPicture(file, path, name, caption, size, crop, upscaled)
    if not pictures:
        first_reason = f" ({skipped[0].path.name} {skipped[0].reason})" if skipped else ""
        raise UserError(f"{folder} holds no picture that can be used{first_reason}: put PNG, JPEG or WebP files in it")
    return FolderPictures(tuple(pictures.values()), tuple(dict.fromkeys(skipped)))


def _list_files(folder: Path) -> list[Path]:
    try:
        if not folder.exists():
            raise UserError(f"there is no folder of pictures at {folder}: check the path")
        if not folder.is_dir():
            raise UserError(f"{folder} is a file: name the folder that your pictures are in")
        files = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise UserError(
            f"{folder} cannot be read ({(error.strerror or str(error)).lower()}): check its rights"
        ) from None
    if not files:
        raise UserError(f"{folder} is empty: put your pictures in it")
    return sorted(files, key=lambda file: file.name)


def _fit_to_model(file: Path, side_w: int, side_h: int) -> tuple[Image.Image, tuple[int, int], Box]:
    """Return the picture at the model's size, its original size, and the part that was kept."""
    if file.is_dir():
        raise UserError("is a folder: only pictures directly in the folder are read")
    if not file.is_file():  # reading a pipe could wait forever
        raise UserError("is a broken link or no ordinary file")
    if file.suffix.lower() not in PICTURE_SUFFIXES | (OPTIONAL_SUFFIXES & set(Image.registered_extensions())):
        raise UserError("is not a picture of a kind that is read here: save it as PNG, JPEG or WebP")
    original = open_picture(file)
    upright = convert_to_rgb(original)
    crop = _best_window(upright, side_w, side_h)
    # Training gives transparent pixels less weight.
    image = original.convert("RGBA") if _has_transparency(original) else upright
    fitted = image.resize((side_w, side_h), Image.Resampling.LANCZOS, box=crop)
    fitted.info = {}  # removes location, camera and other metadata
    return fitted, image.size, crop


def _has_transparency(image: Image.Image) -> bool:
    return image.has_transparency_data and bool((np.asarray(image.convert("RGBA"))[..., 3] < 255).any())


def _best_window(image: Image.Image, side_w: int, side_h: int) -> Box:
    """Return the largest crop of the wanted shape, placed along the long side where most detail is."""
    scale = max(side_w / image.width, side_h / image.height)
    width, height = min(side_w / scale, image.width), min(side_h / scale, image.height)
    detail = _detail_map(image)
    left = (image.width - width) * _best_offset(detail.sum(axis=0), width / image.width, MIDDLE)
    top = (image.height - height) * _best_offset(detail.sum(axis=1), height / image.height, UPPER_THIRD)
    return left, top, min(left + width, image.width), min(top + height, image.height)


def _detail_map(image: Image.Image) -> np.ndarray:
    """Measure how much neighbouring pixels differ, on a small grey copy [height, width]."""
    scale = min(1.0, DETAIL_MAP_SIDE / max(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    grey = np.asarray(image.convert("L").resize(size, Image.Resampling.BOX), dtype=np.float64)
    across, down = np.diff(grey, axis=1, append=grey[:, -1:]), np.diff(grey, axis=0, append=grey[-1:])
    return np.abs(across) + np.abs(down)


def _best_offset(detail: np.ndarray, share: float, expected: float) -> float:
    """Return the best position, 0 to 1, of a window that covers this share of the length."""
    total = detail.sum()
    if total == 0:
        return expected
    offsets = np.arange(OFFSET_STEPS + 1) / OFFSET_STEPS
    starts = offsets * (1 - share) * len(detail)
    sums, positions = np.concatenate([[0.0], np.cumsum(detail)]), np.arange(len(detail) + 1)
    inside = np.interp(starts + share * len(detail), positions, sums) - np.interp(starts, positions, sums)
    return float(offsets[np.argmax(inside / total - DISTANCE_PENALTY * np.abs(offsets - expected))])


def _read_caption(file: Path | None) -> tuple[str, list[SkippedFile]]:
    """Return the caption file's text on one line; a picture whose caption cannot be read is still used."""
    if file is None:
        return "", []
    try:
        return " ".join(file.read_text(encoding="utf-8-sig").split()), []
    except UnicodeDecodeError:
        reason = "is not UTF-8 text, so its picture has no caption: save it as UTF-8"
    except OSError as error:
        reason = f"cannot be read ({(error.strerror or str(error)).lower()}), so its picture has no caption: check its rights"
    return "", [SkippedFile(file, reason)]


def _picture_hash(image: Image.Image) -> str:
    """Hash the pixels, and their transparency if any is transparent."""
    opaque = pixel_hash(convert_to_rgb(image))
    if image.mode == "RGB":
        return opaque
    return hashlib.sha256(f"{opaque} ".encode() + image.getchannel("A").tobytes()).hexdigest()


def _write_once(image: Image.Image, path: Path) -> Path:
    if not path.exists():
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        write_file(path, buffer.getvalue())
    return path
