"""Measure candidates of posts: their pixels and their CLIP vectors, against a persona's references.

Measuring needs models and takes time; judging is arithmetic and is in `gates`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.picture import quality
from models.picture.reading import convert_to_rgb, open_picture
from models.scoring import statistics
from models.scoring.word_measures import LONE_LIKENESS, remove_surroundings
from models.system.progress import show_progress
from tasks.persona.persona import Persona, with_article
from tasks.pictures.scorers import load_scorers
from tasks.render.gates import CandidateMeasurements, examine_picture
from tasks.render.results import plain_prompt
from tasks.settings.settings import LoadedSettings

MIN_SCALE = 0.005
"""Below this range the scorer cannot separate class word from references: a share is None."""
MAX_DEVIATIONS = 2.5
"""Deviations over the median beyond which a picture of the class word is an outlier towards something unwanted."""


@dataclass(frozen=True)
class PictureWithPrompt:
    """A picture and the prompt it was rendered with."""

    picture: Path
    prompt: str


@dataclass(frozen=True, eq=False)
class _PictureVectors:
    """Unit vectors: of the whole pictures [n, d], and of the subject in them [n, e]."""

    whole: np.ndarray
    subject: np.ndarray


class CandidateMeasurer:
    """The scorers and the ends of their scales, for one persona.

    `plain` are pictures of the class word, rendered with it: they show what is usual for the class. Each picture is
    measured alone, so its numbers do not depend on the other pictures.
    """

    def __init__(
        self, persona: Persona, references: Sequence[Path], plain: Sequence[PictureWithPrompt], loaded: LoadedSettings
    ) -> None:
        assert plain, "without pictures of the class word nothing has a scale"
        self.persona, self._settings = persona, loaded.settings.gates
        self._scorer, self._subject_scorer = load_scorers(loaded)
        subject = with_article(persona.class_word)
        self._prompts = list(dict.fromkeys(item.prompt for item in plain))
        self._texts = self._scorer.encode_texts(self._prompts)
        self._read: dict[str, np.ndarray] = {}
        sentences = _class_word_captions(persona, loaded.settings.references.accessories)
        self._surroundings = self._scorer.encode_texts([*self._prompts, *sentences])
        things = [subject, *map(with_article, self._settings.unwanted)]
        self._class, *self._things = self._scorer.encode_texts([f"a picture of {thing}" for thing in things])
        vectors = self._load_vectors([item.picture for item in plain])
        self._references = self._load_vectors(references).subject if references else None
        self._ends = self._identity_scale(vectors)
        self._obeyed = float(np.mean([self._prompt_contrast(*pair) for pair in zip(vectors.whole, plain, strict=True)]))
        self._detail = float(np.median([_measure_pixels(item.picture).sharpness for item in plain]))
        self._usual = [
            -statistics.outlier_cut(-(vectors.whole @ (thing - self._class)), MAX_DEVIATIONS, -np.inf)
            for thing in self._things
        ]

    def measure_candidates(self, requests: Sequence[PictureWithPrompt]) -> list[CandidateMeasurements]:
        """Measure each picture."""
        measurements = []
        with show_progress("looking at candidates", len(requests), "pictures") as advance:
            vectors = self._load_vectors([request.picture for request in requests], advance)
        for request, whole, person in zip(requests, vectors.whole, vectors.subject, strict=True):
            picture = convert_to_rgb(open_picture(request.picture))
            pixels = quality.measure_quality(picture)
            measurement = CandidateMeasurements(
                spread=pixels.spread,
                detail=pixels.sharpness / max(self._detail, 1e-9),
                identity=self._identity_share(person) if self.persona.token in request.prompt else None,
                prompt=_share_of(self._prompt_contrast(whole, request), self._obeyed),
                unwanted=self._unwanted_scores(whole),
                likeness=quality.perceptual_hash(picture),
                seen=whole,
                examined=examine_picture(picture),
            )
            measurements.append(measurement)
        return measurements

    def vectors(self, pictures: Sequence[Path]) -> list[np.ndarray]:
        """Return the CLIP vectors of pictures, such as published ones."""
        return list(self._load_vectors(pictures).whole)

    def _load_vectors(self, paths: Sequence[Path], advance: Any = None) -> _PictureVectors:
        whole = _stack_vectors(self._scorer, paths, advance)
        if self._subject_scorer is not None:
            return _PictureVectors(whole, _stack_vectors(self._subject_scorer, paths))
        return _PictureVectors(whole, remove_surroundings(whole, self._surroundings) if len(whole) else whole)

    def _identity_scale(self, plain: _PictureVectors) -> tuple[float, float]:
        """Return the likeness of class-word pictures to the references, and of the references among themselves."""
        if self._references is None:
            return 0.0, 1.0
        many = len(self._references) > 1
        alike = statistics.mean_pairwise(self._references) if many else LONE_LIKENESS
        return float((plain.subject @ self._references.T).mean()), alike

    def _identity_share(self, person: np.ndarray) -> float | None:
        if self._references is None:
            return None
        zero, one = self._ends
        return _share_of(float((self._references @ person).mean()) - zero, one - zero)

    def _prompt_contrast(self, whole: np.ndarray, request: PictureWithPrompt) -> float:
        """Return how much more the picture resembles its own prompt than the other prompts."""
        prompt = plain_prompt(request.prompt, self.persona)
        similarity = float(whole @ self._text_vector(prompt))
        others = [text for text, name in zip(self._texts, self._prompts, strict=True) if name != prompt]
        return similarity - float(np.mean([whole @ text for text in others])) if others else similarity

    def _text_vector(self, prompt: str) -> np.ndarray:
        """Encode a prompt alone, so that its bits do not depend on other prompts; cached for the candidates of one shot."""
        if prompt not in self._read:
            self._read[prompt] = self._scorer.encode_texts([prompt])[0]
        return self._read[prompt]

    def _unwanted_scores(self, whole: np.ndarray) -> dict[str, float]:
        """Score each unwanted concept, relative to the class's usual score: an unfamiliar word is near every picture."""
        towards = [float(whole @ (thing - self._class)) for thing in self._things]
        pairs = zip(self._settings.unwanted, towards, self._usual, strict=True)
        return {name: min(value, value - usual) for name, value, usual in pairs}


def _class_word_captions(persona: Persona, accessories: Sequence[str]) -> Iterator[str]:
    """Yield captions of the class word that each add one thing that is not part of the subject's identity."""
    subject = with_article(persona.class_word)
    for axis, phrases in persona.references.matrix.used_axes().items():
        for phrase in phrases:
            before = axis in ("framing", "angle") and phrase.split()[-1] in ("of", "showing")
            yield f"{phrase} {subject}" if before else f"a picture of {subject} {phrase}"
    yield f"a picture of {subject}"
    for thing in accessories:
        yield f"a picture of {subject} wearing {with_article(thing)}"


def _measure_pixels(path: Path) -> quality.Quality:
    return quality.measure_quality(convert_to_rgb(open_picture(path)))


def _stack_vectors(scorer: Any, paths: Sequence[Path], advance: Any = None) -> np.ndarray:
    rows = []
    for _, vector in scorer.encode_pictures(paths):
        rows.append(vector)
        if advance:
            advance(1)
    return np.stack(rows) if rows else np.zeros((0, scorer.dimension), np.float32)


def _share_of(part: float, whole: float) -> float | None:
    return part / whole if whole > MIN_SCALE else None
