"""One's own pictures: every kind and mode, the crop, captions, and the reason for every file passed over."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.inversion.examples import TrainingExample, read_example
from models.picture.environment import pixel_hash
from models.picture.reading import convert_to_rgb
from models.system.errors import UserError
from tasks.references.own_pictures import FolderPictures, OwnPicture, load_folder

SIDE = 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine"


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth enough that JPEG changes little."""
    small = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def grey_with_detail(width: int, height: int, left: int, top: int, side: int = 40) -> Image.Image:
    image = Image.new("RGB", (width, height), "grey")
    image.paste(
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)), (left, top)
    )
    return image


def run(folder: Path, width: int = SIDE, height: int = SIDE) -> FolderPictures:
    return load_folder(folder, width, height, folder.parent / "artifacts")


def one(folder: Path, width: int = SIDE, height: int = SIDE) -> OwnPicture:
    collected = run(folder, width, height)
    assert collected.skipped == ()
    assert len(collected.pictures) == 1
    return collected.pictures[0]


def reasons(collected: FolderPictures) -> dict[str, str]:
    return {each.path.name: each.reason for each in collected.skipped}


# What is kept


def test_a_picture_is_kept_by_its_pixels(folder: Path) -> None:
    noise(100, 80).save(folder / "a.png")
    picture = one(folder)
    with Image.open(picture.path) as kept:
        assert (kept.size, kept.mode) == ((SIDE, SIDE), "RGB")
        assert pixel_hash(kept) == picture.hash
    assert picture.path == folder.parent / "artifacts" / "own" / picture.hash[:2] / f"{picture.hash}.png"
    assert (picture.source, picture.caption, picture.size) == (folder / "a.png", "", (100, 80))
    assert picture.crop == (10, 0, 90, 80)
    assert picture.upscaled is False


def test_a_second_time_changes_nothing(folder: Path) -> None:
    noise(100, 80).save(folder / "a.png")
    first = run(folder)
    kept = first.pictures[0].path
    os.utime(kept, (1, 1))
    assert run(folder) == first
    assert kept.stat().st_mtime == 1


def test_a_picture_at_the_right_size_keeps_every_pixel(folder: Path) -> None:
    original = noise(SIDE, SIDE)
    original.save(folder / "a.png")
    assert one(folder).hash == pixel_hash(original)


def test_place_and_camera_stay_behind(folder: Path) -> None:
    image = noise(100, 80)
    exif = Image.Exif()
    exif[0x010E] = "planted"
    image.save(folder / "a.jpg", exif=exif, icc_profile=b"planted" * 30)
    assert b"planted" in (folder / "a.jpg").read_bytes()
    assert b"iCCP" not in (content := one(folder).path.read_bytes())
    assert b"eXIf" not in content
    assert b"planted" not in content


@pytest.mark.parametrize("suffix", ["png", "jpg", "JPEG", "webp", "bmp", "tif", "TIFF", "gif"])
def test_every_common_format(suffix: str, folder: Path) -> None:
    original = noise(SIDE, SIDE)
    original.save(folder / f"a.{suffix}")
    with Image.open(one(folder).path) as kept:
        apart = np.abs(np.asarray(kept, dtype=int) - np.asarray(original, dtype=int))
    assert apart.mean() < 6


def sixteen_bits(mode: str) -> Image.Image:
    ramp = np.linspace(0, 65535, SIDE * SIDE).reshape(SIDE, SIDE)
    return Image.fromarray(ramp.astype(np.uint16 if mode == "I;16" else np.int32))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I"])
def test_every_mode(mode: str, folder: Path) -> None:
    image = sixteen_bits(mode) if mode.startswith("I") else noise(SIDE, SIDE).convert(mode)
    image.save(folder / "a.tif")
    with Image.open(one(folder).path) as kept:
        assert kept.mode == "RGB"
        assert np.asarray(kept).std() > 20  # neither white nor black all over


def test_what_is_transparent_lies_on_white(folder: Path) -> None:
    Image.new("RGBA", (SIDE, SIDE), (200, 0, 0, 0)).save(folder / "a.png")
    with Image.open(one(folder).path) as kept:
        assert convert_to_rgb(kept).getpixel((5, 5)) == (255, 255, 255)


def test_how_transparent_it_is_is_kept_and_weighs_in_training(folder: Path) -> None:
    image = noise(2 * SIDE, 2 * SIDE).convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 2 * SIDE, SIDE))
    image.save(folder / "a.png")
    picture = one(folder)
    pixels = read_example(TrainingExample(picture.path, "a fox"), True, 1)
    assert pixels.mask is not None
    assert (pixels.mask.getpixel((5, 5)), pixels.mask.getpixel((5, SIDE - 5))) == (0, 255)
    assert pixels.image.getpixel((5, 5)) == (255, 255, 255)
    image.putalpha(255)
    image.save(folder / "b.png")
    image.putalpha(128)
    image.save(folder / "c.png")
    assert len({each.hash for each in run(folder).pictures}) == 3


def test_the_first_picture_of_an_animation(folder: Path) -> None:
    red, blue = (Image.new("RGB", (SIDE, SIDE), colour) for colour in ("red", "blue"))
    red.save(folder / "a.gif", save_all=True, append_images=[blue])
    with Image.open(one(folder).path) as kept:
        assert kept.getpixel((5, 5)) == (255, 0, 0)


def test_pictures_are_upright(folder: Path) -> None:
    image = Image.new("RGB", (100, 60), "blue")
    image.paste("red", (0, 0, 50, 60))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: what is stored left is up
    image.save(folder / "a.png", exif=exif)
    picture = one(folder, 60, 100)
    assert picture.size == (60, 100)
    with Image.open(picture.path) as kept:
        assert kept.getpixel((30, 10)) == (255, 0, 0)
        assert kept.getpixel((30, 90)) == (0, 0, 255)


def test_the_order_is_that_of_names(folder: Path) -> None:
    for number, name in enumerate(["b.png", "B.png", "a10.png", "a9.png"]):
        noise(SIDE, SIDE, number).save(folder / name)
    assert [picture.source.name for picture in run(folder).pictures] == ["B.png", "a10.png", "a9.png", "b.png"]


# The crop


@pytest.mark.parametrize(("width", "height"), [(640, 128), (128, 640), (500, 333), (65, 64), (20, 13), (1, 7)])
@pytest.mark.parametrize("shape", [(64, 64), (64, 96), (96, 64)])
def test_nothing_is_ever_distorted(width: int, height: int, shape: tuple[int, int], folder: Path) -> None:
    noise(width, height).save(folder / "a.png")
    picture = one(folder, *shape)
    left, top, right, bottom = picture.crop
    assert (right - left) / (bottom - top) == pytest.approx(shape[0] / shape[1], rel=1e-6)
    assert right - left == pytest.approx(width) or bottom - top == pytest.approx(height)
    assert min(picture.crop) >= 0 and right <= width and bottom <= height
    with Image.open(picture.path) as kept:
        assert kept.size == shape


def test_a_circle_stays_round(folder: Path) -> None:
    ys, xs = np.mgrid[:200, :300]
    disc = ((xs - 150) ** 2 + (ys - 100) ** 2 < 70**2).astype(np.uint8) * 255
    Image.fromarray(disc).save(folder / "a.png")
    with Image.open(one(folder).path) as kept:
        white = np.asarray(kept.convert("L")) > 127
    assert abs(int(white.any(axis=0).sum()) - int(white.any(axis=1).sum())) <= 1


@pytest.mark.parametrize("left", [10, 250, 350])
def test_the_window_goes_where_the_detail_is_in_wide_pictures(left: int, folder: Path) -> None:
    grey_with_detail(400, 100, left, 30).save(folder / "a.png")
    crop = one(folder).crop
    assert crop[0] <= left and left + 40 <= crop[2]


@pytest.mark.parametrize("top", [10, 250, 350])
def test_the_window_goes_where_the_detail_is_in_tall_pictures(top: int, folder: Path) -> None:
    grey_with_detail(100, 400, 30, top).save(folder / "a.png")
    crop = one(folder).crop
    assert crop[1] <= top and top + 40 <= crop[3]


def test_without_detail_the_window_is_in_the_middle_and_in_tall_pictures_higher(folder: Path) -> None:
    Image.new("RGB", (400, 100), "grey").save(folder / "a.png")
    assert one(folder).crop == (150, 0, 250, 100)
    (folder / "a.png").unlink()
    Image.new("RGB", (100, 400), "grey").save(folder / "a.png")
    assert one(folder).crop == (0, 100, 100, 200)


def test_detail_everywhere_leaves_the_window_where_it_is_expected(folder: Path) -> None:
    grid = np.random.default_rng(0).integers(0, 255, (100, 400), dtype=np.uint8)
    Image.fromarray(grid).save(folder / "a.png")
    assert one(folder).crop[0] == pytest.approx(150, abs=15)


def test_a_little_more_detail_far_off_does_not_move_the_window(folder: Path) -> None:
    image = grey_with_detail(400, 100, 180, 30)
    image.paste(grey_with_detail(10, 10, 0, 0, 10), (385, 40))
    image.save(folder / "a.png")
    crop = one(folder).crop
    assert crop[0] <= 180 and crop[2] >= 220


@pytest.mark.parametrize(
    ("size", "upscaled"), [((SIDE, SIDE), False), ((63, 200), True), ((200, 63), True), ((65, 67), False)]
)
def test_what_is_too_small_is_upscaled_and_flagged(size: tuple[int, int], upscaled: bool, folder: Path) -> None:
    noise(*size).save(folder / "a.png")
    assert one(folder).upscaled is upscaled


# Captions


def test_captions_stand_beside_the_pictures(folder: Path) -> None:
    noise(SIDE, SIDE, 1).save(folder / "a.png")
    noise(SIDE, SIDE, 2).save(folder / "b.c.png")
    noise(SIDE, SIDE, 3).save(folder / "d.png")
    (folder / "a.txt").write_text(" füchse\r\n im Wald \n", encoding="utf-8-sig")
    (folder / "b.c.TXT").write_text("two")
    (folder / "alone.txt").write_text("nobody's")
    collected = run(folder)
    assert [picture.caption for picture in collected.pictures] == ["füchse im Wald", "two", ""]
    assert collected.skipped == ()


def test_a_caption_in_another_encoding_is_left_out_and_said(folder: Path) -> None:
    noise(SIDE, SIDE).save(folder / "a.png")
    (folder / "a.txt").write_bytes("füchse".encode("latin-1"))
    collected = run(folder)
    assert collected.pictures[0].caption == ""
    assert reasons(collected) == {"a.txt": "is not UTF-8 text, so its picture has no caption: save it as UTF-8"}


def test_a_caption_that_cannot_be_read_is_left_out_and_said(folder: Path) -> None:
    noise(SIDE, SIDE).save(folder / "a.png")
    (folder / "a.txt").mkdir()
    collected = run(folder)
    assert collected.pictures[0].caption == ""
    assert "cannot be read (is a directory), so its picture has no caption" in reasons(collected)["a.txt"]


# What is passed over


def test_three_corrupt_among_eight(folder: Path) -> None:
    for number in range(8):
        noise(200, 200, number).save(folder / f"{number}.png")
    whole = (folder / "1.png").read_bytes()
    (folder / "1.png").write_bytes(whole[: len(whole) // 2])
    (folder / "4.png").write_bytes(b"")
    (folder / "7.png").write_bytes(b"<html>not found</html>")
    collected = run(folder)
    assert [picture.source.name for picture in collected.pictures] == ["0.png", "2.png", "3.png", "5.png", "6.png"]
    found = reasons(collected)
    assert list(found) == ["1.png", "4.png", "7.png"]
    assert found["1.png"].startswith("is torn or not a picture (")
    assert found["4.png"] == found["7.png"] == "is not a picture that can be read: use a PNG, JPEG or WebP file"


def test_the_same_pixels_count_once(folder: Path) -> None:
    noise(100, 80).save(folder / "a.png")
    noise(100, 80).save(folder / "b.bmp")
    noise(100, 80, 1).save(folder / "c.png")
    collected = run(folder)
    assert [picture.source.name for picture in collected.pictures] == ["a.png", "c.png"]
    assert reasons(collected) == {"b.bmp": "has the same pixels as a.png"}


def test_other_files_are_named_and_hidden_ones_ignored(folder: Path) -> None:
    noise(SIDE, SIDE).save(folder / "a.png")
    noise(SIDE, SIDE, 1).save(folder / ".b.png")
    (folder / ".DS_Store").touch()
    (folder / "notes.pdf").touch()
    (folder / "README").touch()
    (folder / "more").mkdir()
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    collected = run(folder)
    assert len(collected.pictures) == 1
    assert reasons(collected) == {
        "README": "is not a picture of a kind that is read here: save it as PNG, JPEG or WebP",
        "gone.png": "is a broken link or no ordinary file",
        "more": "is a folder: only pictures directly in the folder are read",
        "notes.pdf": "is not a picture of a kind that is read here: save it as PNG, JPEG or WebP",
    }


@pytest.mark.timeout(20)
def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    noise(SIDE, SIDE).save(folder / "a.png")
    os.mkfifo(folder / "b.png")
    assert reasons(run(folder)) == {"b.png": "is a broken link or no ordinary file"}


@pytest.mark.parametrize("side", [9000, 60_000])
def test_a_bomb_is_refused(side: int, folder: Path) -> None:
    noise(SIDE, SIDE).save(folder / "a.png")
    head = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    empty = io.BytesIO(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)))
    (folder / "b.png").write_bytes(empty.getvalue() + struct.pack(">I", 0) + b"IDAT" + bytes(4))
    assert reasons(run(folder))["b.png"].startswith("is too large")


def test_a_kind_without_a_range_is_refused(folder: Path) -> None:
    noise(SIDE, SIDE).save(folder / "a.png")
    noise(SIDE, SIDE).convert("F").save(folder / "b.tif")
    assert "floating-point pixels" in reasons(run(folder))["b.tif"]


# Folders that give nothing


def test_a_folder_that_is_missing(folder: Path) -> None:
    with pytest.raises(UserError, match="there is no folder of pictures at .*none: check the path"):
        run(folder / "none")


def test_a_folder_that_is_a_file(folder: Path) -> None:
    noise(SIDE, SIDE).save(folder / "a.png")
    with pytest.raises(UserError, match=r"a\.png is a file: name the folder that your pictures are in"):
        run(folder / "a.png")


@pytest.mark.parametrize("hidden", [True, False])
def test_a_folder_that_is_empty(hidden: bool, folder: Path) -> None:
    if hidden:
        (folder / ".DS_Store").touch()
    with pytest.raises(UserError, match="mine is empty: put your pictures in it"):
        run(folder)


def test_a_folder_without_a_usable_picture(folder: Path) -> None:
    (folder / "a.txt").write_text("a caption")
    with pytest.raises(UserError, match="mine holds no picture that can be used: put PNG, JPEG or WebP files in it"):
        run(folder)
    (folder / "notes.pdf").touch()
    with pytest.raises(
        UserError, match=r"mine holds no picture that can be used \(notes.pdf is not a picture of a kind"
    ):
        run(folder)


def test_a_place_that_cannot_be_written_is_an_error_and_no_reason_to_skip(folder: Path) -> None:
    noise(SIDE, SIDE).save(folder / "a.png")
    (folder.parent / "artifacts").touch()
    with pytest.raises(UserError, match="cannot be written"):
        run(folder)
