"""The prompt as people write it: emphasis, and what in it is probably not meant as written.

Emphasis follows A1111: `(x)` weighs 1.1, `[x]` 1/1.1, `(x:1.3)` what it says, nesting multiplies, `\\(` is a bracket and
nothing more, `BREAK` starts a new chunk. A chunk is what an encoder takes at once: 75 tokens between start and end of text.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

ROUND, SQUARE = 1.1, 1 / 1.1
STRONG = 1.6
# Beyond this no weight means anything, and infinity would turn the picture into NaN.
_LIMIT = 1e6

# Every branch is possessive or one character long, so the scan is linear in the prompt whatever it holds.
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


class Span(NamedTuple):
    """A stretch of the prompt that weighs the same throughout."""

    text: str
    weight: float


# The marker for a new chunk. No other span is empty.
BREAK = Span("", 0.0)


@dataclass
class _Bracket:
    shape: str
    at: int
    factor: float
    closed: bool = False


class _Event(NamedTuple):
    """One thing the prompt says: words, an escaped character, a new chunk, a bracket that opens, closes or closes nothing."""

    kind: Literal["text", "escape", "break", "open", "close", "stray"]
    text: str
    at: int
    bracket: _Bracket | None = None


def _events(prompt: str) -> list[_Event]:
    """A bracket knows its factor only once it is closed, so this comes before any weight is computed."""
    events: list[_Event] = []
    waiting: dict[str, list[_Bracket]] = {"(": [], "[": []}
    for match in _SYNTAX.finditer(prompt):
        text, at = match.group(), match.start()
        last = match.end() - 1
        if match["escape"]:
            # A backslash before anything else vanishes, as in A1111.
            events.append(_Event("escape", text[1:], at))
        elif text == "(" or text == "[":
            bracket = _Bracket(text, at, ROUND if text == "(" else SQUARE)
            waiting[text].append(bracket)
            events.append(_Event("open", text, at, bracket))
        elif match["weight"] and waiting["("]:
            waiting["("][-1].factor = float(match["weight"])
            events.append(_close(waiting["("], text, last))
        elif match["weight"]:
            events += [_Event("text", text[:-1], at), _Event("stray", ")", last)]
        elif text in ")]":
            events.append(_close(waiting["(" if text == ")" else "["], text, at))
        else:
            events += _words(text, at)
    return events


def _close(waiting: list[_Bracket], text: str, at: int) -> _Event:
    if not waiting:
        return _Event("stray", text, at)
    bracket = waiting.pop()
    bracket.closed = True
    return _Event("close", text, at, bracket)


def _words(text: str, at: int) -> Iterator[_Event]:
    """Plain text, cut at BREAK; the white space around a BREAK goes with it."""
    parts = _BREAK.split(text)
    for number, part in enumerate(parts):
        if number > 0:
            yield _Event("break", "BREAK", at)
            part = part.lstrip()
        if number < len(parts) - 1:
            part = part.rstrip()
        yield _Event("text", part, at)


def parse(prompt: str) -> list[Span]:
    """Read A1111's emphasis. Any text is a prompt: brackets that do not match are tolerated as A1111 does.

    An unclosed bracket counts up to the end, a stray closing one is text. BREAK counts inside brackets too.
    """
    pieces: list[Span] = []
    # Round and square brackets may overlap in a careless prompt, but those of one shape always nest.
    factors: dict[str, list[float]] = {"(": [1.0], "[": [1.0]}
    for event in _events(prompt):
        if event.bracket and event.kind == "open":
            stack = factors[event.bracket.shape]
            stack.append(min(max(stack[-1] * event.bracket.factor, -_LIMIT), _LIMIT))
        elif event.bracket:
            factors[event.bracket.shape].pop()
        elif event.kind == "break":
            pieces.append(BREAK)
        elif event.text:
            # Rounded, so that factors which cancel out leave exactly 1 and their text joins its neighbours.
            pieces.append(Span(event.text, round(factors["("][-1] * factors["["][-1], 9)))
    return _merge(pieces)


def _merge(pieces: list[Span]) -> list[Span]:
    spans: list[Span] = []
    for (is_break, weight), run in groupby(pieces, key=lambda piece: (piece is BREAK, piece.weight)):
        same = list(run)
        spans += same if is_break else [Span("".join(piece.text for piece in same), weight)]
    return spans


def lint(prompt: str, known_tokens: Sequence[str] = ()) -> list[str]:
    """What is probably not meant as written, one sentence each; the prompt still compiles."""
    events = _events(prompt)
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
            yield f"{_times(len(lost), shape)} never closed and counts up to the end, first at character {lost[0] + 1}."
    for shape in ")]":
        stray = [event.at for event in events if event.kind == "stray" and event.text == shape]
        if stray:
            yield f"{_times(len(stray), shape)} closing nothing and stays as text, first at character {stray[0] + 1}."
    lone = [event.at for event in events if event.kind == "escape" and not event.text]
    if lone:
        yield f"The backslash at character {lone[0] + 1} vanishes; write two for one that stays."


def _times(count: int, shape: str) -> str:
    return f"A {shape!r} is" if count == 1 else f"Each of {count} {shape!r} is"


def _lint_weights(prompt: str) -> Iterator[str]:
    for span in parse(prompt):
        if span.weight > STRONG:
            yield f"{_short(span.text)} has weight {span.weight:.4g}; above {STRONG} pictures tend to break up."
        elif span.weight <= 0 and span is not BREAK:
            yield f"{_short(span.text)} has weight {span.weight:.4g}; use the negative prompt for what you do not want."


def _lint_numbers(events: list[_Event]) -> Iterator[str]:
    """`(x:1,3)` and `(x:high)`, but not `(scene: forest)` or `(16:9 wide)`, which are plain language."""
    for before, event, after in zip([None, *events], events, events[1:], strict=False):
        closes = after.kind == "close" and after.text == ")"
        if closes and event.kind == "text" and event.text == ":":
            yield f"There is no weight between ':' and ')' at character {event.at + 1}."
        elif closes and event.kind == "text" and before is not None and before.text == ":":
            word, digits = event.text.strip(), any(letter.isdigit() for letter in event.text)
            if len(word.split()) == 1 and (digits or not event.text[0].isspace()):
                yield f"{_short(word)} at character {event.at + 1} is not a weight (write it like 1.3) and stays as text."


def _lint_tokens(prompt: str, known_tokens: Sequence[str]) -> Iterator[str]:
    for token in dict.fromkeys(_TOKEN.findall(_NETWORK.sub("", prompt))):
        if token not in known_tokens:
            near = difflib.get_close_matches(token, known_tokens, n=1)
            hint = f"did you mean {near[0]}" if near else "it is read as plain text"
            yield f"No learned word {_short(token)} is known; {hint}."


def _lint_foreign(prompt: str, events: list[_Event]) -> Iterator[str]:
    """Syntax of other programs that would pass as words."""
    for match in _NETWORK.finditer(prompt):
        yield f"{_short(match.group())} is read as plain text; a LoRA is given beside the prompt, not in it."
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


def _short(text: str) -> str:
    text = text.strip()
    return repr(text if len(text) <= 40 else text[:37] + "…")
