"""A picture of a place in the making: skies, hills and things at fractions of its width and height, in one light."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from models.toybox.pen import DARK, WHITE, Colour, mix, smooth

OVERSAMPLING = 3
"""Everything is drawn this much larger and reduced, which is what makes the edges smooth."""
NIGHT: Colour = (34, 42, 96)
EVENING: Colour = (255, 140, 84)
SKIES: dict[str, tuple[Colour, ...]] = {
    "sunset": ((98, 84, 158), (222, 116, 132), (255, 176, 106), (255, 222, 150)),
    "night": ((18, 22, 62), (36, 42, 98), (72, 78, 140)),
}
Pair = tuple[float, float]


class Canvas:
    """A picture addressed in fractions: x and y run from 0 to 1 across the picture's width and height.

    The sizes of things are fractions of `unit`, so that a tree is no wider where the picture is.
    """

    def __init__(self, rng: np.random.Generator, width: int, height: int, light: str) -> None:
        self.rng, self.light = rng, light
        self.size = (width * OVERSAMPLING, height * OVERSAMPLING)
        self.image = Image.new("RGB", self.size)
        self.ink = ImageDraw.Draw(self.image)
        unit = min(width, 1.15 * height)
        self.kx, self.ky = unit / width, unit / height
        self.more = max(1.0, width / height)

    def tone(self, colour: Colour) -> Colour:
        """Give a day's colour the light of the hour."""
        if self.light == "sunset":
            return mix(mix(colour, EVENING, 0.26), DARK, 0.12)
        if self.light == "night":
            return mix(mix(colour, NIGHT, 0.58), DARK, 0.12)
        return colour

    def wash(self, *colours: Colour, start: float = 0.0, end: float = 1.0) -> None:
        """Paint a vertical gradient between two heights."""
        low, high = round(start * self.size[1]), round(end * self.size[1])
        rows = np.linspace(0, len(colours) - 1, max(high - low, 1))
        table = np.array(colours, dtype=float)
        column = np.stack([np.interp(rows, np.arange(len(colours)), table[:, i]) for i in range(3)], 1)
        strip = Image.fromarray(np.round(column).astype(np.uint8)[:, None]).resize(
            (self.size[0], max(high - low, 1)), Image.Resampling.NEAREST
        )
        self.image.paste(strip, (0, low))

    def sky(self, *day: Colour, end: float = 1.0) -> None:
        """Paint the sky of the hour."""
        self.wash(*SKIES.get(self.light, day), end=end)

    def pixels(self, *pairs: Pair) -> list[Pair]:
        """Turn fractions into pixels."""
        return [(x * self.size[0], y * self.size[1]) for x, y in pairs]

    def disc(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """Paint an oval around (x, y); its radii are fractions of the unit."""
        (cx, cy) = self.pixels((x, y))[0]
        rx, ry = rx * self.kx * self.size[0], ry * self.ky * self.size[1]
        self.ink.ellipse((cx - rx, cy - ry, cx + rx, cy + ry), fill=colour)

    def glow(self, x: float, y: float, radius: float, inner: Colour, outer: Colour) -> None:
        """Paint a disc that fades outwards."""
        for share in np.linspace(0, 1, 5):
            r = radius * (1 - 0.62 * share)
            self.disc(x, y, r, r, mix(outer, inner, float(share)))

    def thing(self, colour: Colour, x: float, y: float, *pairs: Pair, rounds: int = 0) -> None:
        """Paint a polygon around (x, y), its points in fractions of the unit, with round corners if wanted."""
        points = smooth(pairs, rounds) if rounds else np.array(pairs, dtype=float)
        scale = np.array([self.kx, self.ky])
        self.ink.polygon(((np.array([x, y]) + points * scale) * self.size).ravel().tolist(), fill=colour)

    def hill(self, y: float, height: float, colour: Colour) -> None:
        """Paint ground with a long, soft top edge, lighter at the edge."""
        phase, bend = self.rng.uniform(0, 6.3), self.rng.uniform(2, 5)
        xs = np.linspace(0, 1, 32)
        for down, share in ((0.0, 0.14), (0.025, 0.07), (0.07, 0.0), (0.16, -0.05)):
            shade = mix(colour, WHITE if share > 0 else DARK, abs(share))
            top = np.stack([xs, y + down + height * np.sin(bend * xs + phase)], 1)
            outline = np.concatenate([top, [[1.0, 1.0], [0.0, 1.0]]]) * self.size
            self.ink.polygon(outline.ravel().tolist(), fill=shade)

    def places(self, count: int, low: float, high: float) -> list[Pair]:
        """Find positions spread over the width, with heights between the two given."""
        count = round(count * self.more)
        shift = self.rng.uniform(-0.5, 0.5) / count
        xs = (np.arange(count) + 0.5 + self.rng.uniform(-0.25, 0.25, count)) / count + shift
        return [(float(x), float(y)) for x, y in zip(xs, self.rng.uniform(low, high, count), strict=True)]

    def heaven(self, low_sun: float = 0.5, stars: int = 6) -> None:
        """Paint the sun that sets, or moon and stars."""
        side = float(self.rng.choice([0.17, 0.83]) + self.rng.uniform(-0.03, 0.03))
        if self.light == "sunset":
            self.glow(side, low_sun, 0.17, (255, 238, 170), (255, 186, 112))
        elif self.light == "night":
            for x, y in self.places(stars, 0.03, 0.45):
                self.disc(x, y, 0.011, 0.011, (252, 244, 206))
            y = float(self.rng.uniform(0.13, 0.18))
            self.disc(side, y, 0.105, 0.105, (84, 92, 152))
            self.disc(side, y, 0.08, 0.08, (252, 244, 206))
            self.disc(side - 0.025 * self.kx, y - 0.015, 0.02, 0.02, (230, 218, 180))
            self.disc(side + 0.03 * self.kx, y + 0.02, 0.015, 0.015, (230, 218, 180))
