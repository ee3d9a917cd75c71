"""Small charts as SVG text that fits into any page: a histogram with its cut, a matrix of likenesses, lines over steps."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

WIDTH, HEIGHT = 360, 150
LEFT, RIGHT, TOP, BOTTOM = 34, 8, 10, 24


def histogram(values: Sequence[float], cut: float | None = None, label: str = "", bins: int = 24) -> str:
    """How often each value occurs; the cut is drawn in, and what lies under it is pale."""
    numbers = np.asarray([value for value in values if np.isfinite(value)], dtype=float)
    if not len(numbers):
        return ""
    ends = [numbers.min(), numbers.max()] + ([cut] if cut is not None and np.isfinite(cut) else [])
    low, high = min(ends), max(ends)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(numbers, bins=bins, range=(low, high))
    across = _scale(low, high, LEFT, WIDTH - RIGHT)
    up = _scale(0, max(counts), HEIGHT - BOTTOM, TOP)
    parts = []
    for count, start, end in zip(counts, edges, edges[1:], strict=False):
        if count:
            kind = "under" if cut is not None and (start + end) / 2 < cut else "over"
            x, width = across(start) + 0.5, across(end) - across(start) - 1
            parts.append(
                f'<rect class="{kind}" x="{x:.1f}" y="{up(count):.1f}" width="{width:.1f}" '
                f'height="{HEIGHT - BOTTOM - up(count):.1f}"/>'
            )
    if cut is not None and np.isfinite(cut):
        x = across(cut)
        parts.append(f'<line class="cut" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{HEIGHT - BOTTOM}"/>')
        anchor = "end" if x > WIDTH / 2 else "start"
        parts.append(_text(x + (-4 if anchor == "end" else 4), TOP + 3, f"cut {_short(cut)}", anchor))
    parts += [_text(LEFT, HEIGHT - 8, _short(low), "start"), _text(WIDTH - RIGHT, HEIGHT - 8, _short(high), "end")]
    parts.append(_text(LEFT - 5, up(max(counts)) + 4, str(max(counts)), "end"))
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}"/>')
    return _svg(
        parts, WIDTH, HEIGHT, f"histogram of {label}: {len(numbers)} values from {_short(low)} to {_short(high)}"
    )


def matrix(likeness: np.ndarray, names: Sequence[str], split: int, label: str = "") -> str:
    """Every pair's likeness as a square, from the least (pale) to the greatest (dark); `split` parts chosen from dropped."""
    count = len(likeness)
    if not count:
        return ""
    side = max(4.0, min(22.0, 620 / count))
    apart = ~np.eye(count, dtype=bool)
    low, high = (likeness[apart].min(), likeness[apart].max()) if count > 1 else (0.0, 1.0)
    span = max(float(high - low), 1e-9)
    parts = []
    for row in range(count):
        for column in range(count):
            share = 1.0 if row == column else (float(likeness[row, column]) - low) / span
            title = f"<title>{html.escape(names[row])} and {html.escape(names[column])}: {likeness[row, column]:.3f}</title>"
            parts.append(
                f'<rect class="cell" x="{column * side:.1f}" y="{row * side:.1f}" width="{side:.1f}" height="{side:.1f}" '
                f'fill-opacity="{0.04 + 0.96 * share:.3f}">{title}</rect>'
            )
    whole = count * side
    if 0 < split < count:
        at = split * side
        parts.append(f'<path class="cut" d="M{at:.1f} 0V{whole:.1f}M0 {at:.1f}H{whole:.1f}"/>')
    return _svg(parts, whole, whole, label or f"likeness of {count} pictures to each other")


def _scale(low: float, high: float, start: float, end: float):  # type: ignore[no-untyped-def]
    """A function from values between `low` and `high` to places between `start` and `end`."""
    span = (high - low) or 1.0
    return lambda value: start + (float(value) - low) / span * (end - start)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _short(value: float) -> str:
    return f"{value:.3g}"


def _svg(parts: Sequence[str], width: float, height: float, label: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" role="img" '
        f'aria-label="{html.escape(label, quote=True)}">{"".join(parts)}</svg>'
    )
