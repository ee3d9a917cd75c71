"""Contact sheets: every picture is there, whole, and large enough to judge."""

import pytest
from PIL import Image, ImageColor

from models.sheet import CHOSEN, GAP, contact_sheet

COLOURS = ["red", "green", "blue", "black", "orange"]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_picture_is_on_it(count: int) -> None:
    pictures = [Image.new("RGB", (64, 80), colour) for colour in COLOURS[:count]]
    sheet = contact_sheet(pictures, [f"picture {n}\nof {count}" for n in range(count)], "all", cell=128)
    seen = {colour for _, colour in sheet.getcolors(1 << 24)}
    assert {Image.new("RGB", (1, 1), colour).getpixel((0, 0)) for colour in COLOURS[:count]} <= seen


def test_pictures_keep_their_shape_and_are_enlarged() -> None:
    sheet = contact_sheet([Image.new("RGB", (32, 64), "red")], cell=128)
    reds = [colour == (255, 0, 0) for colour in sheet.get_flattened_data()]
    assert sum(reds) == 64 * 128


def test_long_captions_are_cut_at_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = contact_sheet([Image.new("RGB", (8, 8))], ["word " * 100], cell=128)
    assert narrow.width == 128 + 2 * GAP
    margin = narrow.crop((narrow.width - GAP + 1, 0, narrow.width, narrow.height))
    assert margin.getextrema() == contact_sheet([Image.new("RGB", (8, 8))]).crop((0, 0, GAP - 1, 5)).getextrema()


def test_a_banner_stands_on_its_picture_and_the_unmarked_are_framed() -> None:
    pictures = [Image.new("RGB", (64, 64), "red")] * 2
    plain = contact_sheet(pictures, cell=128)
    marked = contact_sheet(pictures, cell=128, banners=["", "blurred: sharpness 0.01, under the cut 0.20"])
    assert marked.size == plain.size
    first, second = (16, 16, 144, 144), (160, 16, 288, 144)
    assert marked.crop(first).getpixel((64, 64)) == (255, 0, 0)
    assert marked.getpixel((14, 60)) == ImageColor.getrgb(CHOSEN), "a frame around what was chosen"
    foot = marked.crop(second).crop((0, 100, 128, 128)).convert("L")
    assert foot.getextrema()[0] < 40 < 240 < foot.getextrema()[1], "white words on a dark ground"
    assert marked.crop(second).getpixel((64, 20)) != (255, 0, 0), "what was dropped is paled"
