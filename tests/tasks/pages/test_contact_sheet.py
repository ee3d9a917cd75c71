"""Contact sheets and grids: every picture is there, whole, and large enough to judge."""

from collections import Counter

import pytest
from PIL import Image, ImageColor

from tasks.pages.contact_sheet import CHOSEN, EMPTY, GAP, LABEL, PAPER, contact_sheet, picture_grid

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


def square(colour: str) -> Image.Image:
    return Image.new("RGB", (32, 32), colour)


def colours(sheet: Image.Image) -> Counter[str]:
    names = {ImageColor.getrgb(name): name for name in (*COLOURS, CHOSEN, EMPTY, PAPER)}
    return Counter({names[seen]: count for count, seen in sheet.getcolors(1 << 24) if seen in names})


def inked(sheet: Image.Image, box: tuple[int, int, int, int]) -> bool:
    return sheet.crop(box).convert("L").getextrema()[0] < 120


def test_a_grid_has_each_picture_in_its_row_and_column() -> None:
    pictures = [[square("red"), square("green")], [square("blue"), None], [square("orange"), square("black")]]
    sheet = picture_grid(pictures, ["one", "two", "three"], ["left", "right"], cell=64)
    left, right = GAP + LABEL + GAP + 32, GAP + LABEL + GAP + 64 + GAP + 32
    top = sheet.height - 3 * (64 + GAP) + 32
    rows = [[sheet.getpixel((x, top + row * (64 + GAP))) for x in (left, right)] for row in range(3)]
    expected = [["red", "green"], ["blue", EMPTY], ["orange", "black"]]
    assert rows == [[ImageColor.getrgb(name) for name in row] for row in expected]
    assert sum(colours(sheet)[name] for name in COLOURS) >= 5 * 64 * 64
    assert CHOSEN not in colours(sheet)


def test_words_stand_beside_rows_and_above_columns() -> None:
    sheet = picture_grid([[square("red")], [square("red")]], ["first", ""], ["step 50"], cell=64)
    top = sheet.height - 2 * (64 + GAP)
    assert inked(sheet, (GAP, top, GAP + LABEL, top + 64))
    assert not inked(sheet, (GAP, top + 64 + GAP, GAP + LABEL, sheet.height)), "a row without a name"
    assert inked(sheet, (GAP + LABEL + GAP, 0, sheet.width, top - 1))
    assert picture_grid([[square("red")]], [""], ["step 50"], cell=64).width == 64 + 2 * GAP, (
        "no names, no room for them"
    )


def test_long_words_are_wrapped_and_cut_within_their_room() -> None:
    long = "a portrait of somebody " * 40
    sheet = picture_grid([[square("red")] * 2] * 2, [long, "x" * 400], [long, "y" * 400], "title " * 60, cell=64)
    short = picture_grid([[square("red")] * 2] * 2, ["a", "b"], ["c", "d"], cell=64)
    assert sheet.width == short.width
    top = sheet.height - 2 * (64 + GAP)
    assert colours(sheet)["red"] == colours(short)["red"] == 4 * 64 * 64, "no word on a picture"
    assert not inked(sheet, (GAP + LABEL + 1, top, GAP + LABEL + GAP - 1, sheet.height)), "nor between"
    assert not inked(sheet, (GAP, top + 64 + 1, GAP + LABEL, top + 64 + GAP - 1)), "nor beside the next row"
    assert not inked(sheet, (GAP + LABEL + GAP + 64 + 1, 110, GAP + LABEL + GAP + 64 + GAP - 1, top - 1))
    assert sheet.height < short.height + 250


def test_marked_cells_and_a_marked_column_are_framed() -> None:
    pictures = [[square("red"), square("blue")]] * 2
    names = ["one", "two"], ["left", "right"]
    alone, column = (
        picture_grid(pictures, *names, cell=64, marked=[(1, 0)]),
        picture_grid(pictures, *names, cell=64, marked_column=1),
    )
    top, left = alone.height - 2 * (64 + GAP), GAP + LABEL + GAP
    frame = ImageColor.getrgb(CHOSEN)
    assert alone.getpixel((left - 3, top + 64 + GAP + 32)) == frame
    assert alone.getpixel((left - 3, top + 32)) == ImageColor.getrgb(PAPER)
    for y in (top + 5, top + 64 + GAP // 2, top + 2 * 64):
        assert column.getpixel((left + 64 + GAP - 6, y)) == column.getpixel((column.width - GAP + 5, y)) == frame
    assert column.getpixel((left - 6, top + 5)) == ImageColor.getrgb(PAPER)
    assert colours(column)["red"] == colours(column)["blue"] == 2 * 64 * 64, "no frame lies on a picture"


def test_cells_are_as_large_as_the_pictures_need() -> None:
    portrait = picture_grid([[Image.new("RGB", (40, 80), "red")] * 3], ["row"], ["a", "b", "c"], cell=100)
    assert portrait.width == GAP + LABEL + GAP + 3 * (50 + GAP)
    landscape = picture_grid([[Image.new("RGB", (80, 40), "red")]] * 3, ["a", "b", "c"], ["column"], cell=100)
    assert (
        landscape.height - picture_grid([[square("red")]] * 3, ["a", "b", "c"], ["column"], cell=100).height == -3 * 50
    )
    assert picture_grid([[None]], ["row"], ["column"], cell=100).getpixel(
        (GAP + LABEL + GAP + 50, 80)
    ) == ImageColor.getrgb(EMPTY)


def test_two_hundred_cells_fit_on_one_grid() -> None:
    rows, columns = [f"a prompt of some length, number {n}" for n in range(20)], [f"guidance {n}" for n in range(10)]
    sheet = picture_grid([[square("red")] * 10] * 20, rows, columns, "prompts by guidance", cell=64, marked=[(3, 4)])
    assert colours(sheet)["red"] == 200 * 64 * 64
