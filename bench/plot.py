"""Plots for the page as SVG files of their own: bars beside a mark, and growth on scales of powers of ten."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

Points = Sequence[tuple[float, float]]
WIDTH, ROW, LEFT = 640, 24, 230
COLOURS = ("#2c6e8f", "#c2622d", "#5b8c3a", "#7a4f9a", "#b8962e", "#3f3f46")
STYLE = "text{font:12px sans-serif;fill:#444}.grid{stroke:#ddd}.mark{stroke:#888;stroke-dasharray:4 3}"


def bars(values: Mapping[str, float], label: str, mark: float | None = None, unit: str = "") -> str:
    """A bar for each value, from 0; the mark is a line down through all of them."""
    most = max([*values.values(), mark or 0.0]) or 1.0
    scale = (WIDTH - LEFT - 80) / most
    parts = []
    for row, (name, value) in enumerate(values.items()):
        y = 8 + row * ROW
        parts.append(_text(LEFT - 8, y + 13, name, "end"))
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{value * scale:.1f}" height="16" fill="{COLOURS[0]}"/>')
        parts.append(_text(LEFT + value * scale + 6, y + 13, f"{value:.3g}{unit}", "start"))
    if mark is not None:
        x = LEFT + mark * scale
        parts.append(f'<path class="mark" d="M{x:.1f} 2V{8 + len(values) * ROW}"/>')
    return _svg(parts, 16 + len(values) * ROW, label)


def growth(series: Mapping[str, Points], across: str, label: str, height: int = 260) -> str:
    """Lines over sizes, both on scales of powers of ten: a power law is a straight line."""
    points = [point for line in series.values() for point in line]
    wide, high = ([_ten(value[at]) for value in points] for at in (0, 1))
    left, right, low, top = math.floor(min(wide)), math.ceil(max(wide)), math.floor(min(high)), math.ceil(max(high))
    x = lambda value: 70 + (_ten(value) - left) / max(1, right - left) * (WIDTH - 230)  # noqa: E731
    y = lambda value: height - 34 - (_ten(value) - low) / max(1, top - low) * (height - 50)  # noqa: E731
    parts = [_text(WIDTH - 160, height - 4, across, "end")]
    for power in range(left, right + 1):
        at = x(10.0**power)
        parts += [
            f'<path class="grid" d="M{at:.1f} 16V{height - 34}"/>',
            _text(at, height - 18, f"{10.0**power:g}", "middle"),
        ]
    for power in range(low, top + 1):
        at = y(10.0**power)
        parts += [f'<path class="grid" d="M70 {at:.1f}H{WIDTH - 160}"/>', _text(64, at + 4, f"{10.0**power:g}", "end")]
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = "L".join(f"{x(size):.1f} {y(value):.1f}" for size, value in line)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x(size):.1f}" cy="{y(value):.1f}" r="3" fill="{colour}"/>' for size, value in line]
        parts.append(f'<rect x="{WIDTH - 150}" y="{16 + 20 * number}" width="12" height="12" fill="{colour}"/>')
        parts.append(_text(WIDTH - 132, 27 + 20 * number, name, "start"))
    return _svg(parts, height, label)


def _ten(value: float) -> float:
    return math.log10(max(value, 1e-9))


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _svg(parts: Sequence[str], height: float, label: str) -> str:
    """On white, so that it can be read on a dark page too."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}" '
        f'role="img" aria-label="{html.escape(label, quote=True)}"><style>{STYLE}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )
