"""Pictures read exactly as they were approved, and refused where a place would change them."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from models.picture.reading import DAMAGE
from tasks.publishers.base import Kind, Parcel, Picture, PublishError

MOST_BYTES = 8_000_000
NARROWEST = 320
TALLEST, WIDEST = 4 / 5, 1.91  # width by height, in the feed
STORY_TALLEST = 9 / 16
FEED, STORY = (1080, 1350), (1080, 1920)  # whatever is larger is made smaller on arrival
ROUNDING = 0.005  # a side is a whole number of pixels


@dataclass(frozen=True)
class Exact:
    """The bytes of a picture, and its size in pixels."""

    picture: Picture
    data: bytes
    width: int
    height: int


def read_approved(picture: Picture) -> bytes:
    """The bytes of the file, which are those that were approved."""
    try:
        data = picture.path.read_bytes()
    except OSError as error:
        why = (error.strerror or "it is not readable").lower()
        raise PublishError(
            f"{picture.path} cannot be read ({why}): put the approved file back, or approve the post again",
            permanent=True,
        ) from None
    if hashlib.sha256(data).hexdigest() != picture.sha256:
        raise PublishError(
            f"{picture.path} is not the file that was approved: put that one back, or approve the post again",
            permanent=True,
        )
    return data


def read_exact(parcel: Parcel) -> list[Exact]:
    """Every picture of a parcel, in a form that Instagram takes as it is, without cropping or shrinking it."""
    found = [_exact(each, parcel.kind) for each in parcel.pictures]
    shapes = {(each.width, each.height) for each in found}
    if len(shapes) > 1:
        sizes = " and ".join(f"{width}x{height}" for width, height in sorted(shapes)[:2])
        raise PublishError(
            f"the pictures of post {parcel.post_id} have different sizes ({sizes}), and Instagram would crop them to the"
            " first one's shape: give all of them one size",
            permanent=True,
        )
    return found


def _exact(picture: Picture, kind: Kind) -> Exact:
    data = read_approved(picture)
    width, height = _size(picture, data)
    problem = _problem(width, height, len(data), kind)
    if picture.path.suffix.lower() not in (".jpg", ".jpeg"):  # some go by the name of a file
        problem = "is a JPEG by another name: let its name end in .jpg"
    if problem:
        raise PublishError(f"{picture.path} {problem}", permanent=True)
    return Exact(picture, data, width, height)


def _size(picture: Picture, data: bytes) -> tuple[int, int]:
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            image.load()
            return image.size
    except DAMAGE:
        raise PublishError(
            f"{picture.path} is not a JPEG file in good order: Instagram takes nothing else, so make it one",
            permanent=True,
        ) from None


def _problem(width: int, height: int, size: int, kind: Kind) -> str:
    """What would be changed on arrival, and the way out; nothing where nothing would."""
    tallest, most = (STORY_TALLEST, STORY) if kind == "story" else (TALLEST, FEED)
    shape = width / height
    if not tallest - ROUNDING <= shape <= WIDEST + ROUNDING:
        return f"is {width}x{height}, which Instagram would crop: make it between {_ratio(tallest)} and 1.91:1"
    if width < NARROWEST or width > most[0] or height > most[1]:
        room = f"{NARROWEST} to {most[0]} pixels wide and at most {most[1]} high"
        return f"is {width}x{height}, which Instagram would resize: make it {room}"
    if size > MOST_BYTES:
        return f"has {size / 1e6:.1f} MB, and Instagram takes 8: save it with a lower quality"
    return ""


def _ratio(shape: float) -> str:
    return "9:16" if shape == STORY_TALLEST else "4:5"


def pixels(pictures: Sequence[Exact]) -> dict[str, str]:
    """Sizes by number, as plain values."""
    return {f"size {number}": f"{each.width}x{each.height}" for number, each in enumerate(pictures, start=1)}
