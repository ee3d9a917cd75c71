"""List the previews of a training: prompts that ask for what the references do not show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models.picture.shot import Shot
from tasks.persona.persona import Persona, with_article
from tasks.pictures import generate
from tasks.settings.settings import LoadedSettings
from tasks.training.record import Preview

DEFAULT_PROMPTS = {
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


def list_previews(persona: Persona, seeds: int) -> list[Preview]:
    """List every preview prompt of the persona with this many seeds, equal in all trainings so that they compare."""
    first = persona.preview.seed
    return [
        Preview(prompt, first + 1000 * place + number)
        for place, prompt in enumerate(persona.preview.prompts or DEFAULT_PROMPTS[persona.kind])
        for number in range(seeds)
    ]


def preview_shots(
    persona: Persona, previews: Sequence[Preview], subject: str, embedding: Path | None, loaded: LoadedSettings
) -> list[Shot]:
    """Return the shots of the previews with a subject: the class word, or the token with its embedding's file."""
    references = persona.references
    changes = {"negative": references.negative, "guidance": references.guidance, "steps": references.steps}
    subject_text = subject if embedding else with_article(subject)
    prompts = [preview.prompt_for(subject_text) for preview in previews]
    seeds = [preview.seed for preview in previews]
    return generate.shots_for_prompts(
        loaded, generate.model_setup(loaded, persona.model), prompts, seeds, embedding, **changes
    )
