"""Small charts as SVG text that fits into any page: a histogram with its cut, a matrix of likenesses, lines over steps."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT = 360, 150
LEFT, RIGHT, TOP, BOTTOM = 34, 8, 10, 24
# For lines, whose numbers are longer and whose rows of text stand above the frame.
WIDE_LEFT, ROW, LETTER = 46, 15, 6.2
MAX_DOTS = 60


@dataclass(frozen=True)
class Series:
    """One line of a chart, as places across and values. A value that is no number leaves a gap."""

    name: str
    points: Sequence[tuple[float, float]]
    kind: str = "main"
    """How it is drawn: main, other (beside a main one) or faint (behind them, and cut off where they need the room)."""


def draw_histogram(values: Sequence[float], cut: float | None = None, label: str = "", bins: int = 24) -> str:
    """Draw how often each value occurs, with the cut; what lies under it is pale."""
    numbers = np.asarray([value for value in values if np.isfinite(value)], dtype=float)
    if not len(numbers):
        return ""
    ends = [numbers.min(), numbers.max()] + ([cut] if cut is not None and np.isfinite(cut) else [])
    low, high = min(ends), max(ends)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(numbers, bins=bins, range=(low, high))
    across = _linear_scale(low, high, LEFT, WIDTH - RIGHT)
    up = _linear_scale(0, max(counts), HEIGHT - BOTTOM, TOP)
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
        parts.append(_svg_text(x + (-4 if anchor == "end" else 4), TOP + 3, f"cut {_short_number(cut)}", anchor))
    parts += [
        _svg_text(LEFT, HEIGHT - 8, _short_number(low), "start"),
        _svg_text(WIDTH - RIGHT, HEIGHT - 8, _short_number(high), "end"),
    ]
    parts.append(_svg_text(LEFT - 5, up(max(counts)) + 4, str(max(counts)), "end"))
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}"/>')
    return _svg_document(
        parts,
        WIDTH,
        HEIGHT,
        f"histogram of {label}: {len(numbers)} values from {_short_number(low)} to {_short_number(high)}",
    )


def draw_likeness_matrix(likeness: np.ndarray, names: Sequence[str], split: int, label: str = "") -> str:
    """Draw every pair's likeness as a square, from pale (least) to dark (greatest); `split` separates chosen from dropped."""
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
    return _svg_document(parts, whole, whole, label or f"likeness of {count} pictures to each other")


def draw_line_chart(
    series: Sequence[Series],
    label: str = "",
    across: str = "step",
    marks: Sequence[tuple[float, str]] = (),
    levels: Sequence[tuple[float, str]] = (),
    span: tuple[float, float] | None = None,
    width: int = WIDTH,
    height: int = HEIGHT,
) -> str:
    """Draw values over steps, with named places (marks) and values (levels); `span` lets several charts share their steps."""
    series = [line for line in series if any(math.isfinite(value) for _, value in line.points)]
    if not series:
        return ""
    marks = [(place, text) for place, text in marks if math.isfinite(place)]
    ends = [place for line in series for place, _ in line.points] + [place for place, _ in marks] + list(span or ())
    first, last = _spread_ends(min(ends), max(ends))
    low, high = _value_range(series, [value for value, _ in levels])
    x = _linear_scale(first, last, WIDE_LEFT, width - RIGHT - 6)
    legend = [line for line in series if line.name] if len(series) > 1 else []
    rows = _label_rows([(x(place), text) for place, text in marks], width)
    top = TOP + ROW * (bool(legend) + (max(rows) + 1 if rows else 0))
    up = _linear_scale(low, high, height - BOTTOM, top)
    frame = _Frame(x, up, (first, last), (low, high), top, width, height, across)
    parts = [*_draw_axes(frame), *_draw_levels(frame, levels), *_draw_marks(frame, marks, rows)]
    for line in sorted(series, key=lambda item: ("faint", "other", "main").index(item.kind)):
        parts += _draw_line(frame, line, {place for place, _ in marks})
    return _svg_document([*parts, *_draw_legend(legend)], width, height, _describe_chart(label, series, across, marks))


@dataclass(frozen=True)
class _Frame:
    """The scales and edges of a line chart."""

    x: Callable[[float], float]
    up: Callable[[float], float]
    across: tuple[float, float]
    values: tuple[float, float]
    top: float
    width: int
    height: int
    unit: str

    @property
    def foot(self) -> int:
        return self.height - BOTTOM


def _value_range(series: Sequence[Series], levels: Sequence[float]) -> tuple[float, float]:
    """Return the range of values to show: everything that lines and levels need, and the bulk of faint ones."""
    values = [*levels]
    for line in series:
        numbers = [value for _, value in line.points if math.isfinite(value)]
        values += [float(end) for end in np.quantile(numbers, (0.02, 0.98))] if line.kind == "faint" else numbers
    low, high = _spread_ends(min(values), max(values))
    return low - 0.06 * (high - low), high + 0.06 * (high - low)


def _spread_ends(low: float, high: float) -> tuple[float, float]:
    """Move the ends of a scale apart if they are the same."""
    room = max(abs(low), abs(high)) * 0.05 or 0.5
    return (low - room, high + room) if high - low < 1e-9 * max(1.0, abs(high)) else (low, high)


def _draw_axes(frame: _Frame) -> Iterator[str]:
    right = frame.width - RIGHT
    for value in _round_ticks(*frame.values, max(2, frame.height // 45)):
        yield f'<path class="grid" d="M{WIDE_LEFT} {frame.up(value):.1f}H{right}"/>'
        yield _svg_text(WIDE_LEFT - 6, frame.up(value) + 4, f"{value:g}", "end")
    for place in _round_ticks(*frame.across, max(2, frame.width // 80), whole=True):
        yield f'<path class="axis" d="M{frame.x(place):.1f} {frame.foot}v4"/>'
        yield _svg_text(frame.x(place), frame.height - 7, f"{place:g}", "middle")
    yield _svg_text(WIDE_LEFT - 12, frame.height - 7, frame.unit, "end")
    yield f'<path class="axis" d="M{WIDE_LEFT} {frame.foot}H{right}"/>'


def _draw_levels(frame: _Frame, levels: Sequence[tuple[float, str]]) -> Iterator[str]:
    for value, text in levels:
        yield f'<path class="level" d="M{WIDE_LEFT} {frame.up(value):.1f}H{frame.width - RIGHT}"/>'
        yield _svg_text(frame.width - RIGHT, frame.up(value) - 4, text, "end")


def _draw_marks(frame: _Frame, marks: Sequence[tuple[float, str]], rows: Sequence[int]) -> Iterator[str]:
    for (place, text), row in zip(marks, rows, strict=True):
        x, y = frame.x(place), frame.top - ROW * (max(rows) - row) - 5
        yield f'<path class="mark" d="M{x:.1f} {y + 3:.1f}V{frame.foot}"/>'
        yield _svg_text(*_place_label(x, y, text, frame.width))


def _round_ticks(low: float, high: float, count: int, whole: bool = False) -> list[float]:
    """Choose about `count` round numbers between two ends."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((factor * power for factor in (1, 2, 5, 10)), key=lambda factor: abs(math.log(factor / rough)))
    step = max(step, 1.0) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def _label_rows(labels: Sequence[tuple[float, str]], width: int) -> list[int]:
    """Choose the row above the frame for each label, so that none overlaps another."""
    rows: list[int] = []
    occupied: list[tuple[int, float, float]] = []
    for place, text in labels:
        at, _, _, anchor = _place_label(place, 0, text, width)
        start = at - (len(text) * LETTER if anchor == "end" else 0)
        end = start + len(text) * LETTER
        row = next(r for r in range(len(labels)) if not any(r == o and start < b and a < end for o, a, b in occupied))
        rows.append(row)
        occupied.append((row, start - 8, end + 8))
    return rows


def _place_label(x: float, y: float, text: str, width: int) -> tuple[float, float, str, str]:
    return (x - 4, y, text, "end") if x > width / 2 else (x + 4, y, text, "start")


def _draw_line(frame: _Frame, line: Series, marked: set[float]) -> list[str]:
    """Draw the line, in as many pieces as gaps leave; if points are few, each is a dot with a title."""
    low, high = frame.values
    dots = line.kind != "faint" and len(line.points) <= MAX_DOTS
    parts = []
    for piece in _split_at_gaps(line.points):
        places = [(frame.x(place), frame.up(min(max(value, low), high))) for place, value in _thin_out(piece)]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        parts.append(f'<path class="line {line.kind}" d="M{path}{"" if len(places) > 1 else "h0"}"/>')
        for place, value in piece if dots else ():
            radius, kind = (5.0, "dot at") if place in marked else (2.6, "dot")
            title = html.escape(f"{line.name or 'value'} {_short_number(value)} at {frame.unit} {place:g}")
            parts.append(
                f'<circle class="{kind} {line.kind}" cx="{frame.x(place):.1f}" cy="{frame.up(value):.1f}" r="{radius}">'
                f"<title>{title}</title></circle>"
            )
    return parts


def _split_at_gaps(points: Sequence[tuple[float, float]]) -> Iterator[list[tuple[float, float]]]:
    piece: list[tuple[float, float]] = []
    for place, value in points:
        if math.isfinite(value):
            piece.append((place, value))
        elif piece:
            yield piece
            piece = []
    if piece:
        yield piece


def _thin_out(points: Sequence[tuple[float, float]], most: int = 400) -> list[tuple[float, float]]:
    """Keep only as many points as the eye can see: the least and the greatest of each stretch."""
    if len(points) <= 2 * most:
        return list(points)
    thinned = []
    for stretch in np.array_split(np.arange(len(points)), most):
        ends = {min(stretch, key=lambda at: points[at][1]), max(stretch, key=lambda at: points[at][1])}
        thinned += [points[at] for at in sorted(ends)]
    return thinned


def _draw_legend(series: Sequence[Series]) -> Iterator[str]:
    x = float(WIDE_LEFT)
    for line in series:
        yield f'<path class="line {line.kind}" d="M{x:.1f} {TOP - 1}h16"/>'
        if line.kind != "faint" and len(line.points) <= MAX_DOTS:
            yield f'<circle class="dot {line.kind}" cx="{x + 8:.1f}" cy="{TOP - 1}" r="2.6"/>'
        yield _svg_text(x + 21, TOP + 3, line.name, "start")
        x += 21 + len(line.name) * LETTER + 16


def _describe_chart(label: str, series: Sequence[Series], across: str, marks: Sequence[tuple[float, str]]) -> str:
    """Describe the chart in a sentence, for readers who do not see it."""
    ways = []
    for line in series:
        points = [point for point in line.points if math.isfinite(point[1])]
        (begin, first), (end, last) = points[0], points[-1]
        way = f"from {_short_number(first)} at {across} {begin:g} to {_short_number(last)} at {across} {end:g}"
        ways.append(
            f"{line.name} {way if len(points) > 1 else f'{_short_number(first)} at {across} {begin:g}'}".strip()
        )
    return "; ".join([f"{label}: {ways[0]}" if label else ways[0], *ways[1:], *(text for _, text in marks)])


def _linear_scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """Return a function from values between `low` and `high` to places between `start` and `end`."""
    span = (high - low) or 1.0
    return lambda value: start + (float(value) - low) / span * (end - start)


def _svg_text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _short_number(value: float) -> str:
    return f"{value:.3g}"


def _svg_document(parts: Sequence[str], width: float, height: float, label: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" role="img" '
        f'aria-label="{html.escape(label, quote=True)}">{"".join(parts)}</svg>'
    )
