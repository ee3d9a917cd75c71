"""The world toybox knows: storybook critters with named attributes and with traits that make one of them somebody.

Attributes (kind, colour, accessory, prop, pose, scene, light, framing) are what captions normally say; traits (belly, eyes,
marking) are what captions say only now and then, so that a plain prompt leaves them open and only a learned word can hold
them. `models/toybox/drawing.py` makes a picture of a `Critter`, a pure function of it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

CREATURES = ("fox", "cat", "rabbit", "bear", "frog", "owl")
OBJECTS = ("teapot", "car")
KINDS = CREATURES + OBJECTS
COLOURS = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "brown", "grey")
ACCESSORIES = ("none", "hat", "scarf", "glasses", "crown", "bow")
ACCESSORY_COLOURS = ("red", "yellow", "green", "blue", "white", "black")
PROPS = ("none", "balloon", "flower", "lantern", "umbrella")
POSES = ("standing", "waving", "sitting", "running", "jumping")
SCENES = ("forest", "beach", "snow", "desert", "city", "meadow", "night", "sea")
LIGHTS = ("day", "sunset", "night")
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
    "prop": PROPS,
    "pose": POSES,
    "scene": SCENES,
    "light": LIGHTS,
    "framing": FRAMINGS,
}
TRAITS = {"belly": BELLIES, "eyes": EYES, "marking": MARKINGS, "marking_colour": MARKING_COLOURS}
VALUES = ATTRIBUTES | TRAITS
IDENTITY = ("kind", "colour", "belly", "eyes", "marking", "marking_colour")
"""What stays the same from picture to picture of one character."""
USUAL = {"prop": ("none", 0.4), "pose": ("standing", 0.28), "light": ("day", 0.44)}
"""What is drawn more often than its fair share, because a prompt that does not say otherwise means it."""

# Marking and belly colours that would hardly show on a coat.
_CLASHES = {("yellow", "gold"), ("orange", "gold"), ("purple", "violet"), ("pink", "rose"), ("grey", "charcoal")}


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
    prop: str = "none"
    pose: str = "standing"
    light: str = "day"


PIP = Critter(kind="fox", colour="teal", belly="cream", eyes="round", marking="stripe", marking_colour="white")
"""The character of the demo."""


def pick(rng: np.random.Generator, values: tuple[str, ...]) -> str:
    """Choose one of the values evenly."""
    return values[int(rng.integers(len(values)))]


def _draw_value(rng: np.random.Generator, name: str) -> str:
    usual, share = USUAL.get(name, ("", 0.0))
    if share and rng.random() < share:
        return usual
    return pick(rng, tuple(value for value in VALUES[name] if value != usual))


def fits(critter: Critter) -> bool:
    """Whether every part of the critter can be told from what lies under it."""
    if (critter.colour, critter.belly) in _CLASHES:
        return False
    if critter.marking != "none" and (critter.colour, critter.marking_colour) in _CLASHES:
        return False
    return critter.accessory == "none" or critter.accessory_colour != critter.colour


def random_critter(rng: np.random.Generator, **fixed: str | int) -> Critter:
    """Draw a critter with the given attributes and any others, without combinations that hide a part."""
    for _ in range(1000):
        drawn: dict[str, Any] = {name: _draw_value(rng, name) for name in VALUES}
        drawn["seed"] = int(rng.integers(2**31))
        critter = dataclasses.replace(Critter(), **(drawn | fixed))
        if fits(critter):
            return critter
    return critter  # the fixed attributes themselves clash, and the caller asked for them


def light_of(critter: Critter) -> str:
    """What light the critter is seen in. The scene called night is a hill under the stars, whatever its `light` says."""
    return "night" if critter.scene == "night" else critter.light


def identity(critter: Critter) -> tuple[str, ...]:
    """What makes it this character: equal for two pictures of the same one."""
    return tuple(truth(critter).get(name, "") for name in IDENTITY)


def truth(critter: Critter) -> dict[str, str]:
    """What can be seen in the drawing. Colours of things that are not there are left out, and the pose of a close-up."""
    seen = {name: getattr(critter, name) for name in VALUES} | {"light": light_of(critter)}
    if critter.accessory == "none":
        del seen["accessory_colour"]
    if critter.marking == "none":
        del seen["marking_colour"]
    if critter.framing == "close-up":
        del seen["pose"]
    return seen


KIND_WORDS = {"car": ("toy car", "car", "toy car")}
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
LIGHT_PHRASES = {
    "day": ("by day", "in daylight", "during the day"),
    "sunset": ("at sunset", "at sunset", "in the evening light"),
    "night": ("at night", "by night", "in the moonlight"),
}
PLACELESS_NIGHT = "in the moonlight"
"""How night is said where no place is: `at night` alone is the hill under the stars."""
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
PROP_PHRASES = {
    "balloon": ("holding a balloon", "with a balloon in the hand", "holding a balloon"),
    "flower": ("holding a flower", "with a flower in the hand", "holding a flower"),
    "lantern": ("holding a lantern", "with a lantern in the hand", "carrying a lantern"),
    "umbrella": ("holding an umbrella", "with an umbrella in the hand", "under an umbrella"),
}
POSE_PHRASES = {
    "standing": ("standing", "standing still"),
    "waving": ("waving", "waving hello"),
    "sitting": ("sitting", "sitting down"),
    "running": ("running", "running fast"),
    "jumping": ("jumping", "jumping for joy"),
}
USUAL_SAID = {"standing": 0.25, "day": 0.25}
"""How often a caption says what goes without saying."""


def trait_phrases(critter: Critter, rng: np.random.Generator) -> list[str]:
    """One phrase a trait, in no particular order."""
    phrases = [pick(rng, BELLY_PHRASES).format(critter.belly), EYE_PHRASES[critter.eyes]]
    if critter.marking != "none":
        phrases.append(MARKING_PHRASES[critter.marking].format(critter.marking_colour))
    return [phrases[i] for i in rng.permutation(len(phrases))]


def accessory_phrase(critter: Critter) -> str:
    """`wearing a red hat`, or nothing."""
    if critter.accessory == "none":
        return ""
    return f"wearing {'' if critter.accessory == 'glasses' else 'a '}{critter.accessory_colour} {critter.accessory}"


def article(words: str) -> str:
    """The words with `a` or `an` before them."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def kind_words(critter: Critter, rng: np.random.Generator) -> str:
    """What the kind is called."""
    return pick(rng, KIND_WORDS.get(critter.kind, (critter.kind,)))


def _said_pose(critter: Critter, rng: np.random.Generator) -> str:
    if critter.framing == "close-up" or rng.random() >= USUAL_SAID.get(critter.pose, 1.0):
        return ""
    return pick(rng, POSE_PHRASES[critter.pose])


def _said_light(critter: Critter, rng: np.random.Generator, place: str) -> str:
    light = light_of(critter)
    if critter.scene == "night" or rng.random() >= USUAL_SAID.get(light, 1.0):
        return ""
    return PLACELESS_NIGHT if light == "night" and not place else pick(rng, LIGHT_PHRASES[light])


def _subject(critter: Critter, rng: np.random.Generator, said: dict[str, bool], chatter: float) -> str:
    kind = kind_words(critter, rng)
    words = f"{critter.colour} {kind}" if said["colour"] else kind
    if critter.accessory != "none" and not said["accessory"] and rng.random() < 0.6:
        words = f"dressed up {words}"
    if rng.random() < chatter:
        words = f"{pick(rng, CHATTER)} {words}"
    return article(words)


def caption(
    critter: Critter,
    rng: np.random.Generator,
    traits: float = 0.0,
    open_share: float = 0.0,
    subject: str | None = None,
    chatter: float = 0.0,
) -> str:
    """Write a sentence that is true of the drawing.

    `traits` is the chance of naming each trait, `open_share` the chance of leaving each attribute unsaid, `chatter`
    that of an adjective that says nothing; `subject` stands in for kind and colour (`<pip>`).
    """
    said = {name: rng.random() >= open_share for name in ATTRIBUTES}
    subject = subject or _subject(critter, rng, said, chatter)
    framing = pick(rng, FRAMING_PHRASES[critter.framing] if said["framing"] else OPEN_FRAMINGS)
    named = [phrase for phrase in trait_phrases(critter, rng) if rng.random() < traits]
    looks = " and ".join([named[0], *(phrase.removeprefix("with ") for phrase in named[1:])]) if named else ""
    pose = _said_pose(critter, rng) if said["pose"] else ""
    prop = pick(rng, PROP_PHRASES[critter.prop]) if critter.prop != "none" and said["prop"] else ""
    wearing = accessory_phrase(critter) if said["accessory"] else ""
    scene = pick(rng, SCENE_PHRASES[critter.scene]) if said["scene"] else ""
    light = _said_light(critter, rng, scene) if said["light"] else ""
    place = " ".join(part for part in (scene, light) if part)
    doing = [pose, prop] if rng.random() < 0.6 else [prop, pose]
    orders = ([looks, wearing, *doing, place], [looks, *doing, place, wearing], [*doing, looks, wearing, place],
              [looks, place, wearing, *doing])  # fmt: skip
    order = orders[int(rng.integers(len(orders)))]
    comma = ", " if rng.random() < 0.3 else " "
    return comma.join([f"{framing} {subject}", *(part for part in order if part)])


def tags(critter: Critter, rng: np.random.Generator) -> str:
    """Write one to three bare words or word pairs, the way negative prompts are written."""
    kind = kind_words(critter, rng)
    words = [kind, f"{critter.colour} {kind}", critter.scene, light_of(critter), *trait_phrases(critter, rng)]
    if critter.framing != "close-up":
        words.append(critter.pose)
    if critter.prop != "none":
        words += [critter.prop, pick(rng, PROP_PHRASES[critter.prop])]
    if critter.accessory != "none":
        words += [critter.accessory, f"{critter.accessory_colour} {critter.accessory}", critter.accessory]
    chosen = rng.permutation(len(words))[: int(rng.integers(1, 4))]
    return ", ".join(words[i].removeprefix("with ").removeprefix("a ") for i in chosen)
