"""What a PNG says of itself, and what is refused."""

import json
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from models.picture import environment, provenance, reading
from models.picture.shot import Lora, Ref, Shot
from models.sdxl.renderer import RenderedPicture, Renderer
from models.system import files
from models.system.errors import UserError


@pytest.fixture(scope="module")
def picture(model: Renderer) -> RenderedPicture:
    shot = Shot(prompt="a röd cat, (forest:1.2)", model=model.source.ref, seed=7, width=64, height=72, steps=2)
    return next(model.generate([shot.with_changes(negative="a dog")]))


def test_a_picture_tells_all_that_it_takes_to_make_it_again(picture: RenderedPicture, tmp_path: Path) -> None:
    files.write_file(tmp_path / "a.png", picture.encode_png())
    image, record = provenance.read_picture(tmp_path / "a.png")
    assert record.shot == picture.shot
    assert record.shot.id == picture.shot.id
    assert record.environment == picture.environment
    assert record.pixels == environment.pixel_hash(image) == environment.pixel_hash(picture.image)
    provenance.check_pixels(tmp_path / "a.png", image, record)


def test_other_tools_find_the_parameters(picture: RenderedPicture) -> None:
    text = provenance.format_parameters(
        picture.shot.with_changes(model=Ref("/home/anna/models/tiny.safetensors", "a" * 64))
    )
    assert text.splitlines() == [
        "a röd cat, (forest:1.2)",
        "Negative prompt: a dog",
        "Steps: 2, Sampler: euler, CFG scale: 5, Seed: 7, Size: 64x72, Model: tiny, Model hash: aaaaaaaaaa",
    ]
    worn = picture.shot.with_changes(
        loras=(Lora("/x/ink.safetensors", "b" * 64, 0.5),), embeddings=(Ref("/x/pip.st", "c" * 64),)
    )
    assert 'TI hashes: "pip: cccccccccc", Lora hashes: "ink: bbbbbbbbbb"' in provenance.format_parameters(worn)


def test_equal_pixels_in_other_bytes_have_one_hash(picture: RenderedPicture, tmp_path: Path) -> None:
    picture.image.save(tmp_path / "plain.png", compress_level=0)
    again = Image.open(tmp_path / "plain.png")
    assert environment.pixel_hash(again) == environment.pixel_hash(picture.image)
    again.putpixel((3, 3), tuple(value ^ 1 for value in again.getpixel((3, 3))))
    assert environment.pixel_hash(again) != environment.pixel_hash(picture.image)
    tall, wide = Image.new("RGB", (2, 8)), Image.new("RGB", (8, 2))
    assert environment.pixel_hash(tall) != environment.pixel_hash(wide)


def test_an_edited_picture_is_not_what_its_record_says(picture: RenderedPicture, tmp_path: Path) -> None:
    image = picture.image.copy()
    image.putpixel((0, 0), (1, 2, 3))
    files.write_file(tmp_path / "a.png", provenance.encode_png(image, picture.provenance))
    with pytest.raises(UserError, match=r"a\.png was edited after it was made"):
        provenance.check_pixels(tmp_path / "a.png", *provenance.read_picture(tmp_path / "a.png"))


def with_record(path: Path, record: object) -> Path:
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt(provenance.KEY, record if isinstance(record, str) else json.dumps(record))
    Image.new("RGB", (8, 8)).save(path, pnginfo=texts)
    return path


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        ("{", "carries a damaged record"),
        ({"version": 1}, "carries a damaged record"),
        ([1, 2], "carries a damaged record"),
        ({"version": 99}, "was made by a newer restage .record version 99.: update restage"),
        ({"version": 1, "shot": {"prompt": 1}, "environment": {}, "pixels": "", "parents": []}, "is not a shot"),
        ({"version": 1, "shot": {"prompt": "a", "model": None}, "environment": {}}, "is not a shot .it names no model"),
    ],
)
def test_damaged_records(record: object, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        provenance.read_picture(with_record(tmp_path / "a.png", record))


@pytest.mark.parametrize(
    "edit",
    [{"id": "0" * 24}, {"environment": []}, {"shot": {"width": 128}}, {"shot": {"seed": 8}}, {"shot": {"prompt": 5}}],
)
def test_a_record_that_was_edited(edit: dict, picture: RenderedPicture, tmp_path: Path) -> None:
    record = json.loads(picture.provenance.as_json())
    record |= {**edit, "shot": record["shot"] | edit.get("shot", {})}
    with pytest.raises(UserError, match="carries a damaged record|is not text"):
        provenance.read_picture(with_record(tmp_path / "a.png", record))


def bomb(path: Path, width: int, height: int) -> Path:
    """A PNG that says it is huge; its first rows are there, so that it opens."""

    def part(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = part(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = part(b"IDAT", zlib.compress(b"\0" * (1 + 3 * width)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + body + part(b"IEND", b""))
    return path


def test_pictures_that_cannot_be_opened(picture: RenderedPicture, tmp_path: Path) -> None:
    whole = picture.encode_png()
    (tmp_path / "torn.png").write_bytes(whole[: len(whole) - len(whole) // 3])
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    bomb(tmp_path / "bomb.png", 20_000, 10_000)
    bomb(tmp_path / "larger.png", 10_000, 10_000)
    (tmp_path / "plain.png").write_bytes(b"")
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    for name, sentence in {
        "torn.png": "is torn or not a picture",
        "text.png": "is not a picture that can be read",
        "empty.png": "is not a picture that can be read",
        "bomb.png": "is too large.* the limit is 64 megapixels",
        "larger.png": r"is too large \(10000x10000, 100 megapixels\): the limit is 64 megapixels",
        "plain.png": "carries no record of how it was made",
        "gone.png": "there is no picture at",
    }.items():
        with pytest.raises(UserError, match=sentence) as caught:
            provenance.read_picture(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_pictures_come_as_their_camera_held_them(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20), "red")
    exif = image.getexif()
    exif[0x0112] = 6  # turned a quarter
    image.save(tmp_path / "a.jpg", exif=exif)
    assert reading.open_picture(tmp_path / "a.jpg").size == (20, 40)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "I", "RGB"])
def test_any_mode_becomes_rgb(mode: str) -> None:
    assert reading.convert_to_rgb(Image.new(mode, (8, 8))).mode == "RGB"


def test_what_is_transparent_lies_on_white_and_sixteen_bits_keep_their_range() -> None:
    assert reading.convert_to_rgb(Image.new("RGBA", (1, 1), (0, 0, 0, 0))).getpixel((0, 0)) == (255, 255, 255)
    assert reading.convert_to_rgb(Image.new("I;16", (1, 1), 128 * 256)).getpixel((0, 0)) == (128, 128, 128)


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """Killed at any moment, readers find the old content or the new one, never a part."""
    target = tmp_path / "file"
    code = f"""
from pathlib import Path
from models.system.files import write_file
for number in range(1_000_000):
    write_file(Path({str(target)!r}), bytes([65 + number % 26]) * 3_000_000)
    print(number, flush=True)
"""
    for delay in (0.0, 0.01, 0.02):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()  # at least one is written
            time.sleep(delay)
            process.kill()
        content = target.read_bytes()
        assert len(content) == 3_000_000
        assert len(set(content)) == 1


def test_what_a_killed_run_left_is_swept_away(tmp_path: Path) -> None:
    import os

    old, fresh = tmp_path / ".file.aaaaaaaa.part", tmp_path / ".file.bbbbbbbb.part"
    for half in (old, fresh):
        half.write_bytes(b"half")
    os.utime(old, (0, 0))
    files.write_file(tmp_path / "file", b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [fresh.name, "file"]


@pytest.mark.parametrize("place", ["folder", "file/below", "/proc/none/x"])
def test_what_cannot_be_written_is_one_sentence(place: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written .*: free space, check the rights or choose another place"):
        files.write_file(tmp_path / place, b"x")


def test_environments_that_differ_say_in_what(picture: RenderedPicture) -> None:
    then = picture.environment
    now = {**then, "threads": then["threads"] + 1, "versions": {**then["versions"], "torch": "9.9"}}
    assert environment.environment_fingerprint(then) != environment.environment_fingerprint(now)
    assert environment.environment_fingerprint(then) == environment.environment_fingerprint(
        json.loads(json.dumps(then))
    )
    assert environment.list_differences(then, now) == [
        f"versions.torch: {then['versions']['torch']} -> 9.9",
        f"threads: {then['threads']} -> {now['threads']}",
    ]
