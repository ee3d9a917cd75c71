"""What each training picture is captioned with: everything that varies in words, and the token for who or what it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

from models.system.errors import UserError
from models.system.progress import bar, waiting
from tasks.persona.persona import Persona, prompt_for
from tasks.references.reference_set import Candidate

SOURCES = ("auto", "provenance", "txt", "captioner", "templates")
ARTICLE = "(?:an?|the|this|that) "
LONGEST_TAG = 4  # words between two commas; parts of a sentence are mostly longer

# Given to pictures that nobody looked at, so none of them says what may be false: no framing, no place, no light.
OF_A_SUBJECT = (
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
IN_A_STYLE = (
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
class Captioning:
    """Where captions come from: the kind of source, and the captioner for pictures without words; empty for none."""

    source: str = "auto"
    captioner: str = ""


@dataclass(frozen=True)
class Captions:
    """The captions of one picture, each with the token in it, and where they come from."""

    texts: tuple[str, ...]
    origin: str
    """provenance, txt, captioner or template."""


def captions(
    chosen: Sequence[Candidate], persona: Persona, knobs: Captioning, studio: Path, device: str = "auto"
) -> list[Captions]:
    """The captions of each chosen picture, in order."""
    if knobs.source not in SOURCES:
        raise UserError(f"training.captions = {knobs.source!r} is unknown: use one of {', '.join(SOURCES)}")
    sources = [_source(candidate, knobs) for candidate in chosen]  # all of them before a long load
    unseen = [candidate for candidate, source in zip(chosen, sources, strict=True) if source == "captioner"]
    described = _described(unseen, persona, knobs, studio, device)
    made = {"provenance": _from_provenance, "txt": _from_text, "templates": _from_templates}
    return [
        next(described) if source == "captioner" else made[source](candidate, persona)
        for candidate, source in zip(chosen, sources, strict=True)
    ]


def _source(candidate: Candidate, knobs: Captioning) -> str:
    """Which of the sources this picture's captions come from; a forced one that it does not have is an error."""
    own, words = candidate.source, _trimmed(candidate.prompt)
    if knobs.source == "provenance" and own:
        raise UserError(f"{own} is a picture of your own, which no prompt made: set training.captions to auto or txt")
    if knobs.source == "txt" and not own:
        raise UserError(
            f"picture {candidate.short} was generated and has no .txt: set training.captions to auto or provenance"
        )
    if knobs.source == "txt" and not words:
        file = Path(own).with_suffix(".txt").name
        raise UserError(f"{own} has no caption: write one into {file} beside it, or set training.captions to auto")
    if knobs.source == "captioner" and not knobs.captioner:
        raise UserError(
            "training.captions = 'captioner' names no captioner: set training.captioner, such as to blip:FOLDER"
        )
    if knobs.source != "auto":
        return knobs.source
    if not own:
        return "provenance"
    return "txt" if words else "captioner" if knobs.captioner else "templates"


def _from_provenance(candidate: Candidate, persona: Persona) -> Captions:
    """The persona's own prompt with this picture's cell: it names what varies, and the token stands for the rest."""
    try:
        text = prompt_for(persona, candidate.cell, persona.token)
    except KeyError:  # the prompt has since been given an axis; the picture's own still says what is in it
        text = with_token(candidate.prompt, persona)
    return Captions((text,), "provenance")


def _from_text(candidate: Candidate, persona: Persona) -> Captions:
    return Captions((with_token(candidate.prompt, persona),), "txt")


def _from_templates(candidate: Candidate, persona: Persona) -> Captions:
    """All of them: the trainer draws one a step."""
    templates = IN_A_STYLE if persona.kind == "style" else OF_A_SUBJECT
    return Captions(tuple(template.format(persona.token) for template in templates), "template")


def _described(
    unseen: Sequence[Candidate], persona: Persona, knobs: Captioning, studio: Path, device: str
) -> Iterator[Captions]:
    """By the captioner; templates where it says nothing. The model loads only where a picture needs it."""
    from models.scoring import captioner

    if not unseen:
        return
    kept = studio / "cache"
    with waiting(f"loading {knobs.captioner}"):
        model = captioner.load(knobs.captioner, device, kept / "hashes.json", kept / "captions")
    with bar("captioning", len(unseen), "pictures") as advance:
        said = model.captions(studio / candidate.path for candidate in unseen)
        for candidate, text in zip(unseen, said, strict=True):
            advance(1)
            words = _trimmed(text)
            # Such an answer is a phrase of its own, "a cat on a bed", that a picture cannot be "of" once more.
            found = Captions((with_token(words, persona, start="{}, "),), "captioner")
            yield found if words else _from_templates(candidate, persona)


def with_token(text: str, persona: Persona, start: str = "a picture of {}, ") -> str:
    """The text with the token where it names the persona, or else with the token put before it as `start` says.

    Other words and their weights stay as they are. Where the text calls the persona by its subject or class word, the
    token replaces all of these, since a word left there would go on meaning what the token should. What is described is
    called a picture, not a photo: the text may go on to say that it is painted.
    """
    if persona.token in text:
        return text
    token, words = persona.token, normalize("NFC", _trimmed(text))

    def named(match: re.Match[str]) -> str:
        found = match.group()
        other = found.startswith("<") and found.casefold() != normalize("NFC", token).casefold()
        return found if other else token

    replaced = _names(persona).sub(named, words)
    if token in replaced:
        return replaced
    if _are_tags(words):
        return f"{token}, {words}"
    return f"{words}, in the style of {token}" if persona.kind == "style" else f"{start.format(token)}{words}"


def _names(persona: Persona) -> re.Pattern[str]:
    """What a text may call the persona, the longest first, with the article; and, so as to pass over it, `<whatever>`.

    Words that the subject has before the class word, as in "a teal fox", belong to the persona and go with it.
    """
    subject, word = (_bare(normalize("NFC", each)) for each in (persona.subject, persona.class_word))
    before, found, _ = subject.casefold().partition(word.casefold())
    traits = "|".join(re.escape(trait) for trait in before.split()) if found else ""
    called = {subject: re.escape(subject), word: (f"(?:(?:{traits}) )*" if traits else "") + re.escape(word)}
    longest_first = "|".join(called[each] for each in sorted(called, key=len, reverse=True))
    return re.compile(rf"<[^<>\s]*>|(?<![\w-])(?:{ARTICLE})?(?:{longest_first})(?![\w-])", re.IGNORECASE)


def _bare(phrase: str) -> str:
    return re.sub(f"^{ARTICLE}", "", phrase, flags=re.IGNORECASE)


def _are_tags(text: str) -> bool:
    """Short parts between commas, as taggers write them."""
    parts = [part.split() for part in text.split(",")]
    return len(parts) > 1 and all(len(part) <= LONGEST_TAG for part in parts)


def _trimmed(text: str) -> str:
    """On one line, without commas and full stops that end nothing: a file of only these is as good as empty."""
    return " ".join(text.split()).strip(" ,.")
