"""What a section of the page consists of, and numbers as it writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NOT_YET = "not measured yet"
Result = dict[str, Any]


@dataclass(frozen=True)
class Told:
    """The results of one part in words, a table and plots."""

    says: str
    table: Sequence[Sequence[str]] = ()
    """The head first."""
    plots: Mapping[str, str] = field(default_factory=dict)
    """By their names: SVG."""
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Section:
    """One part on the page. Where its results are not known, its title says that it is not measured yet."""

    part: str
    title: str
    tell: Callable[[Result], Told]


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def times(value: float) -> str:
    return f"{value:.2f}"


def milliseconds(seconds: float) -> str:
    """Such as 1.75 ms, and seconds from one on."""
    return f"{seconds * 1000:.3g} ms" if seconds < 0.9995 else f"{seconds:.3g} s"


def short(value: float) -> str:
    return f"{value:.3g}"


def bytes_of(count: float) -> str:
    """Such as 12 KB or 2.0 GB, by thousands."""
    for unit in ("bytes", "KB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
