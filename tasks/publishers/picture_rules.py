"""Read pictures exactly as they were approved, and refuse those that Instagram would change."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from models.picture.reading import DAMAGE_ERRORS
from tasks.publishers.base import ApprovedPicture, ApprovedPost, Kind, PublishError

MAX_JPEG_BYTES = 8_000_000
MIN_WIDTH_PIXELS = 320
MIN_FEED_RATIO, MAX_FEED_RATIO = 4 / 5, 1.91  # width by height, in the feed
MIN_STORY_RATIO = 9 / 16
MAX_FEED_SIZE, MAX_STORY_SIZE = (1080, 1350), (1080, 1920)  # Instagram shrinks what is larger
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


def read_checked_pictures(parcel: ApprovedPost) -> list[CheckedPicture]:
    """Read all pictures of a post and check that Instagram will neither crop nor shrink them."""
    pictures = [_check_picture(picture, parcel.kind) for picture in parcel.pictures]
    shapes = {(picture.width, picture.height) for picture in pictures}
    if len(shapes) > 1:
        sizes = " and ".join(f"{width}x{height}" for width, height in sorted(shapes)[:2])
        raise PublishError(
            f"the pictures of post {parcel.post_id} have different sizes ({sizes}), and Instagram would crop them to the"
            " first one's shape: give all of them one size",
            permanent=True,
        )
    return pictures


def _check_picture(picture: ApprovedPicture, kind: Kind) -> CheckedPicture:
    data = read_approved(picture)
    width, height = _read_size(picture, data)
    problem = _describe_problem(width, height, len(data), kind)
    if picture.path.suffix.lower() not in (".jpg", ".jpeg"):  # instagrapi goes by the file's name
        problem = "is a JPEG by another name: let its name end in .jpg"
    if problem:
        raise PublishError(f"{picture.path} {problem}", permanent=True)
    return CheckedPicture(picture, data, width, height)


def _read_size(picture: ApprovedPicture, data: bytes) -> tuple[int, int]:
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            image.load()
            return image.size
    except DAMAGE_ERRORS:
        raise PublishError(
            f"{picture.path} is not a JPEG file in good order: Instagram takes nothing else, so make it one",
            permanent=True,
        ) from None


def _describe_problem(width: int, height: int, size: int, kind: Kind) -> str:
    """Describe what Instagram would change and how to avoid it; empty if nothing."""
    min_ratio, max_size = (MIN_STORY_RATIO, MAX_STORY_SIZE) if kind == "story" else (MIN_FEED_RATIO, MAX_FEED_SIZE)
    ratio = width / height
    if not min_ratio - RATIO_TOLERANCE <= ratio <= MAX_FEED_RATIO + RATIO_TOLERANCE:
        return f"is {width}x{height}, which Instagram would crop: make it between {_ratio_text(min_ratio)} and 1.91:1"
    if width < MIN_WIDTH_PIXELS or width > max_size[0] or height > max_size[1]:
        limits = f"{MIN_WIDTH_PIXELS} to {max_size[0]} pixels wide and at most {max_size[1]} high"
        return f"is {width}x{height}, which Instagram would resize: make it {limits}"
    if size > MAX_JPEG_BYTES:
        return f"has {size / 1e6:.1f} MB, and Instagram takes 8: save it with a lower quality"
    return ""


def _ratio_text(ratio: float) -> str:
    return "9:16" if ratio == MIN_STORY_RATIO else "4:5"


def picture_sizes(pictures: Sequence[CheckedPicture]) -> dict[str, str]:
    """Return the sizes of the pictures by their number, as text."""
    return {f"size {number}": f"{picture.width}x{picture.height}" for number, picture in enumerate(pictures, start=1)}
