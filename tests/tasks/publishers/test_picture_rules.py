"""Pictures go out as approved, or not at all."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tasks.publishers.base import ApprovedPicture, ApprovedPost, PublishError
from tasks.publishers.instagram_rules import INSTAGRAM_RULES
from tasks.publishers.picture_rules import read_checked_pictures


def with_picture(post: ApprovedPost, path: Path) -> ApprovedPost:
    return replace(post, pictures=(ApprovedPicture(path, hashlib.sha256(path.read_bytes()).hexdigest()),))


@pytest.mark.parametrize(
    ("kind", "size", "sentence"),
    [
        ("photo", (540, 675), ""),
        ("photo", (1080, 1350), ""),
        ("photo", (1080, 566), ""),
        ("photo", (1080, 1440), "is 1080x1440, which Instagram would crop: make it between 4:5 and 1.91:1"),
        ("photo", (1080, 500), "would crop"),
        ("photo", (1440, 1440), "is 1440x1440, which Instagram would resize: make it 320 to 1080 pixels wide"),
        ("photo", (300, 300), "would resize"),
        ("story", (1080, 1920), ""),
        ("story", (540, 960), ""),
        ("story", (540, 1200), "would crop: make it between 9:16 and 1.91:1"),
    ],
)
def test_sizes_that_would_be_changed_are_refused(
    kind: str, size: tuple[int, int], sentence: str, parcel: Callable[..., ApprovedPost], tmp_path: Path
) -> None:
    path = tmp_path / "picture.jpg"
    Image.new("RGB", size, "teal").save(path)
    post = with_picture(parcel(kind), path)
    if not sentence:
        exact = read_checked_pictures(post, INSTAGRAM_RULES)[0]
        assert (exact.width, exact.height, exact.data) == (*size, path.read_bytes())
        return
    with pytest.raises(PublishError, match=sentence) as caught:
        read_checked_pictures(post, INSTAGRAM_RULES)
    assert caught.value.permanent


def test_a_file_that_changed_since_its_approval_is_refused(parcel: Callable[..., ApprovedPost]) -> None:
    post = parcel()
    with post.pictures[0].path.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(PublishError, match="is not the file that was approved") as caught:
        read_checked_pictures(post, INSTAGRAM_RULES)
    assert caught.value.permanent
    post.pictures[0].path.unlink()
    with pytest.raises(PublishError, match="cannot be read"):
        read_checked_pictures(post, INSTAGRAM_RULES)


@pytest.mark.parametrize("content", ["png", "torn", "text"])
def test_only_a_whole_jpeg_will_do(content: str, parcel: Callable[..., ApprovedPost], tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    Image.new("RGB", (540, 540), "teal").save(path, "PNG" if content == "png" else "JPEG")
    if content != "png":
        path.write_bytes(path.read_bytes()[:400] if content == "torn" else b"hello")
    with pytest.raises(PublishError, match="is not a JPEG file in good order"):
        read_checked_pictures(with_picture(parcel(), path), INSTAGRAM_RULES)


def test_its_name_has_to_say_so(parcel: Callable[..., ApprovedPost], tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    Image.new("RGB", (540, 540), "teal").save(path, "JPEG")
    with pytest.raises(PublishError, match=r"let its name end in \.jpg"):
        read_checked_pictures(with_picture(parcel(), path), INSTAGRAM_RULES)


def test_an_album_of_several_shapes_is_refused(parcel: Callable[..., ApprovedPost], tmp_path: Path) -> None:
    post = parcel("album")
    path = tmp_path / "square.jpg"
    Image.new("RGB", (540, 540), "teal").save(path)
    odd = ApprovedPicture(path, hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(PublishError, match=r"different sizes \(540x540 and 540x675\)"):
        read_checked_pictures(replace(post, pictures=(*post.pictures[:2], odd)), INSTAGRAM_RULES)
