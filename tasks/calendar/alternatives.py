"""Choices and lists in a text: `{red|2::blue|}` and `__colour__`, drawn by a key and not by chance.

What is drawn depends on the key, on the words of the choice and on how often the same choice came before in the text.
So two texts of one occurrence that ask for the same thing get the same answer, such as the prompt and its caption, and
a change elsewhere in the text leaves it as it is.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from fractions import Fraction
from pathlib import Path

from models.system.errors import UserError
from models.system.files import is_there

LONGEST = 20_000
MOST = 1000
"""Lists that one text may draw from."""
LARGEST_LIST = 1_000_000
"""Bytes of a file."""
_LIST = re.compile(r"__([A-Za-z0-9][A-Za-z0-9-]*(?:[_/][A-Za-z0-9-]+)*)__")
_WEIGHT = re.compile(r"\s*(\d{1,9}(?:\.\d{1,9})?)::", re.ASCII)


def expand(text: str, key: str, folder: Path) -> str:
    """The text with every choice made. `folder` holds the lists; any brace that opens no choice is text."""
    return _Drawing(key, folder).expand(text, ())


class _Drawing:
    def __init__(self, key: str, folder: Path) -> None:
        self.key = key
        self.folder = folder
        self.met: Counter[str] = Counter()
        self.lists = 0
        self.read: dict[str, list[str]] = {}

    def expand(self, text: str, trail: tuple[str, ...]) -> str:
        """`trail` names the lists that led here."""
        chosen = self._choose(text)
        parts = []
        end = 0
        for match in _LIST.finditer(chosen):
            parts += [chosen[end : match.start()], self._from_list(match[1], trail)]
            end = match.end()
            _check_length(sum(map(len, parts)))
        return "".join([*parts, chosen[end:]])

    def _choose(self, text: str) -> str:
        """Choices inside choices are made first. A stack and no recursion: braces may nest as deep as they like."""
        levels: list[_Level] = [_Level(0)]
        for place, sign in [(match.start(), match[0]) for match in re.finditer(r"[{|}]", text)] + [(len(text), "")]:
            level = levels[-1]
            level.options[-1] += text[level.read : place]
            level.read = place + 1
            if sign == "{":
                levels.append(_Level(place + 1))
            elif sign == "|":
                level.options.append("")
            elif sign == "}" and len(levels) > 1:
                levels.pop()
                whole = text[level.start - 1 : place + 1]
                drawn = self._draw(level.options, whole) if len(level.options) > 1 else f"{{{level.options[0]}}}"
                levels[-1].add(drawn, place + 1)
            elif sign == "}":
                level.options[-1] += "}"
        return "{".join("|".join(level.options) for level in levels)

    def _draw(self, options: Sequence[str], name: str) -> str:
        weights, texts = zip(*map(_weighed, options), strict=True)
        total = sum(weights)
        if not total:
            raise UserError(f"no option of {_short(name)} can come: every weight is 0")
        self.met[name] += 1
        place = _fraction(f"{self.key}\n{name}\n{self.met[name]}") * total
        for weight, text in zip(weights, texts, strict=True):
            place -= weight
            if place < 0:
                return text
        raise AssertionError("a fraction below 1 lies within the total")

    def _from_list(self, name: str, trail: tuple[str, ...]) -> str:
        if name in trail:
            raise UserError(
                f"the lists {' → '.join([*trail, name])} lead back to themselves: take one of the names out"
            )
        self.lists += 1
        if self.lists > MOST:
            raise UserError(
                f"draws from lists more than {MOST} times, last from {name}: let the lists name fewer others"
            )
        if name not in self.read:
            self.read[name] = _lines(name, self.folder)
        drawn = self._draw(self.read[name], f"__{name}__")
        return self.expand(drawn, (*trail, name))


class _Level:
    """An opened brace: its options so far, and up to where the text is read."""

    def __init__(self, start: int) -> None:
        self.start = self.read = start
        self.options = [""]

    def add(self, text: str, read: int) -> None:
        self.options[-1] += text
        self.read = read


def _weighed(option: str) -> tuple[Fraction, str]:
    """`2::blue` and `blue`, which weighs 1. Fractions: the same on every machine."""
    match = _WEIGHT.match(option)
    return (Fraction(match[1]), option[match.end() :]) if match else (Fraction(1), option)


def _fraction(key: str) -> Fraction:
    """From 0 to below 1, by hash: neither Python's version nor its hash seed matters."""
    return Fraction(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]), 2**64)


def _lines(name: str, folder: Path) -> list[str]:
    """What may be drawn from a list: a line each, without comments and empty lines."""
    file = folder / f"{name}.txt"
    if not (is_there(file) and file.is_file()):
        known = sorted(str(each.relative_to(folder).with_suffix("").as_posix()) for each in folder.rglob("*.txt"))
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean __{near[0]}__?" if near else "write that file, a phrase on each line"
        raise UserError(f"asks for the list __{name}__, and there is no {file}: {hint}")
    try:
        if file.stat().st_size > LARGEST_LIST:
            raise UserError(f"the list {file} has more than {LARGEST_LIST} bytes: make it shorter")
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the list {file} cannot be read ({error}): make it a readable UTF-8 text file") from None
    found = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not found:
        raise UserError(f"the list {file} is empty: write a phrase on each line")
    return found


def _check_length(length: int) -> None:
    if length > LONGEST:
        raise UserError(f"its choices make a text of more than {LONGEST} characters: make them shorter")


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"
