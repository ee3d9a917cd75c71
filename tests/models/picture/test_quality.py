"""What is measured of a picture is what the eye would say of it, whatever its size."""

import subprocess
import sys
import tracemalloc
from functools import reduce
from itertools import pairwise
from operator import and_, or_

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from models.picture.quality import hamming_distances, measure_quality, near_duplicates, perceptual_hash

HASHES = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 15), max_size=40)


def drawing(size: int = 128, seed: int = 0) -> Image.Image:
    """Discs and bars with clean edges, drawn large and scaled down, as a vector drawing would be."""
    numbers = np.random.default_rng(seed)
    large = Image.new("RGB", (2048, 2048), tuple(numbers.integers(60, 200, 3)))
    draw = ImageDraw.Draw(large)
    for _ in range(24):
        x, y = numbers.integers(0, 1800, 2)
        width, height = numbers.integers(120, 900, 2)
        shape = draw.ellipse if numbers.random() < 0.5 else draw.rectangle
        shape((x, y, x + width, y + height), fill=tuple(numbers.integers(20, 236, 3)))
    return large.resize((size, size), Image.Resampling.LANCZOS)


# --- One picture --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", ["black", "grey", "white", "red"])
def test_a_blank_picture_has_no_spread_and_no_detail(colour: str) -> None:
    blank = measure_quality(Image.new("RGB", (96, 64), colour))
    assert blank.spread == pytest.approx(0, abs=1e-4)
    assert blank.sharpness == 0
    assert (blank.width, blank.height) == (96, 64)


def test_spread_is_the_standard_deviation_of_luminance() -> None:
    picture = drawing()
    assert measure_quality(picture).spread == pytest.approx(np.asarray(picture.convert("L")).std())


def test_dark_and_bright_are_shares_of_pixels() -> None:
    picture = Image.new("RGB", (100, 100), "grey")
    picture.paste("black", (0, 0, 100, 20))
    picture.paste("white", (0, 90, 100, 100))
    measured = measure_quality(picture)
    assert (measured.dark, measured.bright) == (pytest.approx(0.2), pytest.approx(0.1))


def test_what_is_transparent_counts_as_white() -> None:
    assert measure_quality(Image.new("RGBA", (8, 8), (0, 0, 0, 0))).bright == 1


@pytest.mark.parametrize("seed", range(3))
def test_a_drawing_is_as_sharp_at_128_as_at_1024_pixels(seed: int) -> None:
    small, large = measure_quality(drawing(128, seed)), measure_quality(drawing(1024, seed))
    assert small.sharpness == pytest.approx(large.sharpness, rel=0.1)
    assert small.spread == pytest.approx(large.spread, rel=0.05)


@pytest.mark.parametrize("size", [128, 1024])
@pytest.mark.parametrize("seed", range(3))
def test_the_more_blur_the_less_sharp(seed: int, size: int) -> None:
    picture = drawing(size, seed)
    blurred = [picture.filter(ImageFilter.GaussianBlur(share * size / 128)) for share in (0, 0.75, 1.5, 3)]
    sharpness = [measure_quality(each).sharpness for each in blurred]
    assert all(after < before / 1.5 for before, after in pairwise(sharpness))


def test_low_contrast_is_not_blur() -> None:
    picture = drawing()
    pale = Image.blend(picture, Image.new("RGB", picture.size, "grey"), 0.6)
    assert measure_quality(pale).spread < measure_quality(picture).spread / 2
    assert measure_quality(pale).sharpness == pytest.approx(measure_quality(picture).sharpness, rel=0.05)


def test_a_narrow_picture_is_measured_too() -> None:
    assert measure_quality(Image.new("RGB", (3, 60))).dark == 1


def test_measuring_needs_no_torch() -> None:
    light = "import sys; from models.picture import quality; print(sorted({'torch', 'open_clip', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", light], capture_output=True, text=True).stdout == "[]\n"


# --- The same picture again ---------------------------------------------------------------------------------------


def bits_between(a: Image.Image, b: Image.Image) -> int:
    return (perceptual_hash(a) ^ perceptual_hash(b)).bit_count()


@pytest.mark.parametrize("seed", range(5))
def test_a_near_copy_keeps_nearly_all_bits_and_another_picture_about_half(seed: int) -> None:
    picture = drawing(512, seed)
    brighter = picture.point(lambda value: min(255, value * 1.1 + 8))
    for copy in (picture.resize((128, 128)), brighter, picture.filter(ImageFilter.GaussianBlur(3))):
        assert bits_between(picture, copy) <= 6
    assert bits_between(picture, drawing(512, seed + 50)) >= 16


def test_a_hash_has_64_bits_half_of_them_set() -> None:
    for seed in range(5):
        assert 0 <= perceptual_hash(drawing(seed=seed)) < 2**64
        assert perceptual_hash(drawing(seed=seed)).bit_count() == 32


def test_every_bit_is_set_for_some_pictures_and_not_for_others() -> None:
    numbers = np.random.default_rng(0)
    pictures = [Image.fromarray(numbers.integers(0, 256, (16, 16), dtype=np.uint8)) for _ in range(64)]
    hashes = [perceptual_hash(picture) for picture in pictures]
    assert reduce(or_, hashes) == 2**64 - 1
    assert reduce(and_, hashes) == 0


def test_blank_pictures_are_all_alike() -> None:
    assert {perceptual_hash(Image.new("RGB", (64, 64), colour)) for colour in ("black", "red", "white")} == {0}


def test_stripes_and_their_quarter_turn_are_different_pictures() -> None:
    stripes = Image.fromarray(np.tile(np.repeat([0, 255], 16).astype(np.uint8), (128, 4)))
    assert bits_between(stripes, stripes.transpose(Image.Transpose.ROTATE_90)) >= 4


@given(HASHES)
def test_hamming_blocks_make_up_the_matrix_up_to_the_diagonal(hashes: list[int]) -> None:
    seen = 0
    for start, block in hamming_distances(hashes, rows=7):
        for row, distances in enumerate(block):
            known = hashes[: len(distances)]
            assert list(distances) == [(hashes[start + row] ^ other).bit_count() for other in known]
            assert len(distances) == min(start + 7, len(hashes))
            seen += 1
    assert seen == len(hashes)


@given(HASHES, st.integers(0, 40))
def test_each_repeat_is_paired_with_the_first_it_repeats(hashes: list[int], at_most: int) -> None:
    expected = []
    for j, later in enumerate(hashes):
        earlier = (i for i in range(j) if (hashes[i] ^ later).bit_count() <= at_most)
        expected += [(i, j) for i in [next(earlier, None)] if i is not None]
    assert near_duplicates(hashes, at_most) == expected


@settings(max_examples=5)
@given(st.integers(0, 2**32))
def test_repeats_are_found_across_blocks(seed: int) -> None:
    hashes = [int(each) for each in np.random.default_rng(seed).integers(0, 2**63, 1000)]
    assert near_duplicates([*hashes, hashes[3] ^ 1, *hashes[400:402]], 2) == [(3, 1000), (400, 1001), (401, 1002)]


def test_memory_grows_with_the_number_of_hashes_not_with_its_square() -> None:
    hashes = [int(each) for each in np.random.default_rng(0).integers(0, 2**63, 5000)]
    peaks = []
    for count in (500, 5000):
        tracemalloc.start()
        near_duplicates(hashes[:count], 4)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 15 * peaks[0]
