"""The critters themselves. One body for all framings: a close-up is the full body seen from nearer.

Lengths are in head radii, around the middle of the head; y points down. Marks are big on purpose: what is smaller than a
few pixels would not come through the VAE, and then no prompt and no learned word could hold it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from models.toybox.scenery import OVERSAMPLING, Colour

if TYPE_CHECKING:
    from models.toybox.world import Critter

Point = tuple[float, float]

COATS: dict[str, Colour] = {
    "red": (214, 58, 54),
    "orange": (244, 140, 44),
    "yellow": (248, 212, 72),
    "green": (98, 176, 80),
    "teal": (32, 166, 164),
    "blue": (68, 116, 220),
    "purple": (136, 84, 192),
    "pink": (246, 140, 190),
    "brown": (138, 92, 60),
    "grey": (152, 156, 168),
}
CLOTHS: dict[str, Colour] = {
    "red": (224, 36, 48),
    "yellow": (255, 218, 48),
    "green": (40, 160, 76),
    "blue": (36, 84, 214),
    "white": (252, 252, 252),
    "black": (50, 48, 56),
}
BELLY_FURS: dict[str, Colour] = {
    "cream": (254, 242, 214),
    "gold": (250, 200, 66),
    "rose": (250, 168, 178),
    "charcoal": (78, 76, 90),
}
MARKS: dict[str, Colour] = {
    "white": (252, 252, 252),
    "black": (46, 42, 52),
    "gold": (252, 196, 52),
    "violet": (152, 84, 206),
}
DARK: Colour = (42, 34, 44)
WHITE: Colour = (255, 255, 255)

# Where the middle of the head is (fractions of width and height) and its radius (fraction of the width).
STANDPOINTS = {"close-up": (0.5, 0.585, 0.37), "portrait": (0.5, 0.47, 0.255), "full body": (0.5, 0.385, 0.2)}
EYE_PLACES = {"frog": (0.5, -0.5), "owl": (0.38, -0.1)}
EYE_PLACE = (0.4, -0.1)


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """`one` with a share of `other` stirred in."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def rounded(points: Iterable[Point]) -> np.ndarray:
    """The outline with its corners cut three times (Chaikin), which rounds them."""
    outline = np.array(list(points), dtype=float)
    for _ in range(3):
        following = np.roll(outline, -1, axis=0)
        outline = np.stack([0.75 * outline + 0.25 * following, 0.25 * outline + 0.75 * following], 1).reshape(-1, 2)
    return outline


class Pen:
    """Draws in head radii on a layer; a head tilts, so its pen turns everything around the head's middle."""

    def __init__(self, layer: Image.Image, middle: Point, radius: float, tilt: float = 0.0) -> None:
        self.ink = ImageDraw.Draw(layer)
        self.middle, self.radius = np.array(middle), radius
        self.turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])

    def outline(self, points: np.ndarray, colour: Colour, edge: float) -> None:
        """A filled shape with an edge of its own darker colour."""
        xy = [tuple(p) for p in points @ self.turn * self.radius + self.middle]
        width = round(edge * self.radius)
        if width:
            self.ink.polygon(xy, fill=colour, outline=mix(colour, DARK, 0.45), width=width)
        else:
            self.ink.polygon(xy, fill=colour)

    def shape(self, colour: Colour, *points: Point, edge: float = 0.05) -> None:
        self.outline(rounded(points), colour, edge)

    def oval(self, colour: Colour, x: float, y: float, rx: float, ry: float, edge: float = 0.0) -> None:
        angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        self.outline(np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], 1), colour, edge)

    def stroke(self, colour: Colour, width: float, *points: Point) -> None:
        """A thick line with round ends and joints."""
        xy = [tuple(p) for p in np.array(points) @ self.turn * self.radius + self.middle]
        thick = width * self.radius
        self.ink.line(xy, fill=colour, width=max(round(thick), 1), joint="curve")
        for x, y in (xy[0], xy[-1]):
            self.ink.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), fill=colour)


def _tail(pen: Pen, kind: str, coat: Colour, belly: Colour, side: float) -> None:
    if kind == "fox":
        pen.shape(coat, (0.4 * side, 2.6), (1.5 * side, 2.6), (1.95 * side, 1.5), (1.5 * side, 0.9), (1.1 * side, 1.8))
        pen.shape(belly, (1.3 * side, 1.5), (1.8 * side, 1.7), (1.85 * side, 1.3), (1.5 * side, 0.95), edge=0)
    elif kind == "cat":
        pen.stroke(mix(coat, DARK, 0.12), 0.26, (0.5 * side, 2.4), (1.2 * side, 2.3), (1.4 * side, 1.6))
    elif kind == "rabbit":
        pen.oval(belly, 0.85 * side, 2.2, 0.3, 0.3, 0.05)


def _body(pen: Pen, kind: str, coat: Colour, belly: Colour, wave: bool, side: float) -> None:
    _tail(pen, kind, coat, belly, side)
    foot = (240, 160, 60) if kind == "owl" else mix(coat, DARK, 0.1)
    for x in (-0.42, 0.42):
        pen.oval(foot, x, 2.6, 0.36, 0.2, 0.05)
    pen.oval(coat, 0, 1.72, 0.84, 0.95, 0.05)
    pen.oval(belly, 0, 1.86, 0.56, 0.7)
    arm = mix(coat, DARK, 0.08)
    for x in (-1.0, 1.0):
        if wave and x == side:
            pen.shape(arm, (0.5 * x, 1.5), (0.75 * x, 1.75), (1.35 * x, 1.0), (1.05 * x, 0.75))
        elif kind == "owl":
            pen.shape(arm, (0.5 * x, 0.95), (0.95 * x, 1.0), (1.2 * x, 2.3), (0.7 * x, 2.2))
        else:
            pen.shape(arm, (0.5 * x, 1.05), (0.8 * x, 1.05), (1.1 * x, 2.05), (0.65 * x, 2.2))


def _ears(pen: Pen, kind: str, coat: Colour, inner: Colour) -> None:
    for x in (-1.0, 1.0):
        if kind == "fox":
            pen.shape(coat, (0.05 * x, -0.6), (0.85 * x, -1.75), (1.02 * x, -1.7), (1.1 * x, 0.0))
            pen.shape(inner, (0.38 * x, -0.75), (0.85 * x, -1.45), (0.92 * x, -0.4), edge=0)
        elif kind == "cat":
            pen.shape(coat, (0.15 * x, -0.7), (0.68 * x, -1.4), (0.88 * x, -1.35), (1.0 * x, -0.1))
            pen.shape(inner, (0.42 * x, -0.7), (0.72 * x, -1.15), (0.85 * x, -0.5), edge=0)
        elif kind == "rabbit":
            pen.shape(coat, (0.12 * x, -0.5), (0.2 * x, -1.95), (0.72 * x, -2.0), (0.78 * x, -0.5))
            pen.shape(inner, (0.32 * x, -0.7), (0.36 * x, -1.65), (0.58 * x, -1.65), (0.6 * x, -0.7), edge=0)
        elif kind == "bear":
            pen.oval(coat, 0.72 * x, -0.72, 0.4, 0.4, 0.05)
            pen.oval(inner, 0.72 * x, -0.7, 0.22, 0.22)
        elif kind == "owl":
            pen.shape(coat, (0.1 * x, -0.7), (1.0 * x, -1.35), (1.1 * x, -1.15), (0.9 * x, -0.2))
        else:
            pen.oval(coat, 0.5 * x, -0.56, 0.42, 0.42, 0.05)


def _head(pen: Pen, kind: str, coat: Colour, inner: Colour) -> None:
    _ears(pen, kind, coat, inner)
    if kind == "fox":  # cheeks to a point
        pen.shape(
            coat, (-0.5, -1.0), (0.5, -1.0), (1.0, -0.4), (1.3, 0.4), (0.4, 0.95), (-0.4, 0.95), (-1.3, 0.4), (-1, -0.4)
        )
    else:
        wide, high = {"frog": (1.1, 0.8), "owl": (0.98, 0.95), "bear": (1.0, 0.92)}.get(kind, (1.0, 0.86))
        pen.oval(coat, 0, 0, wide, high, 0.05)
    if kind == "frog":  # the bumps again, without an edge, so that they grow out of the head
        for x in (-0.5, 0.5):
            pen.oval(coat, x, -0.5, 0.36, 0.36)


def _muzzle(pen: Pen, kind: str, pale: Colour) -> None:
    mouth = mix(DARK, WHITE, 0.75) if sum(pale) < 400 else DARK
    if kind == "fox":
        pen.shape(pale, (-1.05, 0.3), (-0.3, 0.1), (0, 0.3), (0.3, 0.1), (1.05, 0.3), (0.4, 0.9), (-0.4, 0.9), edge=0)
        pen.shape(DARK, (-0.24, 0.26), (0.24, 0.26), (0.0, 0.56), edge=0)
    elif kind == "cat":
        pen.oval(pale, -0.2, 0.4, 0.3, 0.26)
        pen.oval(pale, 0.2, 0.4, 0.3, 0.26)
        pen.shape((236, 110, 130), (-0.18, 0.16), (0.18, 0.16), (0.0, 0.4), edge=0)
        for x in (-1.0, 1.0):
            pen.stroke(DARK, 0.06, (0.5 * x, 0.36), (1.15 * x, 0.26))
            pen.stroke(DARK, 0.06, (0.5 * x, 0.48), (1.12 * x, 0.56))
    elif kind == "rabbit":
        pen.shape(WHITE, (-0.2, 0.5), (0.2, 0.5), (0.2, 0.92), (-0.2, 0.92), edge=0.04)
        pen.oval(pale, -0.22, 0.4, 0.3, 0.24)
        pen.oval(pale, 0.22, 0.4, 0.3, 0.24)
        pen.oval((236, 110, 130), 0, 0.24, 0.14, 0.1)
    elif kind == "bear":
        pen.oval(pale, 0, 0.4, 0.52, 0.42)
        pen.oval(DARK, 0, 0.24, 0.24, 0.17)
        pen.stroke(mouth, 0.07, (-0.2, 0.56), (0, 0.64), (0.2, 0.56))
    elif kind == "owl":
        pen.oval(pale, 0, 0.42, 0.66, 0.44)
        pen.shape((250, 160, 40), (-0.26, 0.12), (0.26, 0.12), (0.0, 0.66), edge=0.04)
    else:
        pen.oval(pale, 0, 0.34, 0.86, 0.4)
        pen.stroke(mouth, 0.09, (-0.62, 0.2), (-0.3, 0.36), (0, 0.4), (0.3, 0.36), (0.62, 0.2))


def _marking(pen: Pen, kind: str, marking: str, colour: Colour) -> None:
    ex, ey = EYE_PLACES.get(kind, EYE_PLACE)
    if marking == "stripe":
        pen.shape(colour, (-0.22, -0.98), (0.22, -0.98), (0.2, 0.0), (0.1, 0.4), (-0.1, 0.4), (-0.2, 0.0), edge=0)
    elif marking == "patch":
        pen.oval(colour, ex, ey, 0.48, 0.5)
    elif marking == "mask":
        pen.shape(colour, (-0.92, ey - 0.5), (0, ey - 0.32), (0.92, ey - 0.5), (0.95, ey + 0.42), (0, ey + 0.36),
                  (-0.95, ey + 0.42), edge=0)  # fmt: skip


def _eyes(pen: Pen, kind: str, eyes: str, coat: Colour, gaze: float) -> None:
    ex, ey = EYE_PLACES.get(kind, EYE_PLACE)
    for x in (-ex, ex):
        if eyes == "happy":
            arc = [(x + 0.2 * np.cos(a), ey + 0.1 - 0.2 * np.sin(a)) for a in np.linspace(0, np.pi, 9)]
            pen.stroke(WHITE, 0.24, *arc)
            pen.stroke(DARK, 0.12, *arc)
            continue
        pen.oval(WHITE, x, ey, 0.26, 0.28)
        if eyes == "green":
            pen.oval((70, 190, 70), x + gaze, ey, 0.22, 0.24)
            pen.oval(DARK, x + gaze, ey, 0.09, 0.17)
        else:
            pen.oval(DARK, x + gaze, ey + 0.02, 0.19, 0.22)
        if eyes == "sleepy":
            lid = mix(coat, DARK, 0.3)
            angles = np.linspace(np.pi, 2 * np.pi, 20)
            pen.outline(np.stack([x + 0.29 * np.cos(angles), ey + 0.06 + 0.36 * np.sin(angles)], 1), lid, 0)
            pen.stroke(DARK, 0.07, (x - 0.28, ey + 0.06), (x + 0.28, ey + 0.06))
        else:
            pen.oval(WHITE, x + gaze - 0.07, ey - 0.09, 0.07, 0.07)


def _accessory(pen: Pen, body: Pen, kind: str, accessory: str, cloth: Colour) -> None:
    shade = mix(cloth, DARK, 0.25)
    ex, ey = EYE_PLACES.get(kind, EYE_PLACE)
    if accessory == "hat":
        pen.shape(cloth, (-0.6, -0.7), (-0.52, -1.6), (0.52, -1.6), (0.6, -0.7))
        pen.shape(shade, (-0.6, -0.72), (-0.58, -1.02), (0.58, -1.02), (0.6, -0.72), edge=0)
        pen.oval(cloth, 0, -0.72, 0.9, 0.17, 0.05)
    elif accessory == "crown":
        points = ((-0.62, -0.62), (-0.72, -1.4), (-0.34, -1.02), (0, -1.5), (0.34, -1.02), (0.72, -1.4), (0.62, -0.62))
        pen.outline(np.array(points), cloth, 0.05)
        for x in (-0.72, 0.0, 0.72):
            pen.oval(cloth, x, -1.4 if x else -1.5, 0.12, 0.12, 0.04)
    elif accessory == "glasses":
        pen.stroke(cloth, 0.12, (-ex, ey), (ex, ey)) if kind == "frog" else pen.stroke(
            cloth, 0.12, (-0.12, ey), (0.12, ey)
        )
        angles = np.linspace(0, 2 * np.pi, 28)
        for x in (-ex, ex):
            pen.stroke(shade, 0.17, *((x + 0.36 * np.cos(a), ey + 0.36 * np.sin(a)) for a in angles))
            pen.stroke(cloth, 0.12, *((x + 0.36 * np.cos(a), ey + 0.36 * np.sin(a)) for a in angles))
    elif accessory == "scarf":
        body.shape(cloth, (0.2, 0.9), (0.62, 0.85), (0.72, 1.75), (0.3, 1.8))
        body.shape(cloth, (-0.95, 0.65), (0, 0.9), (0.95, 0.65), (0.9, 1.15), (0, 1.3), (-0.9, 1.15))
    elif accessory == "bow":
        for x in (-1.0, 1.0):
            pen.shape(cloth, (0.55, -0.78), (0.55 + 0.62 * x, -1.25), (0.55 + 0.62 * x, -0.35))
        pen.oval(shade, 0.55, -0.8, 0.16, 0.19, 0.04)


def _shaded(figure: Image.Image, middle: Point, radius: float) -> Image.Image:
    """Light from above left: brighter there, dimmer below right, softly."""
    rgba = np.asarray(figure, dtype=np.float32)
    ys, xs = np.mgrid[: rgba.shape[0], : rgba.shape[1]].astype(np.float32)
    fall = 0.3 * (xs - middle[0]) / radius + 0.5 * (ys - middle[1]) / radius
    light = np.clip(1.03 - 0.13 * fall, 0.78, 1.16)
    rgba[..., :3] = np.clip(rgba[..., :3] * light[..., None], 0, 255)
    return Image.fromarray(rgba.astype(np.uint8), "RGBA")


def paint(critter: Critter, rng: np.random.Generator, background: Image.Image) -> Image.Image:
    """The background (at `OVERSAMPLING`) with the critter on it, reduced to its final size."""
    width, height = background.width // OVERSAMPLING, background.height // OVERSAMPLING
    x, y, size = STANDPOINTS[critter.framing]
    middle = ((x + rng.uniform(-0.06, 0.06)) * width, (y + rng.uniform(-0.03, 0.03)) * height)
    radius = size * min(width, height) * rng.uniform(0.94, 1.06)
    tilt, side, gaze = rng.uniform(-0.14, 0.14), float(rng.choice([-1.0, 1.0])), float(rng.uniform(-0.05, 0.05))
    layer = Image.new("RGBA", background.size)
    big = (middle[0] * OVERSAMPLING, middle[1] * OVERSAMPLING)
    head, body = Pen(layer, big, radius * OVERSAMPLING, tilt), Pen(layer, big, radius * OVERSAMPLING)
    coat, belly = COATS[critter.colour], BELLY_FURS[critter.belly]
    _body(body, critter.kind, coat, belly, rng.random() < 0.3, side)
    if critter.accessory == "scarf":
        _accessory(head, body, critter.kind, "scarf", CLOTHS[critter.accessory_colour])
    _head(head, critter.kind, coat, belly)
    _marking(head, critter.kind, critter.marking, MARKS[critter.marking_colour])
    _muzzle(head, critter.kind, belly)
    _eyes(head, critter.kind, critter.eyes, coat, gaze)
    if critter.accessory not in ("none", "scarf"):
        _accessory(head, body, critter.kind, critter.accessory, CLOTHS[critter.accessory_colour])
    shadow = Pen(background, big, radius * OVERSAMPLING)
    ground = np.asarray(background)[-2, background.width // 2]
    shadow.oval(mix((int(ground[0]), int(ground[1]), int(ground[2])), DARK, 0.3), 0, 2.72, 1.0, 0.16)
    small = _shaded(layer.reduce(OVERSAMPLING), middle, radius)
    picture = background.reduce(OVERSAMPLING)
    picture.paste(small, (0, 0), small)
    return picture
