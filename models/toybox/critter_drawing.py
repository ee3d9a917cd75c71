"""A critter in its place: where it stands, what is drawn over what, and the light on it.

One body for all framings: a close-up is the full body seen from nearer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from models.toybox import body_drawing as bodies
from models.toybox import head_drawing as heads
from models.toybox import things_drawing as things
from models.toybox.body_drawing import Stance
from models.toybox.canvas import OVERSAMPLING
from models.toybox.palette import BELLIES, CLOTHS, COATS, MARKS
from models.toybox.pen import DARK, Pen, Point, mix
from models.toybox.world import OBJECTS, Critter, light_of

# Where the middle of the head is (fractions of width and height) and its radius (fraction of the shorter side).
STANDPOINTS = {"close-up": (0.5, 0.595, 0.315), "portrait": (0.5, 0.485, 0.235), "full body": (0.5, 0.4, 0.19)}
FEET = 0.935
"""Where the ground under a full body is, a fraction of the height."""
MAKES_ROOM = {"close-up": 0.075, "portrait": 0.05, "full body": 0.03}
"""How far a critter steps aside for what it holds."""
LIGHTS = {
    "day": (1.0, 1.0, 1.0),
    "sunset": (1.02, 0.96, 0.91),
    "night": (0.87, 0.88, 1.0),
}


@dataclass(frozen=True)
class Place:
    """Where in the picture a critter is, in pixels, and how it stands there."""

    middle: Point
    radius: float
    tilt: float
    gaze: float
    stance: Stance


def place_of(critter: Critter, rng: np.random.Generator, width: int, height: int) -> Place:
    """Settle what nobody names."""
    x, y, size = STANDPOINTS[critter.framing]
    side = float(rng.choice([-1.0, 1.0]))
    close = critter.framing == "close-up"
    stance = Stance(critter.kind, "standing" if close else critter.pose, side, critter.prop, raised=close)
    radius = size * min(height, 1.1 * width) * rng.uniform(0.96, 1.04)
    x += rng.uniform(-0.03, 0.03) * (1.0 if width <= height else 1.0 + 2 * (width / height - 1))
    if critter.prop != "none":
        x -= MAKES_ROOM[critter.framing] * side * min(width, height) / width
    y = y * height if critter.framing != "full body" else FEET * height - stance.ground * radius
    y += rng.uniform(-0.015, 0.015) * height
    if stance.pose == "jumping" and critter.framing == "portrait":
        y -= 0.24 * radius
    tilt = rng.uniform(-0.1, 0.1) + (0.12 * side if stance.pose == "running" else 0.0)
    return Place((x * width, y), radius, float(tilt), float(rng.uniform(-0.05, 0.05)), stance)


def draw_figure(critter: Critter, place: Place, head: Pen, body: Pen) -> None:
    """Draw the critter from back to front."""
    kind, stance = critter.kind, place.stance
    coat, belly = COATS[critter.colour], BELLIES[critter.belly]
    cloth = CLOTHS[critter.accessory_colour]
    hands = stance.hands()
    bodies.draw_motion(body, stance)
    things.draw_prop_behind(body, critter.prop, hands[stance.side], stance.side)
    bodies.draw_tail(body, kind, coat, belly, -stance.side)
    bodies.draw_legs(body, kind, coat, belly, stance)
    if kind not in OBJECTS:
        bodies.draw_torso(body, kind, coat, belly)
        _arms(critter, stance, body)
        if critter.accessory == "scarf":
            things.draw_accessory(head, body, kind, "scarf", cloth)
    heads.draw_head(head, kind, coat, belly, -stance.side)
    heads.draw_blush(head, kind, coat)
    heads.draw_marking(head, kind, critter.marking, MARKS[critter.marking_colour])
    heads.draw_muzzle(head, kind, belly)
    heads.draw_eyes(head, kind, critter.eyes, coat, place.gaze)
    if kind in OBJECTS:
        if critter.accessory == "scarf":
            things.draw_accessory(head, head, kind, "scarf", cloth)
        _arms(critter, stance, body)
    if critter.accessory not in ("none", "scarf"):
        things.draw_accessory(head, body, kind, critter.accessory, cloth)
    if stance.pose == "sitting":
        bodies.draw_soles(body, kind, coat, belly, stance)


def _arms(critter: Critter, stance: Stance, body: Pen) -> None:
    coat, hands, side = COATS[critter.colour], stance.hands(), stance.side
    bodies.draw_arm(body, critter.kind, coat, -side, hands[-side])
    if critter.prop != "lantern":
        things.draw_prop(body, critter.prop, hands[side], side)
    bodies.draw_arm(body, critter.kind, coat, side, hands[side])
    if critter.prop == "lantern":  # hangs from the hand, before the arm
        things.draw_prop(body, critter.prop, hands[side], side)


def paint(critter: Critter, rng: np.random.Generator, background: Image.Image) -> Image.Image:
    """Draw the critter onto the background (at `OVERSAMPLING`) and reduce both to their final size."""
    width, height = background.width // OVERSAMPLING, background.height // OVERSAMPLING
    place = place_of(critter, rng, width, height)
    middle, radius = (place.middle[0] * OVERSAMPLING, place.middle[1] * OVERSAMPLING), place.radius * OVERSAMPLING
    red, green, blue = background.getpixel((background.width // 2, background.height - 2))  # type: ignore[misc]
    wide = 0.8 if place.stance.pose == "jumping" else 1.25
    shadow = mix((int(red), int(green), int(blue)), DARK, 0.3)
    Pen(background, middle, radius).oval(shadow, 0, place.stance.ground, wide, 0.17)
    light = LIGHTS[light_of(critter)]
    lean = 0.1 * place.stance.side if place.stance.pose == "running" else 0.0
    head, body = (Pen(background, middle, radius, tilt, light) for tilt in (place.tilt, lean))
    draw_figure(critter, place, head, body)
    return background.reduce(OVERSAMPLING)
