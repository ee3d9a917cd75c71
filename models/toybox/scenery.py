"""The places of the world in every light: big soft shapes, the same place never twice alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from models.toybox.canvas import Canvas
from models.toybox.pen import DARK, WHITE, Colour, mix

Painter = Callable[[Canvas], None]


def _fir(c: Canvas, x: float, base: float, size: float, colour: Colour) -> None:
    c.thing(c.tone((104, 76, 54)), x, base, (-0.02, 0), (-0.02, -0.12), (0.02, -0.12), (0.02, 0))
    for step in range(3):
        y, wide, high = -0.08 - 0.2 * step * size, (0.17 - 0.04 * step) * size, 0.3 * size
        c.thing(c.tone(mix(colour, WHITE, 0.05 * step)), x, base, (-wide, y), (0, y - high), (wide, y))
        c.thing(
            c.tone(mix(colour, WHITE, 0.12 + 0.05 * step)),
            x,
            base,
            (-wide * 0.62, y - 0.02),
            (-0.005, y - high * 0.9),
            (-0.01, y - 0.02),
        )


def _forest(c: Canvas) -> None:
    c.sky((206, 232, 200), (176, 214, 168))
    c.heaven(0.42)
    for x, y in c.places(6, 0.66, 0.72):
        _fir(c, x, y, 1.0, (126, 172, 134) if c.light == "day" else (96, 142, 116))
    for x, y in c.places(4, 0.8, 0.86):
        _fir(c, x, y, 1.25, (50, 112, 78))
    c.hill(0.79, 0.025, c.tone((96, 148, 82)))


def _cloud(c: Canvas, x: float, y: float) -> None:
    colour = {"day": (255, 255, 255), "sunset": (255, 206, 178), "night": (92, 98, 156)}[c.light]
    for dx, r in ((-0.09, 0.05), (0.0, 0.075), (0.09, 0.05)):
        c.disc(x + dx * c.kx, y, r, r * 0.75, colour)


def _beach(c: Canvas) -> None:
    c.sky((126, 200, 244), (206, 236, 248), end=0.52)
    if c.light == "day":
        c.glow(float(c.rng.choice([0.15, 0.85])), 0.15, 0.13, (255, 240, 150), (206, 230, 220))
    c.heaven(0.44)
    if c.light != "night":
        _cloud(c, float(c.rng.uniform(0.3, 0.7)), float(c.rng.uniform(0.12, 0.22)))
    c.wash(c.tone((44, 140, 196)), c.tone((112, 208, 214)), start=0.46, end=0.9)
    for x, y in c.places(3, 0.53, 0.64):
        c.thing(c.tone((150, 222, 228)), x, y, (-0.1, 0), (0, -0.012), (0.1, 0), (0, 0.012), rounds=2)
    c.hill(0.70, 0.02, c.tone((250, 250, 244)))
    c.hill(0.73, 0.02, c.tone((246, 222, 164)))


def _snow(c: Canvas) -> None:
    c.sky((170, 198, 228), (226, 236, 246))
    c.heaven(0.46)
    for x, top in c.places(3, 0.2, 0.34):
        c.thing(c.tone((146, 166, 196)), x, top, (-0.32, 0.6), (0, 0), (0.32, 0.6))
        c.thing(c.tone((168, 186, 212)), x, top, (-0.32, 0.6), (0, 0), (-0.06, 0.6))
        c.thing(
            c.tone((250, 252, 255)), x, top, (-0.107, 0.2), (0, 0), (0.107, 0.2), (0.04, 0.16), (0, 0.21), (-0.05, 0.16)
        )
    c.hill(0.69, 0.035, c.tone((226, 236, 248)))
    for x, y in c.places(3, 0.76, 0.8):
        _fir(c, x, y, 0.62, (120, 160, 160))
    c.hill(0.79, 0.025, c.tone((246, 250, 255)))
    for x, y in c.places(7, 0.05, 0.62):
        c.disc(x, y, 0.017, 0.017, mix(c.tone((255, 255, 255)), WHITE, 0.5))


def _cactus(c: Canvas, x: float, base: float) -> None:
    for colour, thin in ((c.tone(mix((88, 144, 86), DARK, 0.25)), 0.0), (c.tone((96, 154, 92)), 0.01)):
        w = 0.045 - thin
        c.thing(colour, x, base, (-w, 0), (-w, -0.34), (w, -0.34), (w, 0))
        c.disc(x, base - 0.34 * c.ky, w, w, colour)
        for s, low, high in ((1, -0.12, -0.28), (-1, -0.18, -0.32)):
            w2 = 0.03 - thin * 0.7
            c.thing(
                colour,
                x,
                base,
                (0, low + w2),
                (0.11 * s + w2 * s, low + w2),
                (0.11 * s + w2 * s, low - w2),
                (0, low - w2),
            )
            c.thing(
                colour,
                x,
                base,
                (0.11 * s - w2, low),
                (0.11 * s - w2, high),
                (0.11 * s + w2, high),
                (0.11 * s + w2, low),
            )
            c.disc(x + 0.11 * s * c.kx, base + high * c.ky, w2, w2, colour)


def _desert(c: Canvas) -> None:
    c.sky((252, 196, 118), (255, 232, 176))
    if c.light == "day":
        c.glow(float(c.rng.uniform(0.12, 0.88)), 0.17, 0.13, (255, 250, 214), (254, 222, 150))
    c.heaven(0.5)
    c.hill(0.54, 0.05, c.tone((236, 168, 104)))
    c.hill(0.64, 0.04, c.tone((226, 148, 88)))
    for x, y in c.places(2, 0.76, 0.8):
        _cactus(c, x, y)
    c.hill(0.77, 0.03, c.tone((214, 130, 76)))


def _city(c: Canvas) -> None:
    c.sky((248, 208, 200), (252, 234, 216))
    c.heaven(0.4, stars=5)
    walls = ((126, 134, 160), (158, 146, 166), (108, 118, 148), (180, 156, 156))
    pane = {"day": (206, 226, 240), "sunset": (255, 208, 120), "night": (255, 222, 120)}[c.light]
    for x, top in c.places(5, 0.1, 0.4):
        wall = c.tone(walls[int(c.rng.integers(len(walls)))])
        c.thing(wall, x, 0, (-0.11, 0.9 / c.ky), (-0.11, top / c.ky), (0.11, top / c.ky), (0.11, 0.9 / c.ky))
        c.thing(
            mix(wall, WHITE, 0.12),
            x,
            0,
            (-0.11, 0.9 / c.ky),
            (-0.11, top / c.ky),
            (-0.07, top / c.ky),
            (-0.07, 0.9 / c.ky),
        )
        for row in np.arange(top + 0.07, 0.72, 0.14):
            for left in (-0.045, 0.035):
                y = float(row) / c.ky
                c.thing(pane, x, 0, (left, y), (left + 0.05, y), (left + 0.05, y + 0.07), (left, y + 0.07))
    c.wash(c.tone((168, 164, 172)), c.tone((150, 146, 158)), start=0.79, end=0.84)
    c.wash(c.tone((116, 114, 128)), c.tone((94, 94, 110)), start=0.84, end=1.0)


def _meadow(c: Canvas) -> None:
    c.sky((136, 206, 250), (218, 240, 252))
    c.heaven(0.5)
    if c.light != "night":
        for x, y in c.places(2, 0.1, 0.22):
            _cloud(c, x, y)
    c.hill(0.56, 0.045, c.tone((158, 214, 112)))
    c.hill(0.7, 0.03, c.tone((128, 196, 90)))
    petals = ((250, 120, 146), (255, 240, 140), (252, 250, 255))
    for i, (x, y) in enumerate(c.places(7, 0.74, 0.95)):
        for dx, dy in ((-0.02, 0), (0.02, 0), (0, -0.02), (0, 0.02)):
            c.disc(x + dx * c.kx, y + dy * c.ky, 0.019, 0.019, c.tone(petals[i % 3]))
        c.disc(x, y, 0.014, 0.014, c.tone((244, 170, 50)))


def _night(c: Canvas) -> None:
    c.wash((16, 20, 58), (48, 46, 108), (104, 84, 148))
    side = float(c.rng.choice([0.16, 0.84]) + c.rng.uniform(-0.04, 0.04))
    y = float(c.rng.uniform(0.14, 0.2))
    c.disc(side, y, 0.105, 0.105, (252, 244, 206))
    c.disc(side + 0.05 * c.kx, y - 0.02, 0.088, 0.088, (27, 27, 72))
    for x, y in c.places(9, 0.04, 0.62):
        r = 0.034
        c.thing(
            (255, 240, 180),
            x,
            y,
            (-r, 0),
            (-0.25 * r, -0.25 * r),
            (0, -r),
            (0.25 * r, -0.25 * r),
            (r, 0),
            (0.25 * r, 0.25 * r),
            (0, r),
            (-0.25 * r, 0.25 * r),
        )
    c.hill(0.74, 0.045, (48, 52, 102))
    c.hill(0.84, 0.03, (36, 42, 84))


def _coral(c: Canvas, x: float, top: float, colour: Colour) -> None:
    for dx, up in ((-0.07, 0.03), (0.0, 0.0), (0.07, 0.04)):
        c.thing(colour, x, top, (-0.02, 0.4), (dx - 0.024, up), (dx + 0.024, up), (0.02, 0.4))
        c.disc(x + dx * c.kx, top + up * c.ky, 0.028, 0.028, colour)


def _sea(c: Canvas) -> None:
    waters = {
        "day": ((92, 204, 224), (24, 100, 160)),
        "sunset": ((255, 176, 128), (150, 108, 156), (44, 60, 122)),
        "night": ((30, 60, 116), (10, 20, 58)),
    }
    c.wash(*waters[c.light])
    beam = {"day": (128, 218, 232), "sunset": (255, 200, 150), "night": (46, 82, 140)}[c.light]
    for x, _ in c.places(2, 0, 1):
        c.thing(beam, x, 0, (-0.04, 0), (0.07, 0), (0.02, 0.62), (-0.16, 0.62))
    c.hill(0.8, 0.02, c.tone((188, 178, 150)))
    for x, top in c.places(4, 0.54, 0.7):
        _coral(c, x, top, c.tone(((244, 120, 130), (56, 170, 126), (250, 180, 90))[int(c.rng.integers(3))]))
    c.hill(0.86, 0.02, c.tone((214, 198, 158)))
    for x, y in c.places(6, 0.06, 0.5):
        c.disc(x, y, 0.03, 0.03, c.tone((196, 236, 246)))
        c.disc(x, y, 0.02, 0.02, c.tone((104, 190, 220)))
        c.disc(x - 0.009 * c.kx, y - 0.009, 0.007, 0.007, c.tone((245, 252, 255)))


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


def paint(scene: str, light: str, rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Paint the place, still at `OVERSAMPLING` times its size so that a shadow can be drawn onto it."""
    canvas = Canvas(rng, width, height, light)
    PAINTERS[scene](canvas)
    return canvas.image
