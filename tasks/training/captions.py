"""Caption the training pictures: words for everything that varies, the token for who or what it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

from models.system.errors import UserError
from models.system.progress import show_progress, show_spinner
from tasks.persona.persona import Persona, prompt_for
from tasks.references.reference_set import ReferenceCandidate

CAPTION_SOURCES = ("auto", "provenance", "txt", "captioner", "templates")
ARTICLE = "(?:an?|the|this|that) "
MAX_TAG_WORDS = 4  # parts of a sentence between two commas are mostly longer

# Captions for pictures of unknown content, so none names anything that may be false: no framing, no place, no light.
SUBJECT_TEMPLATES = (
    "a photo of {}",
    "a picture of {}",
    "an image of {}",
    "a photograph of {}",
    "a good photo of {}",
    "a clear picture of {}",
    "one image of {}",
    "a shot of {}",
    "a view of {}",
    "a picture that shows {}",
    "a photo with {} in it",
    "this is {}",
)
STYLE_TEMPLATES = (
    "a picture in the style of {}",
    "an image in the style of {}",
    "a work in the style of {}",
    "artwork in the style of {}",
    "a scene in the style of {}",
    "something made in the style of {}",
    "a good picture in the style of {}",
    "one image in the style of {}",
    "a composition in the style of {}",
    "a picture made in the manner of {}",
    "an image with the look of {}",
    "a work with the look of {}",
)


@dataclass(frozen=True)
class CaptionSettings:
    """The source of captions, and the captioner for pictures without text; empty for none."""

    source: str = "auto"
    captioner: str = ""


@dataclass(frozen=True)
class PictureCaptions:
    """Captions of one picture, each with the token in it, and their origin."""

    texts: tuple[str, ...]
    origin: str
    """provenance, txt, captioner or template."""


def caption_pictures(
    candidates: Sequence[ReferenceCandidate],
    persona: Persona,
    settings: CaptionSettings,
    studio: Path,
    device: str = "auto",
) -> list[PictureCaptions]:
    """Return the captions of each candidate, in order."""
    if settings.source not in CAPTION_SOURCES:
        raise UserError(f"training.captions = {settings.source!r} is unknown: use one of {', '.join(CAPTION_SOURCES)}")
    sources = [_caption_source(candidate, settings) for candidate in candidates]  # checks all before a long load
    without_text = [candidate for candidate, source in zip(candidates, sources, strict=True) if source == "captioner"]
    described = _caption_by_model(without_text, persona, settings, studio, device)
    makers = {"provenance": _from_provenance, "txt": _from_text, "templates": _from_templates}
    return [
        next(described) if source == "captioner" else makers[source](candidate, persona)
        for candidate, source in zip(candidates, sources, strict=True)
    ]


def _caption_source(candidate: ReferenceCandidate, settings: CaptionSettings) -> str:
    """Return the source of this picture's captions; raise if the configured source does not exist for it."""
    source_file, words = candidate.source, _clean_text(candidate.prompt)
    if settings.source == "provenance" and source_file:
        raise UserError(
            f"{source_file} is a picture of your own, which no prompt made: set training.captions to auto or txt"
        )
    if settings.source == "txt" and not source_file:
        raise UserError(
            f"picture {candidate.short_id} was generated and has no .txt: set training.captions to auto or provenance"
        )
    if settings.source == "txt" and not words:
        file = Path(source_file).with_suffix(".txt").name
        raise UserError(
            f"{source_file} has no caption: write one into {file} beside it, or set training.captions to auto"
        )
    if settings.source == "captioner" and not settings.captioner:
        raise UserError(
            "training.captions = 'captioner' names no captioner: set training.captioner, such as to blip:FOLDER"
        )
    if settings.source != "auto":
        return settings.source
    if not source_file:
        return "provenance"
    return "txt" if words else "captioner" if settings.captioner else "templates"


def _from_provenance(candidate: ReferenceCandidate, persona: Persona) -> PictureCaptions:
    """Caption with the persona's prompt and this picture's cell: it names what varies, the token stands for the rest."""
    try:
        text = prompt_for(persona, candidate.cell, persona.token)
    except KeyError:  # the prompt has a new axis since; the picture's own prompt still describes it
        text = with_token(candidate.prompt, persona)
    return PictureCaptions((text,), "provenance")


def _from_text(candidate: ReferenceCandidate, persona: Persona) -> PictureCaptions:
    return PictureCaptions((with_token(candidate.prompt, persona),), "txt")


def _from_templates(candidate: ReferenceCandidate, persona: Persona) -> PictureCaptions:
    """Caption with all templates; the trainer draws one for each step."""
    templates = STYLE_TEMPLATES if persona.kind == "style" else SUBJECT_TEMPLATES
    return PictureCaptions(tuple(template.format(persona.token) for template in templates), "template")


def _caption_by_model(
    candidates: Sequence[ReferenceCandidate], persona: Persona, settings: CaptionSettings, studio: Path, device: str
) -> Iterator[PictureCaptions]:
    """Caption with the captioner model, or with templates where it returns nothing; load it only if a picture needs it."""
    from models.scoring import captioner

    if not candidates:
        return
    cache = studio / "cache"
    with show_spinner(f"loading {settings.captioner}"):
        model = captioner.load_captioner(settings.captioner, device, cache / "hashes.json", cache / "captions")
    with show_progress("captioning", len(candidates), "pictures") as advance:
        texts = model.describe_pictures(studio / candidate.path for candidate in candidates)
        for candidate, text in zip(candidates, texts, strict=True):
            advance(1)
            phrase = _clean_text(text)
            # The answer is a phrase such as "a cat on a bed", which cannot follow "a picture of".
            captions = PictureCaptions((with_token(phrase, persona, start="{}, "),), "captioner")
            yield captions if phrase else _from_templates(candidate, persona)


def with_token(text: str, persona: Persona, start: str = "a picture of {}, ") -> str:
    """Return the text with the token in place of the persona's name, or else with `start` and the token before it.

    Other words and their weights do not change. The token replaces every subject or class word that names the persona,
    since a remaining word would keep the meaning that the token should learn. `start` says picture, not photo, as the
    text may say that it is painted.
    """
    if persona.token in text:
        return text
    token, words = persona.token, normalize("NFC", _clean_text(text))

    def replace_name(match: re.Match[str]) -> str:
        matched = match.group()
        other = matched.startswith("<") and matched.casefold() != normalize("NFC", token).casefold()
        return matched if other else token

    replaced = _name_pattern(persona).sub(replace_name, words)
    if token in replaced:
        return replaced
    if _are_tags(words):
        return f"{token}, {words}"
    return f"{words}, in the style of {token}" if persona.kind == "style" else f"{start.format(token)}{words}"


def _name_pattern(persona: Persona) -> re.Pattern[str]:
    """Match any name of the persona, the longest first, with its article; also any `<token>`, so that it can be skipped.

    Words of the subject before the class word, as in "a teal fox", belong to the name.
    """
    subject, word = (_without_article(normalize("NFC", name)) for name in (persona.subject, persona.class_word))
    before, separator, _ = subject.casefold().partition(word.casefold())
    traits = "|".join(re.escape(trait) for trait in before.split()) if separator else ""
    patterns = {subject: re.escape(subject), word: (f"(?:(?:{traits}) )*" if traits else "") + re.escape(word)}
    longest_first = "|".join(patterns[name] for name in sorted(patterns, key=len, reverse=True))
    return re.compile(rf"<[^<>\s]*>|(?<![\w-])(?:{ARTICLE})?(?:{longest_first})(?![\w-])", re.IGNORECASE)


def _without_article(phrase: str) -> str:
    return re.sub(f"^{ARTICLE}", "", phrase, flags=re.IGNORECASE)


def _are_tags(text: str) -> bool:
    """Tell whether the text is a list of short parts between commas, as taggers write them."""
    parts = [part.split() for part in text.split(",")]
    return len(parts) > 1 and all(len(part) <= MAX_TAG_WORDS for part in parts)


def _clean_text(text: str) -> str:
    """Join the text into one line, without spaces, commas and full stops at its ends; only these count as empty."""
    return " ".join(text.split()).strip(" ,.")
