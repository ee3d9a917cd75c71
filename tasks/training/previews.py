"""What to look at while a word is learned: prompts that ask for what the references do not show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models.picture.shot import Shot
from tasks.persona.persona import Persona, article
from tasks.pictures import generate
from tasks.settings.settings import Loaded
from tasks.training.record import Preview

USUAL = {
    "character": (
        "a portrait of {subject} at night",
        "a close-up of {subject} under water",
        "a full body picture of {subject} in a field of flowers",
        "a portrait of {subject} on a city street",
        "a full body picture of {subject} wearing a red hat in the snow",
        "a close-up of {subject} on the beach",
    ),
    "object": (
        "a picture of {subject} on a wooden table",
        "a close-up of {subject} in the grass",
        "a picture of {subject} at night",
        "a picture of {subject} on a city street",
        "a picture of {subject} in the snow",
        "a picture of {subject} floating in water",
    ),
    "style": (
        "a portrait of an old man, {subject}",
        "a city street, {subject}",
        "a bowl of fruit, {subject}",
        "a cat on a chair, {subject}",
        "mountains at night, {subject}",
        "a sailing boat, {subject}",
    ),
}


def previews(persona: Persona, seeds: int) -> list[Preview]:
    """Every preview prompt of the persona with as many seeds; the same ones in every training, to compare."""
    first = persona.preview.seed
    return [
        Preview(prompt, first + 1000 * place + number)
        for place, prompt in enumerate(persona.preview.prompts or USUAL[persona.kind])
        for number in range(seeds)
    ]


def preview_shots(
    who: Persona, looks: Sequence[Preview], subject: str, word: Path | None, loaded: Loaded
) -> list[Shot]:
    """Give the shots of the preview prompts with a subject: the class word, or the token with its embedding's file."""
    own = who.references
    changes = {"negative": own.negative, "guidance": own.guidance, "steps": own.steps}
    named = subject if word else article(subject)
    prompts = [look.said_of(named) for look in looks]
    seeds = [look.seed for look in looks]
    return generate.series(loaded, generate.machine(loaded, who.model), prompts, seeds, word, **changes)
