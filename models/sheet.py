"""Contact sheets: many pictures on one, with a line or two under each."""

from collections.abc import Callable, Sequence
from math import ceil

from PIL import Image, ImageDraw, ImageFont

PAPER, INK, FAINT, CHOSEN = "#faf7f2", "#2b2622", "#8a8178", "#16787a"
GAP = 16


def contact_sheet(
    pictures: Sequence[Image.Image],
    captions: Sequence[str] = (),
    title: str = "",
    columns: int = 0,
    cell: int = 256,
    banners: Sequence[str] = (),
) -> Image.Image:
    """Lay pictures out in rows. Small ones are enlarged smoothly to the size of a cell.

    A banner is a text across the picture itself, which is paled; an empty one leaves its picture as it is and frames it.
    """
    assert pictures, "a contact sheet needs pictures"
    columns = columns or min(len(pictures), 4 if len(pictures) <= 16 else 8)
    lines = max((caption.count("\n") + 1 for caption in captions), default=0)
    height = cell + (lines * 18 + 8 if lines else 0)
    top = GAP + (40 if title else 0)
    rows = ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (columns * (cell + GAP) + GAP, top + rows * (height + GAP)), PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((GAP, GAP), title, fill=INK, font=ImageFont.load_default(24))
    for index, picture in enumerate(pictures):
        x = GAP + index % columns * (cell + GAP)
        y = top + index // columns * (height + GAP)
        fitted = _fit(picture, cell)
        if index < len(banners):
            fitted = _bannered(fitted, banners[index])
        sheet.paste(fitted, (x + (cell - fitted.width) // 2, y + (cell - fitted.height) // 2))
        if index < len(banners) and not banners[index]:
            draw.rectangle((x - 4, y - 4, x + cell + 3, y + cell + 3), outline=CHOSEN, width=4)
        if index < len(captions):
            _write(draw, captions[index], x, y + cell + 6, cell)
    return sheet


def _bannered(picture: Image.Image, text: str) -> Image.Image:
    """The picture, paled, with the text over its foot in as many lines as it takes."""
    if not text:
        return picture
    pale = Image.blend(picture, Image.new("RGB", picture.size, PAPER), 0.35)
    font = ImageFont.load_default(13)
    draw = ImageDraw.Draw(pale, "RGBA")
    lines = _lines(text, lambda words: draw.textlength(words, font=font) <= pale.width - 12)
    height = 17 * len(lines) + 8
    draw.rectangle((0, pale.height - height, pale.width, pale.height), fill=(20, 16, 14, 215))
    for number, line in enumerate(lines):
        draw.text((6, pale.height - height + 3 + 17 * number), line, fill="white", font=font)
    return pale


def _lines(text: str, fits: Callable[[str], bool]) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if fits(longer) or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _fit(picture: Image.Image, cell: int) -> Image.Image:
    scale = cell / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _write(draw: ImageDraw.ImageDraw, caption: str, x: int, y: int, width: int) -> None:
    font = ImageFont.load_default(14)
    for number, line in enumerate(caption.split("\n")):
        while line and draw.textlength(line, font=font) > width:
            line = line[:-2].rstrip() + "…"
        draw.text((x, y + number * 18), line, fill=FAINT if number else INK, font=font)
