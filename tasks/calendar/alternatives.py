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
from models.system.files import path_exists

MAX_LENGTH = 20_000
MAX_DRAWS = 1000
"""Lists that one text may draw from."""
MAX_LIST_BYTES = 1_000_000
"""Bytes of a file."""
_LIST = re.compile(r"__([A-Za-z0-9][A-Za-z0-9-]*(?:[_/][A-Za-z0-9-]+)*)__")
_WEIGHT = re.compile(r"\s*(\d{1,9}(?:\.\d{1,9})?)::", re.ASCII)


def expand(text: str, key: str, folder: Path) -> str:
    """Return the text with every choice made. `folder` holds the lists; a brace that opens no choice stays as it is."""
    return _Expander(key, folder).expand(text, ())


class _Expander:
    def __init__(self, key: str, folder: Path) -> None:
        self.key = key
        self.folder = folder
        self.met: Counter[str] = Counter()
        self.lists = 0
        self.read: dict[str, list[str]] = {}

    def expand(self, text: str, trail: tuple[str, ...]) -> str:
        """Expand a text; `trail` names the lists that it came from."""
        resolved = self._make_choices(text)
        parts = []
        end = 0
        for match in _LIST.finditer(resolved):
            parts += [resolved[end : match.start()], self._from_list(match[1], trail)]
            end = match.end()
            _check_length(sum(map(len, parts)))
        return "".join([*parts, resolved[end:]])

    def _make_choices(self, text: str) -> str:
        """Make the choices, inner ones first. It uses a stack instead of recursion, so that braces may nest to any depth."""
        levels: list[_OpenBrace] = [_OpenBrace(0)]
        for place, sign in [(match.start(), match[0]) for match in re.finditer(r"[{|}]", text)] + [(len(text), "")]:
            level = levels[-1]
            level.options[-1] += text[level.read : place]
            level.read = place + 1
            if sign == "{":
                levels.append(_OpenBrace(place + 1))
            elif sign == "|":
                level.options.append("")
            elif sign == "}" and len(levels) > 1:
                levels.pop()
                whole = text[level.start - 1 : place + 1]
                drawn = self._draw_option(level.options, whole) if len(level.options) > 1 else f"{{{level.options[0]}}}"
                levels[-1].add_text(drawn, place + 1)
            elif sign == "}":
                level.options[-1] += "}"
        return "{".join("|".join(level.options) for level in levels)

    def _draw_option(self, options: Sequence[str], name: str) -> str:
        weights, texts = zip(*map(_split_weight, options), strict=True)
        total = sum(weights)
        if not total:
            raise UserError(f"no option of {_shorten_text(name)} can come: every weight is 0")
        self.met[name] += 1
        place = _fraction_for(f"{self.key}\n{name}\n{self.met[name]}") * total
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
        if self.lists > MAX_DRAWS:
            raise UserError(
                f"draws from lists more than {MAX_DRAWS} times, last from {name}: let the lists name fewer others"
            )
        if name not in self.read:
            self.read[name] = _read_list(name, self.folder)
        drawn = self._draw_option(self.read[name], f"__{name}__")
        return self.expand(drawn, (*trail, name))


class _OpenBrace:
    """An opened brace with its options so far, and the position up to which the text is read."""

    def __init__(self, start: int) -> None:
        self.start = self.read = start
        self.options = [""]

    def add_text(self, text: str, read: int) -> None:
        self.options[-1] += text
        self.read = read


def _split_weight(option: str) -> tuple[Fraction, str]:
    """Split `2::blue` into weight and text; `blue` has the weight 1. Fractions are the same on every machine."""
    match = _WEIGHT.match(option)
    return (Fraction(match[1]), option[match.end() :]) if match else (Fraction(1), option)


def _fraction_for(key: str) -> Fraction:
    """Return a fraction from 0 to below 1 made from the key's hash, the same in every version of Python."""
    return Fraction(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]), 2**64)


def _read_list(name: str, folder: Path) -> list[str]:
    """Read the phrases of a list, one on each line, without comments and empty lines."""
    file = folder / f"{name}.txt"
    if not (path_exists(file) and file.is_file()):
        names = sorted(str(path.relative_to(folder).with_suffix("").as_posix()) for path in folder.rglob("*.txt"))
        near = get_close_matches(name, names, n=1)
        hint = f"did you mean __{near[0]}__?" if near else "write that file, a phrase on each line"
        raise UserError(f"asks for the list __{name}__, and there is no {file}: {hint}")
    try:
        if file.stat().st_size > MAX_LIST_BYTES:
            raise UserError(f"the list {file} has more than {MAX_LIST_BYTES} bytes: make it shorter")
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the list {file} cannot be read ({error}): make it a readable UTF-8 text file") from None
    phrases = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not phrases:
        raise UserError(f"the list {file} is empty: write a phrase on each line")
    return phrases


def _check_length(length: int) -> None:
    if length > MAX_LENGTH:
        raise UserError(f"its choices make a text of more than {MAX_LENGTH} characters: make them shorter")


def _shorten_text(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"
