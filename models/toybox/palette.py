"""The colours that names stand for in drawings."""

from __future__ import annotations

from models.toybox.pen import Colour

COATS: dict[str, Colour] = {
    "red": (212, 52, 50),
    "orange": (244, 136, 40),
    "yellow": (250, 214, 74),
    "green": (92, 172, 76),
    "teal": (28, 164, 164),
    "blue": (62, 110, 220),
    "purple": (136, 84, 192),
    "pink": (248, 142, 194),
    "brown": (138, 90, 58),
    "grey": (152, 156, 168),
}
CLOTHS: dict[str, Colour] = {
    "red": (226, 34, 48),
    "yellow": (255, 218, 44),
    "green": (36, 158, 74),
    "blue": (34, 82, 214),
    "white": (252, 252, 252),
    "black": (52, 50, 58),
}
BELLIES: dict[str, Colour] = {
    "cream": (254, 242, 214),
    "gold": (250, 196, 60),
    "rose": (250, 164, 176),
    "charcoal": (80, 78, 92),
}
MARKS: dict[str, Colour] = {
    "white": (252, 252, 252),
    "black": (48, 44, 54),
    "gold": (252, 192, 46),
    "violet": (150, 82, 206),
}
