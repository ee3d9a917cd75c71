"""Look at every candidate: what its pixels say, and what CLIP sees in it. Choosing comes later and needs no model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from models.picture import quality
from models.picture.reading import open_picture, rgb
from models.scoring import statistics
from models.system.errors import UserError
from models.system.progress import bar
from tasks.persona.persona import Persona, article
from tasks.pictures.scorers import scorers
from tasks.references.measurements import Scores, put
from tasks.references.reference_set import Candidate
from tasks.settings.settings import Loaded

if TYPE_CHECKING:
    from models.scoring.clip import Scorer
    from models.scoring.picture_scorer import PictureScorer

PIXELS = ("spread", "sharpness", "dark", "bright", "width", "height")
SURROUNDINGS = ("framing", "angle", "background", "light")
"""The axes that are not the character: what tells their phrases apart is taken out of the likeness of two pictures."""


def score(candidates: Sequence[Candidate], persona: Persona, loaded: Loaded) -> Path:
    """Measure every candidate; the file of numbers is named by what it was made from."""
    if not candidates:
        raise UserError(f"{persona.name} has no candidates: raise references.candidates, or add pictures to its folder")
    scorer, who = scorers(loaded)
    look = _Look(loaded.studio, candidates)
    with bar("looking at candidates", len(candidates), "pictures") as advance:
        seen = np.stack([_told(vector, advance) for _, vector in scorer.pictures(look.pictures())])
    identity, name = seen, scorer.model_hash
    if who:
        identity, name = _identity(look, who), f"{name} {loaded.settings.references.identity_scorer}"
    scores = _with_texts(look, seen, identity, name, scorer, persona, loaded)
    return put(scores, loaded.studio / "cache" / "scores")


class _Look:
    """Opens each candidate once for CLIP, and measures its pixels in passing."""

    def __init__(self, studio: Path, candidates: Sequence[Candidate]) -> None:
        self.studio, self.candidates = studio, candidates
        self.qualities: list[quality.Quality] = []
        self.hashes: list[int] = []

    def pictures(self, measuring: bool = True) -> Iterator[Image.Image]:
        for candidate in self.candidates:
            picture = rgb(open_picture(self.studio / candidate.path))
            if measuring:
                self.qualities.append(quality.measure(picture))
                self.hashes.append(quality.perceptual_hash(picture))
            yield picture


def _told(vector: np.ndarray, advance: Any) -> np.ndarray:
    advance(1)
    return vector


def _identity(look: _Look, scorer: PictureScorer) -> np.ndarray:
    with bar("comparing characters", len(look.candidates), "pictures") as advance:
        return np.stack([_told(vector, advance) for _, vector in scorer.pictures(look.pictures(measuring=False))])


def _with_texts(
    look: _Look, seen: np.ndarray, identity: np.ndarray, name: str, scorer: Scorer, persona: Persona, loaded: Loaded
) -> Scores:
    knobs = loaded.settings.references
    subject = _picture_of(persona.class_word)
    phrases = axes(persona, knobs.accessories, knobs.expressions)
    asked = scorer.texts([candidate.prompt or subject for candidate in look.candidates])
    shows, directions = {}, []
    for axis, values in phrases.items():
        texts = scorer.texts([sentence(persona, axis, value) for value in values])
        shows[axis] = (seen @ texts.T).argmax(1)
        if axis in SURROUNDINGS and len(values) > 1:
            directions.append(texts - texts.mean(0))
    surroundings = np.concatenate(directions) if directions else np.zeros((0, seen.shape[1]), np.float32)
    # Where it happens moves the likeness to `a picture of a fox` more than an owl would: it is taken out first.
    plain = statistics.without(seen, surroundings)
    like_subject = plain @ scorer.texts([subject])[0]
    return Scores(
        ids=tuple(candidate.id for candidate in look.candidates),
        scorer=name,
        pixels={each: np.array([getattr(q, each) for q in look.qualities], dtype=np.float32) for each in PIXELS},
        hashes=np.array(look.hashes, dtype=np.uint64),
        seen=seen,
        identity=identity,
        by_clip=identity is seen,
        prompt=(seen * asked).sum(1),
        subject=like_subject,
        unwanted={each: plain @ scorer.texts([_picture_of(each)])[0] - like_subject for each in knobs.unwanted},
        shows=shows,
        phrases=phrases,
        surroundings=surroundings,
    )


def axes(persona: Persona, accessories: Sequence[str], expressions: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What to look for in every picture: the persona's own axes, and lists of accessories and expressions."""
    found = {axis: tuple(values) for axis, values in persona.references.matrix.axes().items() if len(values) > 1}
    if accessories:
        found["accessory"] = ("", *accessories)
    if expressions and "expression" not in found:
        found["expression"] = ("", *expressions)
    return found


def sentence(persona: Persona, axis: str, value: str) -> str:
    """A caption in which only this one thing is said of the class word."""
    if not value:
        return _picture_of(persona.class_word)
    if axis == "accessory":
        return f"{_picture_of(persona.class_word)} wearing {article(value)}"
    if axis in ("framing", "angle") and value.split()[-1] in ("of", "showing"):
        return f"{value} {article(persona.class_word)}"
    return f"{_picture_of(persona.class_word)} {value}"


def _picture_of(thing: str) -> str:
    return f"a picture of {article(thing)}"
