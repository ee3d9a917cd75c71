"""Heads: ears, face, markings and eyes, in head radii around the middle of the head."""

from __future__ import annotations

import numpy as np

from models.toybox.pen import DARK, EDGE, WHITE, Colour, Pen, arc, bend, ellipse, mix, smooth

EYE_PLACES = {"frog": (0.5, -0.46), "owl": (0.39, -0.08), "teapot": (0.42, 0.02), "car": (0.4, -0.2)}
EYE_PLACE = (0.41, -0.08)
NOSE_PINK: Colour = (238, 112, 132)
BEAK: Colour = (246, 166, 52)
BLUSH: Colour = (255, 120, 120)


def eye_place(kind: str) -> tuple[float, float]:
    """Find the right eye; the left one mirrors it."""
    return EYE_PLACES.get(kind, EYE_PLACE)


def draw_ears(pen: Pen, kind: str, coat: Colour, inner: Colour) -> None:
    """Draw both ears, behind the head."""
    for x in (-1.0, 1.0):
        if kind == "fox":
            pen.shape(coat, (0.1 * x, -0.55), (0.62 * x, -1.5), (0.84 * x, -1.82), (1.02 * x, -1.6), (1.08 * x, -0.1))
            pen.flat(inner, (0.42 * x, -0.75), (0.72 * x, -1.3), (0.83 * x, -1.5), (0.92 * x, -1.3), (0.94 * x, -0.5))
        elif kind == "cat":
            pen.shape(coat, (0.14 * x, -0.65), (0.58 * x, -1.24), (0.76 * x, -1.46), (0.9 * x, -1.25), (1.02 * x, -0.1))
            pen.flat(
                inner, (0.42 * x, -0.72), (0.66 * x, -1.06), (0.75 * x, -1.18), (0.83 * x, -1.02), (0.88 * x, -0.5)
            )
        elif kind == "rabbit":
            pen.shape(
                coat,
                (0.12 * x, -0.5),
                (0.14 * x, -1.6),
                (0.36 * x, -2.1),
                (0.66 * x, -2.05),
                (0.78 * x, -1.5),
                (0.76 * x, -0.4),
            )
            pen.flat(
                inner,
                (0.32 * x, -0.8),
                (0.32 * x, -1.5),
                (0.44 * x, -1.82),
                (0.58 * x, -1.78),
                (0.62 * x, -1.4),
                (0.6 * x, -0.8),
            )
        elif kind == "bear":
            pen.ball(coat, 0.74 * x, -0.74, 0.4, 0.4)
            pen.oval(inner, 0.73 * x, -0.72, 0.22, 0.22)
        elif kind == "owl":
            pen.shape(coat, (0.1 * x, -0.7), (0.78 * x, -1.18), (1.08 * x, -1.42), (1.1 * x, -1.1), (0.94 * x, -0.2))
        elif kind == "frog":
            pen.ball(coat, 0.5 * x, -0.52, 0.43, 0.43)


def draw_head(pen: Pen, kind: str, coat: Colour, inner: Colour, side: float) -> None:
    """Draw ears and head, or the whole of an object that has a face."""
    if kind == "teapot":
        return _draw_teapot(pen, coat, inner, side)
    if kind == "car":
        return _draw_car(pen, coat, inner)
    draw_ears(pen, kind, coat, inner)
    if kind == "fox":  # cheeks to a point
        pen.shape(coat, (-0.55, -1.0), (0.55, -1.0), (1.0, -0.5), (1.12, 0.1), (1.36, 0.5), (0.5, 0.98), (-0.5, 0.98),
                  (-1.36, 0.5), (-1.12, 0.1), (-1.0, -0.5))  # fmt: skip
    else:
        wide, high = {"frog": (1.12, 0.82), "owl": (1.0, 0.95), "bear": (1.0, 0.93)}.get(kind, (1.02, 0.88))
        pen.ball(coat, 0, 0, wide, high)
    if kind == "frog":  # the bumps again, without an edge, so that they grow out of the head
        for x in (-0.5, 0.5):
            pen.round(ellipse(x, -0.5, 0.38, 0.38), coat, edge=0, depth=0.6)
    return None


def _draw_teapot(pen: Pen, coat: Colour, glaze: Colour, side: float) -> None:
    s = side
    handle = [(-1.2 * s, -0.1), *bend((-1.35 * s, -0.2), (-2.3 * s, 0.1), (-1.5 * s, 0.95)), (-1.2 * s, 0.95)]
    pen.stroke(mix(coat, DARK, 0.06), 0.2, *handle, edge=EDGE)
    pen.shape(
        coat,
        (1.0 * s, 0.2),
        (1.45 * s, 0.2),
        (1.62 * s, -0.35),
        (1.98 * s, -0.42),
        (1.9 * s, 0.2),
        (1.6 * s, 0.85),
        (1.0 * s, 0.95),
    )
    pen.ball(glaze, 0, -1.12, 0.2, 0.18)
    pen.ball(coat, 0, 0.36, 1.34, 1.14)
    pen.shape(mix(coat, WHITE, 0.05), (-0.78, -0.62), (-0.6, -0.98), (0.6, -0.98), (0.78, -0.62))
    pen.round(ellipse(0, 1.08, 0.86, 0.38), glaze, edge=0, depth=0.4)


def _draw_car(pen: Pen, coat: Colour, trim: Colour) -> None:
    for x in (-1.0, 1.0):
        pen.ball((62, 58, 70), 1.22 * x, 1.15, 0.34, 0.46)
        pen.ball(mix(coat, DARK, 0.06), 1.16 * x, -0.18, 0.22, 0.17)
    pen.shape(
        coat,
        (-0.72, -0.98),
        (0.72, -0.98),
        (0.98, -0.6),
        (1.1, 0.3),
        (0.8, 0.6),
        (-0.8, 0.6),
        (-1.1, 0.3),
        (-0.98, -0.6),
    )
    pen.shape(
        coat, (-1.1, 0.12), (1.1, 0.12), (1.46, 0.4), (1.46, 1.1), (1.2, 1.34), (-1.2, 1.34), (-1.46, 1.1), (-1.46, 0.4)
    )
    pen.flat(trim, (-1.3, 0.98), (1.3, 0.98), (1.36, 1.15), (1.2, 1.34), (-1.2, 1.34), (-1.36, 1.15), edge=0.03)
    for x in (-1.04, 1.04):
        pen.oval((255, 240, 170), x, 0.58, 0.25, 0.25, EDGE)
        pen.oval(WHITE, x - 0.07, 0.5, 0.1, 0.1)


def draw_marking(pen: Pen, kind: str, marking: str, colour: Colour) -> None:
    """Draw what somebody has on the face."""
    ex, ey = eye_place(kind)
    if marking == "stripe":
        top = {"frog": -0.8, "teapot": -0.6, "owl": -0.93, "bear": -0.9, "fox": -0.93, "car": -0.94}.get(kind, -0.86)
        pen.flat(colour, (-0.2, top), (0.2, top), (0.2, 0.0), (0.12, 0.34), (-0.12, 0.34), (-0.2, 0.0))
    elif marking == "patch":
        pen.oval(colour, ex + 0.02, ey, 0.47, 0.5)
    elif marking == "mask":
        pen.flat(colour, (-0.9, ey - 0.46), (-0.4, ey - 0.5), (0, ey - 0.3), (0.4, ey - 0.5), (0.9, ey - 0.46),
                 (0.96, ey + 0.3), (0.5, ey + 0.48), (0, ey + 0.32), (-0.5, ey + 0.48), (-0.96, ey + 0.3))  # fmt: skip


def draw_muzzle(pen: Pen, kind: str, pale: Colour) -> None:
    """Draw cheeks, nose and mouth."""
    dark_pale = sum(pale) < 400
    mouth = mix(DARK, WHITE, 0.8) if dark_pale else DARK
    if kind == "fox":
        pen.flat(pale, (-1.18, 0.42), (-0.5, 0.2), (0, 0.34), (0.5, 0.2), (1.18, 0.42), (0.46, 0.92), (-0.46, 0.92))
        pen.flat(DARK, (-0.22, 0.24), (0.22, 0.24), (0.06, 0.5), (-0.06, 0.5))
        pen.stroke(mouth, 0.06, *bend((-0.26, 0.62), (-0.1, 0.8), (0, 0.6)), *bend((0, 0.6), (0.1, 0.8), (0.26, 0.62)))
    elif kind in ("cat", "rabbit"):
        if kind == "rabbit":
            pen.flat(WHITE, (-0.17, 0.5), (0.17, 0.5), (0.17, 0.86), (-0.17, 0.86), edge=0.04)
        pen.oval(pale, -0.21, 0.42, 0.3, 0.25)
        pen.oval(pale, 0.21, 0.42, 0.3, 0.25)
        pen.flat(NOSE_PINK, (-0.18, 0.18), (0.18, 0.18), (0.04, 0.38), (-0.04, 0.38))
        if kind == "cat":
            pen.stroke(
                mouth, 0.055, *bend((-0.22, 0.52), (-0.06, 0.66), (0, 0.4)), *bend((0, 0.4), (0.06, 0.66), (0.22, 0.52))
            )
            for x in (-1.0, 1.0):
                pen.stroke(DARK, 0.045, (0.6 * x, 0.36), (1.2 * x, 0.26))
                pen.stroke(DARK, 0.045, (0.6 * x, 0.48), (1.2 * x, 0.54))
    elif kind == "bear":
        pen.oval(pale, 0, 0.42, 0.52, 0.42)
        pen.oval(DARK, 0, 0.24, 0.22, 0.16)
        pen.oval(mix(DARK, WHITE, 0.6), -0.07, 0.19, 0.06, 0.04)
        pen.stroke(mouth, 0.065, *bend((-0.22, 0.54), (0, 0.74), (0.22, 0.54)))
    elif kind == "owl":
        pen.oval(pale, 0, 0.5, 0.62, 0.38)
        pen.flat(BEAK, (-0.24, 0.14), (0.24, 0.14), (0.06, 0.6), (-0.06, 0.6), edge=0.04)
    elif kind == "frog":
        pen.oval(pale, 0, 0.38, 0.84, 0.38)
        pen.stroke(mouth, 0.075, *bend((-0.62, 0.2), (0, 0.62), (0.62, 0.2)))
    else:
        pen.stroke(DARK, 0.08, *bend((-0.3, 0.5), (0, 0.78), (0.3, 0.5)))


def draw_eyes(pen: Pen, kind: str, eyes: str, coat: Colour, gaze: float) -> None:
    """Draw both eyes, equal and level."""
    ex, ey = eye_place(kind)
    for x in (-ex, ex):
        if eyes == "happy":
            line = arc(x, ey + 0.12, 0.22, 0.24, np.pi, 2 * np.pi)
            pen.stroke(WHITE, 0.26, *line)
            pen.stroke(DARK, 0.13, *line)
            continue
        pen.oval(WHITE, x, ey, 0.27, 0.3, 0.045)
        if eyes == "green":
            pen.oval((66, 190, 74), x + gaze, ey, 0.21, 0.24)
            pen.oval(DARK, x + gaze, ey, 0.085, 0.17)
        else:
            pen.oval(DARK, x + gaze, ey + 0.02, 0.2, 0.235)
        if eyes == "sleepy":
            lid = np.array(arc(x, ey + 0.05, 0.31, 0.37, np.pi, 2 * np.pi, 20))
            pen.fill(lid, mix(coat, DARK, 0.3))
            pen.stroke(DARK, 0.075, (x - 0.29, ey + 0.05), (x + 0.29, ey + 0.05))
        else:
            pen.oval(WHITE, x + gaze - 0.075, ey - 0.095, 0.08, 0.085)


def draw_blush(pen: Pen, kind: str, coat: Colour) -> None:
    """Draw rosy cheeks."""
    ex, ey = eye_place(kind)
    dx, dy = {"fox": (0.34, 0.4), "owl": (0.4, 0.36), "frog": (0.26, 0.5)}.get(kind, (0.34, 0.42))
    for x in (-ex - dx, ex + dx):
        pen.fill(
            smooth([(x - 0.17, ey + dy), (x, ey + dy - 0.11), (x + 0.17, ey + dy), (x, ey + dy + 0.11)]),
            mix(coat, BLUSH, 0.4),
        )
