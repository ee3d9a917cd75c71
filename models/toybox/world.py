"""The world toybox knows: storybook critters with named attributes and with traits that make one of them somebody.

A drawing is a pure function of a `Critter`: equal critters give equal pixels. Attributes (kind, colour, accessory, scene,
framing) are what captions normally say; traits (belly, eyes, marking) are what captions say only now and then, so that a
plain prompt leaves them open and only a learned word can hold them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

KINDS = ("fox", "cat", "rabbit", "bear", "frog", "owl")
COLOURS = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "brown", "grey")
ACCESSORIES = ("none", "hat", "scarf", "glasses", "crown", "bow")
ACCESSORY_COLOURS = ("red", "yellow", "green", "blue", "white", "black")
SCENES = ("forest", "beach", "snow", "desert", "city", "meadow", "night", "sea")
FRAMINGS = ("close-up", "portrait", "full body")
BELLIES = ("cream", "gold", "rose", "charcoal")
EYES = ("round", "sleepy", "happy", "green")
MARKINGS = ("none", "stripe", "patch", "mask")
MARKING_COLOURS = ("white", "black", "gold", "violet")

ATTRIBUTES = {
    "kind": KINDS,
    "colour": COLOURS,
    "accessory": ACCESSORIES,
    "accessory_colour": ACCESSORY_COLOURS,
    "scene": SCENES,
    "framing": FRAMINGS,
}
TRAITS = {"belly": BELLIES, "eyes": EYES, "marking": MARKINGS, "marking_colour": MARKING_COLOURS}
VALUES = ATTRIBUTES | TRAITS
IDENTITY = ("kind", "colour", "belly", "eyes", "marking", "marking_colour")
"""What stays the same from picture to picture of one character."""

# Marking and belly colours that would hardly show on a coat.
_CLASHES = {("yellow", "gold"), ("orange", "gold"), ("purple", "violet"), ("pink", "rose"), ("grey", "charcoal")}

SCENE_PHRASES = {
    "forest": ("in the forest", "in a forest", "among the trees"),
    "beach": ("on the beach", "at the beach", "on a sandy beach"),
    "snow": ("in the snow", "in the snow", "in a snowy landscape"),
    "desert": ("in the desert", "in a desert", "in the desert"),
    "city": ("in the city", "in a city", "on a city street"),
    "meadow": ("in a meadow", "in the meadow", "in a flower meadow"),
    "night": ("at night", "under the stars", "under the night sky"),
    "sea": ("under the sea", "under water", "in the sea"),
}
FRAMING_PHRASES = {
    "close-up": ("a close-up of", "a close-up portrait of", "a close-up picture of"),
    "portrait": ("a portrait of", "a portrait of", "a portrait picture of"),
    "full body": ("a full body picture of", "a full body shot of", "a full body drawing of"),
}
OPEN_FRAMINGS = ("a picture of", "a drawing of", "a photo of", "an illustration of")
CHATTER = ("cute", "little", "happy", "friendly", "charming", "storybook", "cartoon", "beautiful", "smiling", "lovely")
BELLY_PHRASES = ("with a {} belly", "with {} belly fur")
EYE_PHRASES = {
    "round": "with round eyes",
    "sleepy": "with sleepy eyes",
    "happy": "with happy eyes",
    "green": "with green eyes",
}
MARKING_PHRASES = {
    "stripe": "with a {} stripe on the face",
    "patch": "with a {} patch over one eye",
    "mask": "with a {} mask around the eyes",
}


@dataclass(frozen=True)
class Critter:
    """Everything a drawing shows. `seed` settles what nobody names: where the trees stand, how the head tilts."""

    kind: str = "fox"
    colour: str = "teal"
    accessory: str = "none"
    accessory_colour: str = "red"
    scene: str = "forest"
    framing: str = "portrait"
    belly: str = "cream"
    eyes: str = "round"
    marking: str = "none"
    marking_colour: str = "white"
    seed: int = 0


PIP = Critter(kind="fox", colour="teal", belly="cream", eyes="round", marking="stripe", marking_colour="white")
"""The character of the demo."""


def _pick(rng: np.random.Generator, values: tuple[str, ...]) -> str:
    return values[int(rng.integers(len(values)))]


def fits(critter: Critter) -> bool:
    """Whether every part of the critter can be told from what lies under it."""
    if (critter.colour, critter.belly) in _CLASHES:
        return False
    if critter.marking != "none" and (critter.colour, critter.marking_colour) in _CLASHES:
        return False
    return critter.accessory == "none" or critter.accessory_colour != critter.colour


def random_critter(rng: np.random.Generator, **fixed: str | int) -> Critter:
    """A critter with the given attributes; everything else is drawn evenly, without combinations that hide a part."""
    for _ in range(1000):
        drawn: dict[str, Any] = {name: _pick(rng, values) for name, values in VALUES.items()}
        drawn["seed"] = int(rng.integers(2**31))
        critter = dataclasses.replace(Critter(), **(drawn | fixed))
        if fits(critter):
            return critter
    return critter  # the fixed attributes themselves clash, and the caller asked for them


def identity(critter: Critter) -> tuple[str, ...]:
    """What makes it this character: equal for two pictures of the same one."""
    return tuple(truth(critter).get(name, "") for name in IDENTITY)


def truth(critter: Critter) -> dict[str, str]:
    """What can be seen in the drawing. Colours of things that are not there are left out."""
    seen = {name: getattr(critter, name) for name in VALUES}
    if critter.accessory == "none":
        del seen["accessory_colour"]
    if critter.marking == "none":
        del seen["marking_colour"]
    return seen


def trait_phrases(critter: Critter, rng: np.random.Generator) -> list[str]:
    """One phrase a trait, in no particular order."""
    phrases = [_pick(rng, BELLY_PHRASES).format(critter.belly), EYE_PHRASES[critter.eyes]]
    if critter.marking != "none":
        phrases.append(MARKING_PHRASES[critter.marking].format(critter.marking_colour))
    return [phrases[i] for i in rng.permutation(len(phrases))]


def accessory_phrase(critter: Critter) -> str:
    """`wearing a red hat`, or nothing."""
    if critter.accessory == "none":
        return ""
    article = "" if critter.accessory == "glasses" else "a "
    return f"wearing {article}{critter.accessory_colour} {critter.accessory}"


def article(words: str) -> str:
    """The words with `a` or `an` before them."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def caption(
    critter: Critter,
    rng: np.random.Generator,
    traits: float = 0.0,
    open_share: float = 0.0,
    subject: str | None = None,
    chatter: float = 0.0,
) -> str:
    """A sentence that is true of the drawing.

    `traits` is the chance of naming each trait, `open_share` the chance of leaving each attribute unsaid, `chatter`
    that of an adjective that says nothing; `subject` stands in for kind and colour (`<pip>`).
    """
    said = {name: rng.random() >= open_share for name in ATTRIBUTES}
    if subject is None:
        words = f"{critter.colour} {critter.kind}" if said["colour"] else critter.kind
        if critter.accessory != "none" and not said["accessory"] and rng.random() < 0.6:
            words = f"dressed up {words}"
        if rng.random() < chatter:
            words = f"{_pick(rng, CHATTER)} {words}"
        subject = article(words)
    framing = _pick(rng, FRAMING_PHRASES[critter.framing] if said["framing"] else OPEN_FRAMINGS)
    named = [phrase for phrase in trait_phrases(critter, rng) if rng.random() < traits]
    looks = " and ".join([named[0], *(phrase.removeprefix("with ") for phrase in named[1:])]) if named else ""
    wearing = accessory_phrase(critter) if said["accessory"] else ""
    place = _pick(rng, SCENE_PHRASES[critter.scene]) if said["scene"] else ""
    order = [looks, place, wearing] if rng.random() < 0.5 else [looks, wearing, place]
    comma = ", " if rng.random() < 0.3 else " "
    return comma.join([f"{framing} {subject}", *(part for part in order if part)])


def tags(critter: Critter, rng: np.random.Generator) -> str:
    """One to three bare words or word pairs, the way negative prompts are written."""
    words = [critter.kind, f"{critter.colour} {critter.kind}", critter.scene, *trait_phrases(critter, rng)]
    if critter.accessory != "none":
        words += [critter.accessory, f"{critter.accessory_colour} {critter.accessory}", critter.accessory]
    chosen = rng.permutation(len(words))[: int(rng.integers(1, 4))]
    return ", ".join(words[i].removeprefix("with ").removeprefix("a ") for i in chosen)


def draw(critter: Critter, size: int | tuple[int, int] = 128) -> Image.Image:
    """The picture of the critter, `size` square or (width, height)."""
    from models.toybox import critter_drawing as figure
    from models.toybox import scenery

    width, height = (size, size) if isinstance(size, int) else size
    rng = np.random.default_rng([critter.seed, 20_231])
    background = scenery.paint(critter.scene, rng, width, height)
    return figure.paint(critter, rng, background)
