"""A pen that draws smooth, softly shaded shapes in units of a head's radius."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageDraw

Point = tuple[float, float]
Colour = tuple[int, int, int]

DARK: Colour = (46, 34, 46)
WHITE: Colour = (255, 255, 255)
EDGE = 0.055
"""How thick outlines are, in head radii."""
BANDS = 5
"""How many nested bands of colour make a shape look round."""


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """Blend `one` with a share of `other`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def smooth(points: Iterable[Point], rounds: int = 3) -> np.ndarray:
    """Cut the corners of a closed outline a few times (Chaikin), which rounds them."""
    outline = np.array(list(points), dtype=float)
    for _ in range(rounds):
        following = np.roll(outline, -1, axis=0)
        outline = np.stack([0.75 * outline + 0.25 * following, 0.25 * outline + 0.75 * following], 1).reshape(-1, 2)
    return outline


def ellipse(x: float, y: float, rx: float, ry: float, count: int = 48) -> np.ndarray:
    """List the points of an ellipse."""
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], 1)


def arc(x: float, y: float, rx: float, ry: float, start: float, end: float, count: int = 14) -> list[Point]:
    """List the points of a part of an ellipse, angles in radians, clockwise on the picture."""
    angles = np.linspace(start, end, count)
    return [(float(x + rx * np.cos(a)), float(y + ry * np.sin(a))) for a in angles]


def grown(outline: np.ndarray, by: float) -> np.ndarray:
    """Move a closed outline outwards along its normals."""
    along = np.roll(outline, -1, axis=0) - np.roll(outline, 1, axis=0)
    normal = np.stack([along[:, 1], -along[:, 0]], 1)
    length = np.hypot(normal[:, 0], normal[:, 1])[:, None]
    x, y = outline[:, 0], outline[:, 1]
    turning = np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)
    return outline + np.sign(turning) * by * normal / np.maximum(length, 1e-9)


class Pen:
    """Draws on a picture, around a middle, in units of `radius` pixels, everything turned by `tilt` and in one light."""

    def __init__(
        self,
        picture: Image.Image,
        middle: Point,
        radius: float,
        tilt: float = 0.0,
        light: tuple[float, float, float] = (1.0, 1.0, 1.0),
    ) -> None:
        self.ink = ImageDraw.Draw(picture)
        self.middle, self.radius, self.light = np.array(middle), radius, light
        self.turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])

    def place(self, points: np.ndarray) -> list[float]:
        """Turn head radii into pixels, x and y in turn."""
        return (points @ self.turn * self.radius + self.middle).ravel().tolist()

    def lit(self, colour: Colour) -> Colour:
        """Give a colour the light of the hour."""
        red, green, blue = (min(255, round(value * share)) for value, share in zip(colour, self.light, strict=True))
        return red, green, blue

    def fill(self, outline: np.ndarray, colour: Colour, edge: float = 0.0, line: Colour | None = None) -> None:
        """Fill a flat shape; an edge of a darker colour goes around it."""
        if edge:
            self.ink.polygon(self.place(grown(outline, edge)), fill=self.lit(line or mix(colour, DARK, 0.58)))
        self.ink.polygon(self.place(outline), fill=self.lit(colour))

    def round(self, outline: np.ndarray, colour: Colour, edge: float = EDGE, depth: float = 1.0) -> None:
        """Fill a shape in nested bands, darker below right and lighter above left, as light from there would."""
        if edge:
            self.ink.polygon(self.place(grown(outline, edge)), fill=self.lit(mix(colour, DARK, 0.58)))
        centre = outline.mean(0)
        size = np.ptp(outline, axis=0).min() / 2
        for band in range(BANDS):
            share = band / (BANDS - 1)
            shade = mix(colour, DARK, 0.2 * depth * (1 - 2 * share)) if share < 0.5 else mix(
                colour, WHITE, 0.2 * depth * (2 * share - 1)
            )  # fmt: skip
            inner = centre + (outline - centre) * (1 - 0.62 * share) - size * share * np.array([0.2, 0.24])
            self.ink.polygon(self.place(inner), fill=self.lit(shade))

    def shape(self, colour: Colour, *points: Point, edge: float = EDGE, depth: float = 1.0) -> None:
        """Draw a shaded shape with rounded corners."""
        self.round(smooth(points), colour, edge, depth)

    def flat(self, colour: Colour, *points: Point, edge: float = 0.0) -> None:
        """Draw a plain shape with rounded corners."""
        self.fill(smooth(points), colour, edge)

    def oval(self, colour: Colour, x: float, y: float, rx: float, ry: float, edge: float = 0.0) -> None:
        """Draw a plain oval."""
        self.fill(ellipse(x, y, rx, ry), colour, edge)

    def ball(self, colour: Colour, x: float, y: float, rx: float, ry: float, edge: float = EDGE) -> None:
        """Draw a shaded oval."""
        self.round(ellipse(x, y, rx, ry), colour, edge)

    def stroke(self, colour: Colour, width: float, *points: Point, edge: float = 0.0) -> None:
        """Draw a thick line with round ends and joints; an edge goes around all of it."""
        xy = self.place(np.array(points, dtype=float))
        for thick, ink in (((width + 2 * edge), mix(colour, DARK, 0.58)), (width, colour)):
            if ink != colour and not edge:
                continue
            half = thick * self.radius / 2
            shade = self.lit(ink)
            self.ink.line(xy, fill=shade, width=max(round(2 * half), 1))
            for x, y in zip(xy[::2], xy[1::2], strict=True):  # round joints; a line with `joint` is slower
                self.ink.ellipse((x - half, y - half, x + half, y + half), fill=shade)


def bend(*points: Point, count: int = 12) -> list[Point]:
    """Follow a Bezier curve through three control points."""
    (ax, ay), (bx, by), (cx, cy) = points
    ts = np.linspace(0, 1, count)
    curve = [((1 - t) ** 2, 2 * t * (1 - t), t**2) for t in ts]
    return [(float(a * ax + b * bx + c * cx), float(a * ay + b * by + c * cy)) for a, b, c in curve]
