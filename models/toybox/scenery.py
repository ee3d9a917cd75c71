"""The places of the world: big soft shapes, the same place never twice alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

OVERSAMPLING = 3
"""Everything is drawn this much larger and reduced, which is what makes the edges smooth."""

Colour = tuple[int, int, int]
Painter = Callable[["Canvas"], None]


class Canvas:
    """A picture addressed in fractions: x and y run from 0 to 1 across the picture's width and height."""

    def __init__(self, rng: np.random.Generator, width: int, height: int) -> None:
        self.rng = rng
        self.size = (width * OVERSAMPLING, height * OVERSAMPLING)
        self.image = Image.new("RGB", self.size)
        self.pen = ImageDraw.Draw(self.image)

    def points(self, *pairs: tuple[float, float]) -> list[tuple[float, float]]:
        return [(x * self.size[0], y * self.size[1]) for x, y in pairs]

    def gradient(self, top: Colour, bottom: Colour, start: float = 0.0, end: float = 1.0) -> None:
        """A vertical wash between two heights."""
        low, high = round(start * self.size[1]), round(end * self.size[1])
        mix = np.linspace(0, 1, max(high - low, 1))[:, None]
        column = np.round(np.array(top) * (1 - mix) + np.array(bottom) * mix).astype(np.uint8)
        strip = Image.fromarray(column[:, None]).resize((self.size[0], max(high - low, 1)))
        self.image.paste(strip, (0, low))

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """An ellipse around (x, y); radii are fractions of the width, so that circles stay round."""
        (cx, cy), w = self.points((x, y))[0], self.size[0]
        self.pen.ellipse((cx - rx * w, cy - ry * w, cx + rx * w, cy + ry * w), fill=colour)

    def polygon(self, colour: Colour, *pairs: tuple[float, float]) -> None:
        self.pen.polygon(self.points(*pairs), fill=colour)

    def hill(self, y: float, height: float, colour: Colour) -> None:
        """Ground with a long, soft top edge."""
        phase, bend = self.rng.uniform(0, 6.3), self.rng.uniform(2, 5)
        xs = np.linspace(0, 1, 24)
        top = [(float(x), float(y + height * np.sin(bend * x + phase))) for x in xs]
        self.polygon(colour, *top, (1.0, 1.0), (0.0, 1.0))

    def places(self, count: int, low: float, high: float) -> list[tuple[float, float]]:
        """Positions spread over the width, with heights between the two given."""
        shift = self.rng.uniform(-0.5, 0.5) / count
        xs = (np.arange(count) + 0.5 + self.rng.uniform(-0.25, 0.25, count)) / count + shift
        return [(float(x), float(y)) for x, y in zip(xs, self.rng.uniform(low, high, count), strict=True)]


def _forest(c: Canvas) -> None:
    c.gradient((196, 224, 184), (150, 196, 150))
    for x, top in c.places(5, 0.02, 0.2):
        c.polygon((104, 158, 112), (x - 0.13, 0.72), (x, top), (x + 0.13, 0.72))
    for x, top in c.places(4, 0.12, 0.3):
        c.polygon((98, 72, 52), (x - 0.025, 0.85), (x - 0.025, 0.6), (x + 0.025, 0.6), (x + 0.025, 0.85))
        c.polygon((46, 104, 70), (x - 0.15, 0.72), (x, top + 0.12), (x + 0.15, 0.72))
        c.polygon((58, 122, 82), (x - 0.11, 0.48), (x, top), (x + 0.11, 0.48))
    c.hill(0.78, 0.03, (84, 132, 76))


def _beach(c: Canvas) -> None:
    c.gradient((146, 208, 240), (214, 238, 246), 0, 0.5)
    c.ellipse(c.rng.choice([0.14, 0.86]) + c.rng.uniform(-0.04, 0.04), 0.16, 0.09, 0.09, (255, 232, 130))
    c.gradient((52, 150, 196), (104, 200, 212), 0.45, 0.85)
    c.hill(0.71, 0.025, (250, 250, 240))
    c.hill(0.735, 0.025, (244, 220, 164))


def _snow(c: Canvas) -> None:
    c.gradient((168, 190, 214), (222, 232, 242))
    for x, top in c.places(3, 0.2, 0.36):
        c.polygon((140, 160, 188), (x - 0.3, 0.8), (x, top), (x + 0.3, 0.8))
        c.polygon((248, 250, 254), (x - 0.1, top + 0.2 * 0.95), (x, top), (x + 0.1, top + 0.2 * 0.95))
    c.hill(0.7, 0.04, (240, 245, 252))
    for x, y in c.places(7, 0.04, 0.62):
        c.ellipse(x, y, 0.018, 0.018, (255, 255, 255))


def _desert(c: Canvas) -> None:
    c.gradient((250, 190, 120), (254, 226, 168))
    c.ellipse(c.rng.uniform(0.12, 0.88), 0.2, 0.1, 0.1, (255, 246, 206))
    c.hill(0.56, 0.05, (226, 150, 92))
    for x, top in c.places(2, 0.36, 0.46):
        green = (92, 140, 84)
        c.polygon(green, (x - 0.035, 0.8), (x - 0.035, top), (x + 0.035, top), (x + 0.035, 0.8))
        c.ellipse(x, top, 0.035, 0.035, green)
        c.polygon(green, (x, 0.62), (x + 0.11, 0.62), (x + 0.11, 0.5), (x + 0.06, 0.5), (x + 0.06, 0.57), (x, 0.57))
    c.hill(0.74, 0.04, (210, 126, 74))


def _city(c: Canvas) -> None:
    c.gradient((244, 206, 200), (250, 230, 214))
    walls = ((122, 128, 150), (150, 140, 158), (104, 112, 138), (172, 152, 152))
    for x, top in c.places(5, 0.08, 0.42):
        wall = walls[int(c.rng.integers(len(walls)))]
        c.polygon(wall, (x - 0.1, 0.84), (x - 0.1, top), (x + 0.1, top), (x + 0.1, 0.84))
        for row in np.arange(top + 0.06, 0.74, 0.13):
            for side in (-0.05, 0.035):
                left, y = x + side, float(row)
                window = ((left - 0.02, y), (left + 0.035, y), (left + 0.035, y + 0.06), (left - 0.02, y + 0.06))
                c.polygon((255, 226, 150), *window)
    c.gradient((112, 110, 122), (92, 92, 106), 0.8, 1.0)


def _meadow(c: Canvas) -> None:
    c.gradient((150, 212, 250), (220, 240, 250))
    for x, y in c.places(2, 0.1, 0.24):
        for dx, r in ((-0.08, 0.05), (0.0, 0.075), (0.08, 0.05)):
            c.ellipse(x + dx, y, r, r * 0.8, (255, 255, 255))
    c.hill(0.56, 0.05, (150, 208, 104))
    c.hill(0.72, 0.03, (122, 190, 86))
    petals = ((250, 120, 140), (255, 244, 160), (250, 250, 255))
    for i, (x, y) in enumerate(c.places(7, 0.7, 0.95)):
        c.ellipse(x, y, 0.032, 0.032, petals[i % 3])
        c.ellipse(x, y, 0.012, 0.012, (240, 170, 60))


def _night(c: Canvas) -> None:
    c.gradient((22, 26, 66), (70, 66, 126))
    x, y = c.rng.choice([0.16, 0.84]) + c.rng.uniform(-0.04, 0.04), c.rng.uniform(0.14, 0.2)
    c.ellipse(x, y, 0.1, 0.1, (250, 244, 206))
    c.ellipse(x + 0.05, y - 0.02, 0.085, 0.085, (28, 32, 74))
    for x, y in c.places(8, 0.04, 0.6):
        c.ellipse(x, y, 0.016, 0.016, (255, 244, 190))
    c.hill(0.76, 0.04, (36, 40, 78))


def _sea(c: Canvas) -> None:
    c.gradient((64, 176, 206), (14, 70, 128))
    for x, _ in c.places(2, 0, 1):
        c.polygon((92, 192, 216), (x - 0.04, 0.0), (x + 0.06, 0.0), (x + 0.02, 0.8), (x - 0.2, 0.8))
    c.hill(0.84, 0.03, (196, 178, 138))
    for x, top in c.places(4, 0.5, 0.68):
        colour = ((238, 112, 120), (40, 150, 110))[int(c.rng.integers(2))]
        for dx in (-0.05, 0.0, 0.05):
            c.polygon(colour, (x - 0.02, 0.9), (x + dx - 0.025, top), (x + dx + 0.025, top), (x + 0.02, 0.9))
            c.ellipse(x + dx, top, 0.026, 0.026, colour)
    for x, y in c.places(5, 0.06, 0.5):
        c.ellipse(x, y, 0.028, 0.028, (176, 226, 240))
        c.ellipse(x, y, 0.016, 0.016, (84, 170, 206))


PAINTERS: dict[str, Painter] = {
    "forest": _forest,
    "beach": _beach,
    "snow": _snow,
    "desert": _desert,
    "city": _city,
    "meadow": _meadow,
    "night": _night,
    "sea": _sea,
}


def paint(scene: str, rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """The place, still at `OVERSAMPLING` times its size so that the figure can be drawn onto it."""
    canvas = Canvas(rng, width, height)
    PAINTERS[scene](canvas)
    return canvas.image
