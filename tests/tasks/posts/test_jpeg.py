"""From a master picture to exactly the JPEG that is approved and published."""

import hashlib
import io
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from models.system.errors import UserError
from tasks.posts.jpeg import FILTERS, SIZES, compress_to, fit_picture, make_jpeg, render_size
from tasks.publishers.base import ApprovedPicture as Sent
from tasks.publishers.base import ApprovedPost, Kind, PublishError
from tasks.publishers.disclosure import AI_SOURCE_TYPE, read_source_type
from tasks.publishers.instagram_rules import INSTAGRAM_RULES
from tasks.publishers.picture_rules import read_checked_pictures
from tasks.settings.sections import UPSCALES
from tasks.settings.settings import LoadedSettings, load_settings

SIDES = st.integers(5, 32).map(lambda number: number * 64)


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedSettings:
    return settings(tmp_path)


def settings(folder: Path, pictures: str = "") -> LoadedSettings:
    (folder / "settings.toml").write_text(f"[pictures]\n{pictures}\n")
    return load_settings(folder / "settings.toml")


def master(path: Path, size: tuple[int, int] = (96, 120), **saved: object) -> Path:
    """Four quarters of one colour each, so that what a crop took can be seen."""
    pixels = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    pixels[: size[1] // 2, :, 0] = 200
    pixels[:, : size[0] // 2, 1] = 200
    Image.fromarray(pixels).save(path, **saved)
    return path


def parcel(kind: Kind, path: Path, digest: str) -> ApprovedPost:
    pictures = (Sent(path, digest),)
    return ApprovedPost("post", "pip", "pip", "shot", kind, pictures, "", ("",), ai_label=True, when=datetime.now(UTC))


@pytest.mark.parametrize("size", SIZES)
def test_every_size_comes_out_exactly_and_instagram_takes_it_as_it_is(
    size: str, loaded: LoadedSettings, tmp_path: Path
) -> None:
    made = make_jpeg(master(tmp_path / "master.png"), size, "a fox", loaded)
    path = loaded.studio / made.file
    kinds: list[Kind] = ["story"] if size == "story" else ["photo", "story"]
    for kind in kinds:
        (exact,) = read_checked_pictures(parcel(kind, path, made.sha256), INSTAGRAM_RULES)
        assert (exact.width, exact.height) == (made.width, made.height) == SIZES[size]
    if size == "story":
        with pytest.raises(PublishError, match="crop"):
            read_checked_pictures(parcel("photo", path, made.sha256), INSTAGRAM_RULES)


def test_the_name_is_the_hash_and_equal_input_gives_the_file_that_is_there(
    loaded: LoadedSettings, tmp_path: Path
) -> None:
    picture = master(tmp_path / "master.png")
    one = make_jpeg(picture, "portrait", "a fox", loaded)
    path = loaded.studio / one.file
    assert one.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert one.file == f"ready/{one.sha256[:2]}/{one.sha256}.jpg"
    os.utime(path, (1, 1))
    assert make_jpeg(picture, "portrait", "a fox", loaded) == one
    assert path.stat().st_mtime == 1
    assert make_jpeg(picture, "portrait", "a bear", loaded).sha256 != one.sha256


def test_a_file_that_was_torn_is_made_whole_again(loaded: LoadedSettings, tmp_path: Path) -> None:
    picture = master(tmp_path / "master.png")
    path = loaded.studio / make_jpeg(picture, "square", "", loaded).file
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    make_jpeg(picture, "square", "", loaded)
    assert path.read_bytes() == whole


def test_it_says_what_made_it_and_what_it_shows_and_nothing_of_how(loaded: LoadedSettings, tmp_path: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("parameters", "a secret prompt\nSteps: 3")
    texts.add_itxt("restage", '{"shot": "a secret prompt"}')
    picture = master(tmp_path / "master.png", pnginfo=texts, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0")
    data = (loaded.studio / make_jpeg(picture, "square", "A fox & a <bear>", loaded).file).read_bytes()
    assert read_source_type(data) == AI_SOURCE_TYPE
    assert b"A fox &amp; a &lt;bear&gt;" in data
    assert b"secret" not in data
    assert b"Steps" not in data
    with Image.open(io.BytesIO(data)) as image:
        assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "icc_profile", "xmp"}


@pytest.mark.parametrize("size", SIZES.values())
def test_the_colour_space_goes_along_until_the_jpeg_is_brought_to_srgb(size: tuple[int, int], tmp_path: Path) -> None:
    picture = Image.open(master(tmp_path / "a.png", icc_profile=b"a profile"))
    assert fit_picture(picture, size, FILTERS["lanczos"]).info["icc_profile"] == b"a profile"


def test_the_quality_is_the_settings_and_lower_where_the_file_would_be_too_large(tmp_path: Path) -> None:
    picture = master(tmp_path / "master.png")
    sizes = []
    for quality in (60, 95):
        loaded = settings(tmp_path, f"quality = {quality}")
        sizes.append((loaded.studio / make_jpeg(picture, "square", "", loaded).file).stat().st_size)
    assert sizes[0] < sizes[1]
    asked: list[int] = []

    def make(quality: int) -> bytes:
        asked.append(quality)
        return bytes(quality)

    assert len(compress_to(make, 92, most=80)) == 80
    assert asked == [92, 88, 84, 80]
    assert len(compress_to(make, 50, most=3)) == 40


@pytest.mark.parametrize("method", UPSCALES)
def test_every_method_enlarges_in_its_own_way(method: str, tmp_path: Path) -> None:
    loaded = settings(tmp_path, f'upscale = "{method}"')
    made = make_jpeg(master(tmp_path / "master.png"), "portrait", "", loaded)
    with Image.open(loaded.studio / made.file) as image:
        colours = len(image.getcolors(2**24) or ())
        left, right = image.getpixel((100, 100)), image.getpixel((980, 100))
    assert (colours < 100) == (method == "nearest")
    assert isinstance(left, tuple) and isinstance(right, tuple)
    assert max(abs(left[0] - 200), abs(left[1] - 200), abs(right[0] - 200), right[1]) < 12


def test_the_methods_of_the_settings_are_those_there_are(tmp_path: Path) -> None:
    assert set(FILTERS) == set(UPSCALES)
    with pytest.raises(UserError, match=r"pictures\.upscale = 'lanczoss' is no way .*did you mean lanczos\?$"):
        settings(tmp_path, 'upscale = "lanczoss"')


@given(size=st.sampled_from(list(SIZES)), side=SIDES)
def test_models_make_nearly_the_shape_that_is_published(size: str, side: int) -> None:
    width, height = render_size(size, side)
    assert width % 8 == height % 8 == 0
    assert 0.85 <= width * height / side**2 <= 1.02
    wide, high = SIZES[size]
    assert abs(width / height / (wide / high) - 1) < 0.05


def test_sdxl_makes_shapes_that_it_was_trained_at() -> None:
    assert {size: render_size(size, 1024) for size in SIZES} == {
        "square": (1024, 1024),
        "portrait": (896, 1152),
        "landscape": (1344, 704),
        "story": (768, 1344),
    }


def test_a_small_model_makes_squares_and_none_of_the_picture_is_cut_off_where_much_would_be() -> None:
    assert {render_size(size, 128) for size in SIZES} == {(128, 128)}
    square = Image.new("RGB", (128, 128), "navy")
    square.paste("white", (0, 0, 128, 6))  # at the top edge, which a crop to 1.91:1 would lose
    square.paste("red", (122, 0, 128, 128))
    wide = fit_picture(square, SIZES["landscape"], Image.Resampling.LANCZOS)
    assert wide.size == SIZES["landscape"]
    assert min(wide.getpixel((540, 10))) > 240
    tall = fit_picture(square, SIZES["story"], Image.Resampling.LANCZOS)
    assert tall.getpixel((1075, 960))[0] > 240
    portrait = fit_picture(square, SIZES["portrait"], Image.Resampling.LANCZOS)
    assert portrait.getpixel((1075, 700)) == (0, 0, 128)


def test_what_is_transparent_lies_on_white(loaded: LoadedSettings, tmp_path: Path) -> None:
    Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    with Image.open(loaded.studio / make_jpeg(tmp_path / "clear.png", "square", "", loaded).file) as image:
        assert image.getpixel((540, 540)) == (255, 255, 255)


def test_what_is_no_picture_is_one_sentence(loaded: LoadedSettings, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_text("no")
    with pytest.raises(UserError, match=r"no\.png is not a picture that can be read"):
        make_jpeg(tmp_path / "no.png", "square", "", loaded)
