"""Things: what a critter wears and what it holds."""

from __future__ import annotations

import numpy as np

from models.toybox.head_drawing import eye_place
from models.toybox.pen import DARK, EDGE, WHITE, Colour, Pen, Point, arc, bend, ellipse, mix
from models.toybox.world import OBJECTS

TOPS = {"teapot": -0.16, "car": -0.2, "frog": 0.0}
"""How much higher or lower a hat sits."""
RED: Colour = (232, 62, 70)
GOLD: Colour = (255, 200, 70)


def draw_accessory(pen: Pen, body: Pen, kind: str, accessory: str, cloth: Colour) -> None:
    """Draw what is worn."""
    shade = mix(cloth, DARK, 0.28)
    ex, ey = eye_place(kind)
    up = TOPS.get(kind, 0.0)
    if accessory == "hat":
        pen.shape(cloth, (-0.56, -0.66 + up), (-0.52, -1.62 + up), (0.52, -1.62 + up), (0.56, -0.66 + up))
        pen.flat(shade, (-0.56, -0.7 + up), (-0.55, -1.04 + up), (0.55, -1.04 + up), (0.56, -0.7 + up))
        pen.ball(cloth, 0, -0.72 + up, 0.92, 0.17)
    elif accessory == "crown":
        points = [(-0.6, -0.62), (-0.72, -1.36), (-0.34, -1.04), (0, -1.5), (0.34, -1.04), (0.72, -1.36), (0.6, -0.62)]
        points = [(x, y + up) for x, y in points]
        pen.stroke(mix(cloth, DARK, 0.58), 2 * EDGE, *points, points[0])
        pen.fill(np.array(points), cloth)
        pen.fill(np.array([(-0.61, -0.8 + up), (0.61, -0.8 + up), (0.6, -0.62 + up), (-0.6, -0.62 + up)]), shade)
        for x in (-0.72, 0.0, 0.72):
            pen.ball(cloth, x, (-1.38 if x else -1.52) + up, 0.12, 0.12, 0.045)
    elif accessory == "glasses":
        pen.stroke(cloth, 0.1, *bend((-0.12, ey), (0, ey - 0.08), (0.12, ey)), edge=0.03)
        for x in (-ex, ex):
            pen.stroke(cloth, 0.1, *arc(x, ey, 0.38, 0.4, 0, 2 * np.pi, 30), edge=0.03)
    elif accessory == "scarf":
        low, wide = (0.25, 1.36) if kind in OBJECTS else (0.0, 1.0)
        body.shape(cloth, (0.22, 0.95 + low), (0.62, 0.9 + low), (0.7, 1.72 + low), (0.3, 1.76 + low), depth=0.4)
        body.shape(cloth, (-0.96 * wide, 0.66 + low), (0, 0.9 + low), (0.96 * wide, 0.66 + low), (0.88 * wide, 1.12 + low),
                   (0, 1.28 + low), (-0.88 * wide, 1.12 + low), depth=0.5)  # fmt: skip
        body.stroke(shade, 0.05, (0.32, 1.56 + low), (0.66, 1.53 + low))
    elif accessory == "bow":
        for x in (-1.0, 1.0):
            pen.shape(
                cloth,
                (0.52, -0.86 + up),
                (0.52 + 0.6 * x, -1.3 + up),
                (0.52 + 0.66 * x, -0.86 + up),
                (0.52 + 0.6 * x, -0.42 + up),
            )
        pen.ball(shade, 0.52, -0.86 + up, 0.16, 0.19)


def draw_prop_behind(pen: Pen, prop: str, hand: Point, side: float) -> None:
    """Draw what of a prop is behind the head."""
    x, y = hand
    s = side
    if prop == "umbrella":
        cx, cy, r = x - 0.62 * s, y - 1.62, 1.72
        pen.fill(ellipse(cx, cy, r, r), (64, 132, 214), EDGE)
        for k in range(0, 8, 2):
            wedge = [(cx, cy), *arc(cx, cy, r, r, k * np.pi / 4 + 0.3, (k + 1) * np.pi / 4 + 0.3)]
            pen.fill(np.array(wedge), (250, 246, 238))
        pen.ball((64, 132, 214), cx, cy, 0.16, 0.16, 0.04)
        pen.stroke((150, 106, 70), 0.1, (cx, cy), (x, y), edge=0.035)
    elif prop == "balloon":
        bx, by = x + 0.24 * s, y - 1.9
        pen.stroke((120, 100, 110), 0.045, *bend((x, y), (x - 0.1 * s, y - 0.7), (bx, by + 0.6)))
        pen.flat(mix(RED, DARK, 0.2), (bx - 0.12, by + 0.72), (bx, by + 0.5), (bx + 0.12, by + 0.72))
        pen.ball(RED, bx, by, 0.52, 0.6)
        pen.oval(WHITE, bx - 0.2, by - 0.24, 0.09, 0.13)


def draw_prop(pen: Pen, prop: str, hand: Point, side: float) -> None:
    """Draw what of a prop is before the body, under the hand."""
    x, y = hand
    s = side
    if prop == "umbrella":
        pen.stroke((150, 106, 70), 0.1, (x - 0.1 * s, y - 0.26), (x + 0.1 * s, y + 0.34), edge=0.035)
    elif prop == "flower":
        bx, by = x + 0.2 * s, y - 0.98
        pen.stroke((70, 150, 76), 0.09, *bend((x - 0.04 * s, y + 0.4), (x, y - 0.3), (bx, by)), edge=0.03)
        pen.flat((92, 176, 84), (x + 0.04 * s, y - 0.3), (x + 0.36 * s, y - 0.46), (x + 0.42 * s, y - 0.24), edge=0.03)
        petals = [(bx + 0.32 * np.cos(a), by + 0.32 * np.sin(a)) for a in np.arange(6) * np.pi / 3 + 0.3]
        for px, py in petals:
            pen.oval((255, 130, 170), px, py, 0.2, 0.2, 0.045)
        for px, py in petals:
            pen.oval((255, 130, 170), px, py, 0.2, 0.2)
        pen.ball(GOLD, bx, by, 0.2, 0.2, 0.03)
    elif prop == "lantern":
        pen.stroke((88, 76, 84), 0.06, *arc(x, y + 0.3, 0.2, 0.26, np.pi, 2 * np.pi))
        pen.flat(
            (255, 226, 130),
            (x - 0.3, y + 0.44),
            (x + 0.3, y + 0.44),
            (x + 0.32, y + 1.0),
            (x - 0.32, y + 1.0),
            edge=EDGE,
        )
        pen.oval((255, 250, 220), x, y + 0.74, 0.14, 0.2)
        for top, wide in ((y + 0.36, 0.3), (y + 1.08, 0.34)):
            pen.flat(
                (88, 76, 84), (x - wide, top - 0.1), (x + wide, top - 0.1), (x + wide, top + 0.1), (x - wide, top + 0.1)
            )
