"""Bodies: torso, legs, arms and tail in every pose, in head radii around the middle of the head."""

from __future__ import annotations

from dataclasses import dataclass

from models.toybox.pen import DARK, EDGE, WHITE, Colour, Pen, Point, arc, bend, ellipse, mix
from models.toybox.world import OBJECTS

BEAK: Colour = (246, 166, 52)
SHORT = 0.5
"""How much shorter objects are, which have no trunk."""


@dataclass(frozen=True)
class Stance:
    """Where hands and feet are. `side` is 1 or -1: where the prop is held and where a runner runs to."""

    kind: str
    pose: str
    side: float
    prop: str
    raised: bool  # held up beside the face, as in close-ups, where a hand that hangs would not be seen

    def hands(self) -> dict[float, Point]:
        """Find the hand of each side (1 is right on the picture)."""
        s = self.side
        hands = {s: (0.92 * s, 2.0), -s: (-0.92 * s, 2.0)}
        if self.kind in OBJECTS:
            hands = {s: (1.5 * s, 1.62), -s: (-1.5 * s, 1.62)}
        if self.pose == "waving":
            hands[-s] = (-1.52 * s, 0.5)
        elif self.pose == "sitting" and self.kind not in OBJECTS:
            hands = {s: (0.34 * s, 2.12), -s: (-0.34 * s, 2.12)}
        elif self.pose == "running":
            hands = {s: (1.3 * s, 1.3), -s: (-1.3 * s, 1.72)}
        elif self.pose == "jumping":
            hands = {s: (1.5 * s, 0.5), -s: (-1.5 * s, 0.5)}
        if self.prop == "lantern":
            hands[s] = (1.42 * s, 0.1) if self.raised else (1.5 * s, 0.5)
        elif self.prop != "none" and self.pose != "jumping":
            hands[s] = (1.34 * s, 0.86) if self.raised else (1.3 * s, 1.28)
        return hands

    def feet(self) -> dict[float, Point]:
        """Find the foot of each side."""
        s, up = self.side, SHORT if self.kind in OBJECTS else 0.0
        feet = {
            "standing": {1.0: (0.44, 2.58), -1.0: (-0.44, 2.58)},
            "waving": {1.0: (0.44, 2.58), -1.0: (-0.44, 2.58)},
            "sitting": {1.0: (0.84, 2.06), -1.0: (-0.84, 2.06)},
            "running": {s: (0.92 * s, 2.46), -s: (-1.16 * s, 2.3)},
            "jumping": {1.0: (0.8, 2.5), -1.0: (-0.8, 2.5)},
        }[self.pose]
        return {foot: (x, y - up) for foot, (x, y) in feet.items()}

    @property
    def ground(self) -> float:
        """How far below the head's middle the ground is."""
        return {"sitting": 2.5, "jumping": 3.05}.get(self.pose, 2.74) - (SHORT if self.kind in OBJECTS else 0.0)


def shoulder(kind: str, side: float) -> Point:
    """Find where an arm begins."""
    return (1.12 * side, 0.95) if kind in OBJECTS else (0.56 * side, 1.16)


def draw_tail(pen: Pen, kind: str, coat: Colour, belly: Colour, side: float) -> None:
    """Draw what is behind the body; `side` is where it shows."""
    s = side
    if kind == "fox":
        pen.shape(coat, (0.3 * s, 2.3), (0.7 * s, 2.72), (1.55 * s, 2.62), (2.02 * s, 1.9), (1.86 * s, 1.1), (1.5 * s, 0.86),
                  (1.34 * s, 1.3), (1.36 * s, 1.8), (0.9 * s, 2.05))  # fmt: skip
        pen.flat(
            belly, (1.4 * s, 1.5), (1.6 * s, 1.62), (1.92 * s, 1.5), (1.82 * s, 1.12), (1.5 * s, 0.9), (1.37 * s, 1.25)
        )
    elif kind == "cat":
        curve = bend((0.5 * s, 2.4), (1.9 * s, 2.75), (1.42 * s, 1.3))
        pen.stroke(mix(coat, DARK, 0.08), 0.27, *curve, edge=EDGE)
        pen.stroke(belly, 0.27, *curve[-3:])
    elif kind == "rabbit":
        pen.ball(belly, 0.9 * s, 2.22, 0.34, 0.34)


def draw_legs(pen: Pen, kind: str, coat: Colour, belly: Colour, stance: Stance) -> None:
    """Draw legs and feet, behind the torso; those of somebody who sits come with `draw_soles`."""
    if stance.pose == "sitting":
        return
    shoe = BEAK if kind == "owl" else mix(coat, DARK, 0.12)
    for x, (fx, fy) in stance.feet().items():
        hip = (0.4 * x, 2.1 if kind not in OBJECTS else 1.3)
        knee = ((hip[0] + fx) / 2 + 0.06 * x, (hip[1] + fy) / 2 - 0.05)
        pen.stroke(mix(coat, DARK, 0.06), 0.42, *bend(hip, knee, (fx, fy - 0.1)), edge=EDGE)
    for fx, fy in stance.feet().values():
        pen.ball(shoe, fx + 0.04 * (1 if fx > 0 else -1), fy + 0.04, 0.36, 0.2)


def draw_soles(pen: Pen, kind: str, coat: Colour, belly: Colour, stance: Stance) -> None:
    """Draw the legs of somebody who sits, stretched towards us, soles first."""
    shoe = BEAK if kind == "owl" else mix(coat, DARK, 0.06)
    pad = mix(belly, WHITE, 0.1) if kind != "owl" else mix(BEAK, WHITE, 0.35)
    for fx, fy in stance.feet().values():
        pen.ball(shoe, fx, fy, 0.42, 0.46)
        pen.oval(pad, fx, fy + 0.1, 0.2, 0.2)
        for dx in (-0.2, 0.0, 0.2):
            pen.oval(pad, fx + dx, fy - 0.2 - 0.05 * (dx == 0), 0.085, 0.085)


def draw_torso(pen: Pen, kind: str, coat: Colour, belly: Colour) -> None:
    """Draw the trunk and the belly, which makes half of who somebody is."""
    pen.shape(
        coat, (-0.5, 0.75), (0.5, 0.75), (0.86, 1.5), (0.92, 2.1), (0.6, 2.62), (-0.6, 2.62), (-0.92, 2.1), (-0.86, 1.5)
    )
    pen.round(ellipse(0, 1.84, 0.55, 0.66), belly, edge=0, depth=0.45)


def draw_arm(pen: Pen, kind: str, coat: Colour, side: float, hand: Point) -> None:
    """Draw one arm with its paw, or a wing."""
    start = shoulder(kind, side)
    out = 0.3 if hand[1] < 1.6 else 0.16
    elbow = ((start[0] + hand[0]) / 2 + out * side, (start[1] + hand[1]) / 2 + 0.24)
    arm = mix(coat, DARK, 0.04)
    if kind == "owl":
        along = bend(start, elbow, hand)
        pen.stroke(arm, 0.5, *along, edge=EDGE)
        pen.stroke(mix(coat, DARK, 0.2), 0.06, *[(x + 0.1, y + 0.04) for x, y in along[4:]])
        return
    pen.stroke(arm, 0.36, *bend(start, elbow, hand), edge=EDGE)
    pen.ball(mix(arm, WHITE, 0.1), hand[0], hand[1], 0.24, 0.24)


def draw_motion(pen: Pen, stance: Stance) -> None:
    """Draw the little lines that show a movement."""
    s = stance.side
    if stance.pose == "waving":
        x, y = stance.hands()[-s]
        for radius in (0.42, 0.6):
            for start, end in ((-2.75, -2.05), (-1.1, -0.4)):
                pen.stroke(WHITE, 0.075, *arc(x, y, radius, radius, start, end, 7))
    elif stance.pose == "running":
        for y, far in ((0.75, 2.05), (1.3, 2.2), (1.9, 2.1)):
            pen.stroke(WHITE, 0.1, (-1.5 * s, y), (-far * s, y))
    elif stance.pose == "jumping":
        for x in (-1.0, 1.0):
            pen.stroke(WHITE, 0.09, *bend((1.25 * x, 2.15), (1.45 * x, 2.4), (1.4 * x, 2.75)))
