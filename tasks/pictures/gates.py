"""A gate, and its verdict on one picture: what the gates of references and those of posts share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class GateVerdict:
    """The decision of one gate on one picture."""

    gate: str
    """The gate's code."""
    passed: bool
    value: float | None = None
    """The value that decided; None where nothing could be measured."""
    sentence: str = ""
    """Why the picture is rejected; empty where it passes."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A check that a picture must pass: it compares a value with a limit."""

    code: str
    """Its name in reports, tables and the guide, such as `blurred`."""
    label: str
    """The same in words, for counts such as `1 not the character`."""
    sentence: str = ""
    """Why a picture is rejected, with places for {value}, {limit} and what else its stage knows."""
    rejects_over: bool = False
    """True rejects values over the limit; False those under it."""

    def compare(self, value: float, limit: float, **words: Any) -> GateVerdict:
        """Return the verdict on a value; `words` fill further places of the sentence."""
        if value > limit if self.rejects_over else value < limit:
            return GateVerdict(self.code, False, value, self.sentence.format(value=value, limit=limit, **words))
        return GateVerdict(self.code, True, value)
