"""Read pictures exactly as they were approved, and refuse those that the place would change."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from models.picture.reading import DAMAGE_ERRORS
from tasks.publishers.base import ApprovedPicture, ApprovedPost, Kind, PublishError
from tasks.publishers.kind import PlaceRules

RATIO_TOLERANCE = 0.005  # sides are whole numbers of pixels


@dataclass(frozen=True)
class CheckedPicture:
    """The bytes of a picture, and its size in pixels."""

    picture: ApprovedPicture
    data: bytes
    width: int
    height: int


def read_approved(picture: ApprovedPicture) -> bytes:
    """Read the file and check that its bytes are those that were approved."""
    try:
        data = picture.path.read_bytes()
    except OSError as error:
        reason = (error.strerror or "it is not readable").lower()
        raise PublishError(
            f"{picture.path} cannot be read ({reason}): put the approved file back, or approve the post again",
            permanent=True,
        ) from None
    if hashlib.sha256(data).hexdigest() != picture.sha256:
        raise PublishError(
            f"{picture.path} is not the file that was approved: put that one back, or approve the post again",
            permanent=True,
        )
    return data


def read_checked_pictures(parcel: ApprovedPost, rules: PlaceRules) -> list[CheckedPicture]:
    """Read all pictures of a post and check that the place will neither crop nor shrink them."""
    pictures = [_check_picture(picture, parcel.kind, rules) for picture in parcel.pictures]
    shapes = {(picture.width, picture.height) for picture in pictures}
    if len(shapes) > 1:
        sizes = " and ".join(f"{width}x{height}" for width, height in sorted(shapes)[:2])
        raise PublishError(
            f"the pictures of post {parcel.post_id} have different sizes ({sizes}), and {rules.place} would crop them to"
            " the first one's shape: give all of them one size",
            permanent=True,
        )
    return pictures


def _check_picture(picture: ApprovedPicture, kind: Kind, rules: PlaceRules) -> CheckedPicture:
    data = read_approved(picture)
    width, height = _read_size(picture, data, rules.place)
    problem = _describe_problem(width, height, len(data), kind, rules)
    if picture.path.suffix.lower() not in (".jpg", ".jpeg"):  # instagrapi goes by the file's name
        problem = "is a JPEG by another name: let its name end in .jpg"
    if problem:
        raise PublishError(f"{picture.path} {problem}", permanent=True)
    return CheckedPicture(picture, data, width, height)


def _read_size(picture: ApprovedPicture, data: bytes, place: str) -> tuple[int, int]:
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            image.load()
            return image.size
    except DAMAGE_ERRORS:
        raise PublishError(
            f"{picture.path} is not a JPEG file in good order: {place} takes nothing else, so make it one",
            permanent=True,
        ) from None


def _describe_problem(width: int, height: int, size: int, kind: Kind, rules: PlaceRules) -> str:
    """Describe what the place would change and how to avoid it; empty if nothing."""
    story = kind == "story"
    (shape_width, shape_height), max_size = (
        (rules.story_shape, rules.story_size) if story else (rules.feed_shape, rules.feed_size)
    )
    narrowest, widest = shape_width / shape_height - RATIO_TOLERANCE, rules.widest_ratio + RATIO_TOLERANCE
    if not narrowest <= width / height <= widest:
        limits = f"between {shape_width}:{shape_height} and {rules.widest_ratio}:1"
        return f"is {width}x{height}, which {rules.place} would crop: make it {limits}"
    if width < rules.min_width or width > max_size[0] or height > max_size[1]:
        limits = f"{rules.min_width} to {max_size[0]} pixels wide and at most {max_size[1]} high"
        return f"is {width}x{height}, which {rules.place} would resize: make it {limits}"
    if size > rules.jpeg_bytes:
        most = f"{rules.jpeg_bytes / 1e6:g}"
        return f"has {size / 1e6:.1f} MB, and {rules.place} takes {most}: save it with a lower quality"
    return ""


def picture_sizes(pictures: Sequence[CheckedPicture]) -> dict[str, str]:
    """Return the sizes of the pictures by their number, as text."""
    return {f"size {number}": f"{picture.width}x{picture.height}" for number, picture in enumerate(pictures, start=1)}
