"""Many pictures on one: contact sheets with a line or two under each, and grids with words along two sides."""

from collections.abc import Callable, Collection, Sequence
from math import ceil

from PIL import Image, ImageDraw, ImageFont

PAPER, INK, FAINT, CHOSEN, EMPTY = "#faf7f2", "#2b2622", "#8a8178", "#16787a", "#eee8df"
GAP = 16
LABEL, LINE, MAX_LINES = (
    208,
    18,
    5,
)  # a grid's words: the width beside the rows, the height of a line, lines above a column


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
        fitted = _fit_to_cell(picture, cell)
        if index < len(banners):
            fitted = _add_banner(fitted, banners[index])
        sheet.paste(fitted, (x + (cell - fitted.width) // 2, y + (cell - fitted.height) // 2))
        if index < len(banners) and not banners[index]:
            draw.rectangle((x - 4, y - 4, x + cell + 3, y + cell + 3), outline=CHOSEN, width=4)
        if index < len(captions):
            _write_caption(draw, captions[index], x, y + cell + 6, cell)
    return sheet


def picture_grid(
    pictures: Sequence[Sequence[Image.Image | None]],
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
    cell: int = 192,
    marked: Collection[tuple[int, int]] = (),
    marked_column: int | None = None,
) -> Image.Image:
    """Lay pictures out in rows and columns, each with its words. A cell may be empty; marked ones are framed.

    `marked` names cells by row and column. Pictures are brought to `cell` along their longer side; hand in small ones, for
    all of them are in memory at once.
    """
    assert rows and columns and len(pictures) == len(rows), "a grid needs a name for each row and column"
    assert all(len(row) == len(columns) for row in pictures), "a grid needs a picture or None in each cell"
    fitted = [[picture and _fit_to_cell(picture, cell) for picture in row] for row in pictures]
    sizes = [picture.size for row in fitted for picture in row if picture] or [(cell, cell)]
    wide, high = max(max(width for width, _ in sizes), cell // 2), max(max(height for _, height in sizes), cell // 2)
    beside = [_wrap_text(text, LABEL, max(1, high // LINE)) for text in rows]
    above = [_wrap_text(text, wide, MAX_LINES) for text in columns]
    room = LABEL + GAP if any(rows) else 0
    heading = _wrap_text(title, GAP + room + len(columns) * (wide + GAP) - 2 * GAP, 3, 24)
    top = GAP + 32 * len(heading) + 8 + max(map(len, above)) * LINE + 8
    sheet = Image.new("RGB", (GAP + room + len(columns) * (wide + GAP), top + len(rows) * (high + GAP)), PAPER)
    draw = ImageDraw.Draw(sheet)
    _draw_lines(draw, heading, GAP, GAP, 24, 32)
    for number, lines in enumerate(above):
        x = GAP + room + number * (wide + GAP)
        _draw_lines(draw, lines, x, top - 8 - len(lines) * LINE, colour=CHOSEN if number == marked_column else INK)
    for number, lines in enumerate(beside):
        _draw_lines(draw, lines, GAP, top + number * (high + GAP) + max(0, high - len(lines) * LINE) // 2)
    for row, cells in enumerate(fitted):
        for column, picture in enumerate(cells):
            box = (GAP + room + column * (wide + GAP), top + row * (high + GAP), wide, high)
            _paste_cell(sheet, draw, picture, box, (row, column) in marked)
    if marked_column is not None:
        x, bottom = GAP + room + marked_column * (wide + GAP), top + len(rows) * (high + GAP) - GAP
        draw.rectangle((x - 7, top - 7, x + wide + 6, bottom + 6), outline=CHOSEN, width=4)
    return sheet


def _paste_cell(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    picture: Image.Image | None,
    box: tuple[int, int, int, int],
    framed: bool,
) -> None:
    x, y, wide, high = box
    if picture is None:
        draw.rectangle((x, y, x + wide - 1, y + high - 1), fill=EMPTY)
    else:
        sheet.paste(picture, (x + (wide - picture.width) // 2, y + (high - picture.height) // 2))
    if framed:
        draw.rectangle((x - 4, y - 4, x + wide + 3, y + high + 3), outline=CHOSEN, width=4)


def _draw_lines(
    draw: ImageDraw.ImageDraw, lines: Sequence[str], x: int, y: int, size: int = 14, line: int = LINE, colour: str = INK
) -> None:
    for number, text in enumerate(lines):
        draw.text((x, y + number * line), text, fill=colour, font=ImageFont.load_default(size))


def _wrap_text(text: str, width: int, most: int, size: int = 14) -> list[str]:
    """Wrap a text to a width, in at most so many lines; a text that does not fit ends in dots."""
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    font = ImageFont.load_default(size)

    def fits(words: str) -> bool:
        return measure.textlength(words, font=font) <= width

    lines = []
    for part in filter(str.strip, text.split("\n")):
        lines += _fill_lines(" ".join(piece for word in part.split() for piece in _break_word(word, fits)), fits)
    if len(lines) > most:
        last = lines[most - 1]
        while last and not fits(f"{last}…"):
            last = last[:-1]
        lines = [*lines[: most - 1], f"{last.rstrip()}…"]
    return lines


def _break_word(word: str, fits: Callable[[str], bool]) -> list[str]:
    """Break a word that is longer than a line into pieces that fit."""
    pieces = [""]
    for letter in word:
        if pieces[-1] and not fits(pieces[-1] + letter):
            pieces.append("")
        pieces[-1] += letter
    return pieces


def _add_banner(picture: Image.Image, text: str) -> Image.Image:
    """Pale the picture and write the text across its foot, in as many lines as needed."""
    if not text:
        return picture
    pale = Image.blend(picture, Image.new("RGB", picture.size, PAPER), 0.35)
    font = ImageFont.load_default(13)
    draw = ImageDraw.Draw(pale, "RGBA")
    lines = _fill_lines(text, lambda words: draw.textlength(words, font=font) <= pale.width - 12)
    height = 17 * len(lines) + 8
    draw.rectangle((0, pale.height - height, pale.width, pale.height), fill=(20, 16, 14, 215))
    for number, line in enumerate(lines):
        draw.text((6, pale.height - height + 3 + 17 * number), line, fill="white", font=font)
    return pale


def _fill_lines(text: str, fits: Callable[[str], bool]) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if fits(longer) or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _fit_to_cell(picture: Image.Image, cell: int) -> Image.Image:
    scale = cell / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _write_caption(draw: ImageDraw.ImageDraw, caption: str, x: int, y: int, width: int) -> None:
    font = ImageFont.load_default(14)
    for number, line in enumerate(caption.split("\n")):
        while line and draw.textlength(line, font=font) > width:
            line = line[:-2].rstrip() + "…"
        draw.text((x, y + number * 18), line, fill=FAINT if number else INK, font=font)
