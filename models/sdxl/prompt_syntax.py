"""Parses prompts as people write them: emphasis, and warnings about probable mistakes.

Emphasis follows A1111: `(x)` weighs 1.1, `[x]` 1/1.1, `(x:1.3)` 1.3, nesting multiplies, `\\(` is a plain bracket,
`BREAK` starts a new chunk. A chunk is what an encoder reads at once: 75 tokens between start and end of text.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

ROUND_FACTOR, SQUARE_FACTOR = 1.1, 1 / 1.1
MAX_SAFE_WEIGHT = 1.6
# A larger weight has no meaning, and infinity would turn the picture into NaN.
_MAX_FACTOR = 1e6

# Every branch is possessive or one character long, so the scan takes linear time for any prompt.
_SYNTAX = re.compile(
    r"(?P<escape>\\[()\[\]\\]?)"
    r"|:\s*+(?P<weight>[+-]?(?:\d++(?:\.\d*+)?|\.\d++))\s*+\)"
    r"|[()\[\]:]"
    r"|[^\\()\[\]:]++"
)
_BREAK = re.compile(r"\bBREAK\b")
_TOKEN = re.compile(r"<[^<>\s]+>")
_NETWORK = re.compile(r"<(?:lora|lyco|hypernet):[^<>]*>")
_COMPEL = re.compile(r"(?<=[\w)\"'])(?:\+{2,}|-{2,})(?=[\s,.;:)]|$)")
_NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*")


class WeightedText(NamedTuple):
    """A part of the prompt that has one weight throughout."""

    text: str
    weight: float


# The marker for a new chunk. No other part of a prompt is empty.
BREAK = WeightedText("", 0.0)


@dataclass
class _Bracket:
    shape: str
    at: int
    factor: float
    closed: bool = False


class _Event(NamedTuple):
    """One element of the prompt: text, an escaped character, a new chunk, or a bracket (opening, closing, stray)."""

    kind: Literal["text", "escape", "break", "open", "close", "stray"]
    text: str
    at: int
    bracket: _Bracket | None = None


def _scan_events(prompt: str) -> list[_Event]:
    """List the elements of a prompt; the weights follow later, since a bracket's factor is known only at its end."""
    events: list[_Event] = []
    waiting: dict[str, list[_Bracket]] = {"(": [], "[": []}
    for match in _SYNTAX.finditer(prompt):
        text, at = match.group(), match.start()
        last = match.end() - 1
        if match["escape"]:
            # A backslash before any other character vanishes, as in A1111.
            events.append(_Event("escape", text[1:], at))
        elif text == "(" or text == "[":
            bracket = _Bracket(text, at, ROUND_FACTOR if text == "(" else SQUARE_FACTOR)
            waiting[text].append(bracket)
            events.append(_Event("open", text, at, bracket))
        elif match["weight"] and waiting["("]:
            waiting["("][-1].factor = float(match["weight"])
            events.append(_close_bracket(waiting["("], text, last))
        elif match["weight"]:
            events += [_Event("text", text[:-1], at), _Event("stray", ")", last)]
        elif text in ")]":
            events.append(_close_bracket(waiting["(" if text == ")" else "["], text, at))
        else:
            events += _split_at_breaks(text, at)
    return events


def _close_bracket(waiting: list[_Bracket], text: str, at: int) -> _Event:
    if not waiting:
        return _Event("stray", text, at)
    bracket = waiting.pop()
    bracket.closed = True
    return _Event("close", text, at, bracket)


def _split_at_breaks(text: str, at: int) -> Iterator[_Event]:
    """Split plain text at BREAK and drop the white space around each BREAK."""
    parts = _BREAK.split(text)
    for number, part in enumerate(parts):
        if number > 0:
            yield _Event("break", "BREAK", at)
            part = part.lstrip()
        if number < len(parts) - 1:
            part = part.rstrip()
        yield _Event("text", part, at)


def parse_prompt(prompt: str) -> list[WeightedText]:
    """Read A1111's emphasis. Any text is a prompt: brackets that do not match are tolerated as A1111 does.

    An unclosed bracket counts up to the end, a stray closing one is text. BREAK counts inside brackets too.
    """
    pieces: list[WeightedText] = []
    # Round and square brackets may overlap in a careless prompt, but those of one shape always nest.
    factors: dict[str, list[float]] = {"(": [1.0], "[": [1.0]}
    for event in _scan_events(prompt):
        if event.bracket and event.kind == "open":
            stack = factors[event.bracket.shape]
            stack.append(min(max(stack[-1] * event.bracket.factor, -_MAX_FACTOR), _MAX_FACTOR))
        elif event.bracket:
            factors[event.bracket.shape].pop()
        elif event.kind == "break":
            pieces.append(BREAK)
        elif event.text:
            # Rounded, so that factors which cancel out leave exactly 1 and their text joins its neighbours.
            pieces.append(WeightedText(event.text, round(factors["("][-1] * factors["["][-1], 9)))
    return _merge_pieces(pieces)


def _merge_pieces(pieces: list[WeightedText]) -> list[WeightedText]:
    spans: list[WeightedText] = []
    for (is_break, weight), run in groupby(pieces, key=lambda piece: (piece is BREAK, piece.weight)):
        same = list(run)
        spans += same if is_break else [WeightedText("".join(piece.text for piece in same), weight)]
    return spans


def lint_prompt(prompt: str, known_tokens: Sequence[str] = ()) -> list[str]:
    """List probable mistakes in a prompt, one sentence each; the prompt still compiles."""
    events = _scan_events(prompt)
    return [
        *_lint_balance(events),
        *_lint_weights(prompt),
        *_lint_numbers(events),
        *_lint_tokens(prompt, known_tokens),
        *_lint_foreign(prompt, events),
    ]


def _lint_balance(events: list[_Event]) -> Iterator[str]:
    for shape in "([":
        lost = [
            e.bracket.at for e in events if e.kind == "open" and e.text == shape and e.bracket and not e.bracket.closed
        ]
        if lost:
            yield f"{_count_brackets(len(lost), shape)} never closed and counts up to the end, first at character {lost[0] + 1}."
    for shape in ")]":
        stray = [event.at for event in events if event.kind == "stray" and event.text == shape]
        if stray:
            yield f"{_count_brackets(len(stray), shape)} closing nothing and stays as text, first at character {stray[0] + 1}."
    lone = [event.at for event in events if event.kind == "escape" and not event.text]
    if lone:
        yield f"The backslash at character {lone[0] + 1} vanishes; write two for one that stays."


def _count_brackets(count: int, shape: str) -> str:
    return f"A {shape!r} is" if count == 1 else f"Each of {count} {shape!r} is"


def _lint_weights(prompt: str) -> Iterator[str]:
    for span in parse_prompt(prompt):
        if span.weight > MAX_SAFE_WEIGHT:
            yield f"{_shorten_text(span.text)} has weight {span.weight:.4g}; above {MAX_SAFE_WEIGHT} pictures tend to break up."
        elif span.weight <= 0 and span is not BREAK:
            yield f"{_shorten_text(span.text)} has weight {span.weight:.4g}; use the negative prompt for what you do not want."


def _lint_numbers(events: list[_Event]) -> Iterator[str]:
    """Report `(x:1,3)` and `(x:high)`, but not `(scene: forest)` or `(16:9 wide)`, which are plain language."""
    for before, event, after in zip([None, *events], events, events[1:], strict=False):
        closes = after.kind == "close" and after.text == ")"
        if closes and event.kind == "text" and event.text == ":":
            yield f"There is no weight between ':' and ')' at character {event.at + 1}."
        elif closes and event.kind == "text" and before is not None and before.text == ":":
            word, digits = event.text.strip(), any(letter.isdigit() for letter in event.text)
            if len(word.split()) == 1 and (digits or not event.text[0].isspace()):
                yield f"{_shorten_text(word)} at character {event.at + 1} is not a weight (write it like 1.3) and stays as text."


def _lint_tokens(prompt: str, known_tokens: Sequence[str]) -> Iterator[str]:
    for token in dict.fromkeys(_TOKEN.findall(_NETWORK.sub("", prompt))):
        if token not in known_tokens:
            near = difflib.get_close_matches(token, known_tokens, n=1)
            hint = f"did you mean {near[0]}" if near else "it is read as plain text"
            yield f"No learned word {_shorten_text(token)} is known; {hint}."


def _lint_foreign(prompt: str, events: list[_Event]) -> Iterator[str]:
    """Report the syntax of other programs, which is read as plain text here."""
    for match in _NETWORK.finditer(prompt):
        yield f"{_shorten_text(match.group())} is read as plain text; a LoRA is given beside the prompt, not in it."
    for match in _COMPEL.finditer(prompt):
        yield f"{match.group()!r} at character {match.start() + 1} is compel's emphasis; write (word:1.2) instead."
    inside: list[set[str]] = [set()]
    for number, event in enumerate(events):
        if event.kind == "open":
            inside.append(set())
        elif event.kind == "close":
            marks = inside.pop()
            if event.text == "]" and event.bracket:
                yield from _lint_editing(events[number - 2 : number], "|" in marks, event.bracket.at)
        elif event.kind == "text":
            inside[-1] |= {"|"} & set(event.text)


def _lint_editing(tail: list[_Event], bars: bool, at: int) -> Iterator[str]:
    if bars:
        yield f"[a|b] at character {at + 1} is A1111's alternation, which is not supported; it is read as plain text."
    elif len(tail) == 2 and tail[0].text == ":" and tail[1].kind == "text" and _NUMBER.fullmatch(tail[1].text):
        yield (
            f"[a:b:0.5] at character {at + 1} is A1111's prompt editing, which is not supported;"
            " for a weight write (word:1.2)."
        )


def _shorten_text(text: str) -> str:
    text = text.strip()
    return repr(text if len(text) <= 40 else text[:37] + "…")
