"""Measure every candidate, by its pixels and with CLIP. Choosing comes later and needs no model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from models.picture import quality
from models.picture.reading import convert_to_rgb, open_picture
from models.scoring import statistics
from models.system.errors import UserError
from models.system.progress import show_progress
from tasks.persona.persona import Persona, with_article
from tasks.pictures.scorers import load_scorers
from tasks.references.measurements import Scores, save_measurements
from tasks.references.reference_set import ReferenceCandidate
from tasks.settings.settings import LoadedSettings

if TYPE_CHECKING:
    from models.scoring.clip import ClipScorer
    from models.scoring.picture_scorer import PictureScorer

PIXEL_MEASURES = ("spread", "sharpness", "dark", "bright", "width", "height")
SURROUNDINGS = ("framing", "angle", "background", "light")
"""Axes that are not the character: the differences between their phrases are removed from the likeness of two pictures."""


def measure_candidates(candidates: Sequence[ReferenceCandidate], persona: Persona, loaded: LoadedSettings) -> Path:
    """Measure every candidate and return the file of measurements, whose name is a hash of its content."""
    if not candidates:
        raise UserError(f"{persona.name} has no candidates: raise references.candidates, or add pictures to its folder")
    scorer, identity_scorer = load_scorers(loaded)
    reader = _CandidateReader(loaded.studio, candidates)
    with show_progress("looking at candidates", len(candidates), "pictures") as advance:
        vectors = np.stack(
            [_count_progress(vector, advance) for _, vector in scorer.encode_pictures(reader.open_pictures())]
        )
    identity, name = vectors, scorer.model_hash
    if identity_scorer:
        identity, name = (
            _measure_identity(reader, identity_scorer),
            f"{name} {loaded.settings.references.identity_scorer}",
        )
    scores = _compare_with_texts(reader, vectors, identity, name, scorer, persona, loaded)
    return save_measurements(scores, loaded.studio / "cache" / "scores")


class _CandidateReader:
    """Opens each candidate once for CLIP, and measures its pixels at the same time."""

    def __init__(self, studio: Path, candidates: Sequence[ReferenceCandidate]) -> None:
        self.studio, self.candidates = studio, candidates
        self.qualities: list[quality.Quality] = []
        self.hashes: list[int] = []

    def open_pictures(self, measuring: bool = True) -> Iterator[Image.Image]:
        for candidate in self.candidates:
            picture = convert_to_rgb(open_picture(self.studio / candidate.path))
            if measuring:
                self.qualities.append(quality.measure_quality(picture))
                self.hashes.append(quality.perceptual_hash(picture))
            yield picture


def _count_progress(vector: np.ndarray, advance: Any) -> np.ndarray:
    advance(1)
    return vector


def _measure_identity(reader: _CandidateReader, scorer: PictureScorer) -> np.ndarray:
    with show_progress("comparing characters", len(reader.candidates), "pictures") as advance:
        return np.stack(
            [
                _count_progress(vector, advance)
                for _, vector in scorer.encode_pictures(reader.open_pictures(measuring=False))
            ]
        )


def _compare_with_texts(
    reader: _CandidateReader,
    vectors: np.ndarray,
    identity: np.ndarray,
    name: str,
    scorer: ClipScorer,
    persona: Persona,
    loaded: LoadedSettings,
) -> Scores:
    settings = loaded.settings.references
    subject = _picture_of(persona.class_word)
    phrases = axes_to_measure(persona, settings.accessories, settings.expressions)
    prompt_vectors = scorer.encode_texts([candidate.prompt or subject for candidate in reader.candidates])
    shows, directions = {}, []
    for axis, values in phrases.items():
        texts = scorer.encode_texts([caption_for(persona, axis, value) for value in values])
        shows[axis] = (vectors @ texts.T).argmax(1)
        if axis in SURROUNDINGS and len(values) > 1:
            directions.append(texts - texts.mean(0))
    surroundings = np.concatenate(directions) if directions else np.zeros((0, vectors.shape[1]), np.float32)
    # Surroundings change the likeness to `a picture of a fox` more than another animal would, so they are removed first.
    plain = statistics.project_out(vectors, surroundings)
    like_subject = plain @ scorer.encode_texts([subject])[0]
    return Scores(
        ids=tuple(candidate.id for candidate in reader.candidates),
        scorer=name,
        pixels={
            measure: np.array([getattr(q, measure) for q in reader.qualities], dtype=np.float32)
            for measure in PIXEL_MEASURES
        },
        hashes=np.array(reader.hashes, dtype=np.uint64),
        seen=vectors,
        identity=identity,
        by_clip=identity is vectors,
        prompt=(vectors * prompt_vectors).sum(1),
        subject=like_subject,
        unwanted={
            concept: plain @ scorer.encode_texts([_picture_of(concept)])[0] - like_subject
            for concept in settings.unwanted
        },
        shows=shows,
        phrases=phrases,
        surroundings=surroundings,
    )


def axes_to_measure(
    persona: Persona, accessories: Sequence[str], expressions: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return the axes to measure in every picture: the persona's own, and accessories and expressions from the settings."""
    axes = {axis: tuple(values) for axis, values in persona.references.matrix.used_axes().items() if len(values) > 1}
    if accessories:
        axes["accessory"] = ("", *accessories)
    if expressions and "expression" not in axes:
        axes["expression"] = ("", *expressions)
    return axes


def caption_for(persona: Persona, axis: str, value: str) -> str:
    """Return a caption of the class word with this one phrase."""
    if not value:
        return _picture_of(persona.class_word)
    if axis == "accessory":
        return f"{_picture_of(persona.class_word)} wearing {with_article(value)}"
    if axis in ("framing", "angle") and value.split()[-1] in ("of", "showing"):
        return f"{value} {with_article(persona.class_word)}"
    return f"{_picture_of(persona.class_word)} {value}"


def _picture_of(thing: str) -> str:
    return f"a picture of {with_article(thing)}"
