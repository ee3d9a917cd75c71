"""Look at candidates of posts: what their pixels say and what CLIP sees in them, measured against a persona's references.

Measuring needs models and takes time; judging is arithmetic and lies in `gates`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.picture import quality
from models.picture.reading import open_picture, rgb
from models.scoring import statistics
from models.scoring.word_measures import LONE, who
from models.system.progress import bar
from tasks.persona.persona import Persona, article
from tasks.pictures.scorers import scorers
from tasks.render.gates import Measured
from tasks.render.results import in_words
from tasks.settings.settings import Loaded

LEAST_SCALE = 0.005
"""Where the ends of a scale lie nearer to each other than this, the scorer cannot tell them apart, and no share is one."""
SPREAD = 2.5
"""Deviations over the median from which a picture of the class word itself stands out towards something unwanted."""


@dataclass(frozen=True)
class Asked:
    """A picture and what it was asked for."""

    picture: Path
    prompt: str


@dataclass(frozen=True, eq=False)
class _Seen:
    """Unit vectors: of everything in the pictures [n, d], and of who is in them [n, e]."""

    whole: np.ndarray
    who: np.ndarray


class Appraiser:
    """The scorers and the ends of their scales, for one persona.

    `plain` are pictures of the class word, asked for with it: what they are is what any fox is. Each picture is measured
    alone, so its numbers do not depend on what else is looked at.
    """

    def __init__(self, persona: Persona, references: Sequence[Path], plain: Sequence[Asked], loaded: Loaded) -> None:
        assert plain, "without pictures of the class word nothing has a scale"
        self.persona, self._knobs = persona, loaded.settings.gates
        self._scorer, self._who = scorers(loaded)
        subject = article(persona.class_word)
        self._prompts = list(dict.fromkeys(each.prompt for each in plain))
        self._texts = self._scorer.texts(self._prompts)
        self._read: dict[str, np.ndarray] = {}
        sentences = _sentences(persona, loaded.settings.references.accessories)
        self._surroundings = self._scorer.texts([*self._prompts, *sentences])
        things = [subject, *map(article, self._knobs.unwanted)]
        self._class, *self._things = self._scorer.texts([f"a picture of {thing}" for thing in things])
        seen = self._seen([each.picture for each in plain])
        self._references = self._seen(references).who if references else None
        self._ends = self._scale(seen)
        self._obeyed = float(np.mean([self._contrast(*pair) for pair in zip(seen.whole, plain, strict=True)]))
        self._detail = float(np.median([_measure(each.picture).sharpness for each in plain]))
        self._usual = [-statistics.cut(-(seen.whole @ (each - self._class)), SPREAD, -np.inf) for each in self._things]

    def look(self, asked: Sequence[Asked]) -> list[Measured]:
        """What is to be said of each picture."""
        found = []
        with bar("looking at candidates", len(asked), "pictures") as advance:
            seen = self._seen([each.picture for each in asked], advance)
        for each, whole, person in zip(asked, seen.whole, seen.who, strict=True):
            picture = rgb(open_picture(each.picture))
            pixels = quality.measure(picture)
            looks = Measured(
                spread=pixels.spread,
                detail=pixels.sharpness / max(self._detail, 1e-9),
                identity=self._identity(person) if self.persona.token in each.prompt else None,
                prompt=_share(self._contrast(whole, each), self._obeyed),
                unwanted=self._unwanted(whole),
                likeness=quality.perceptual_hash(picture),
                seen=whole,
            )
            found.append(looks)
        return found

    def vectors(self, pictures: Sequence[Path]) -> list[np.ndarray]:
        """CLIP's view of pictures, such as those that are out already."""
        return list(self._seen(pictures).whole)

    def _seen(self, paths: Sequence[Path], advance: Any = None) -> _Seen:
        whole = _stack(self._scorer, paths, advance)
        if self._who is not None:
            return _Seen(whole, _stack(self._who, paths))
        return _Seen(whole, who(whole, self._surroundings) if len(whole) else whole)

    def _scale(self, plain: _Seen) -> tuple[float, float]:
        """How like the references pictures of the class word are, and how like they are among themselves."""
        if self._references is None:
            return 0.0, 1.0
        many = len(self._references) > 1
        alike = statistics.mean_pairwise(self._references) if many else LONE
        return float((plain.who @ self._references.T).mean()), alike

    def _identity(self, person: np.ndarray) -> float | None:
        if self._references is None:
            return None
        zero, one = self._ends
        return _share(float((self._references @ person).mean()) - zero, one - zero)

    def _contrast(self, whole: np.ndarray, asked: Asked) -> float:
        """How much more like its own prompt than like others: what all pictures have in common says nothing."""
        prompt = in_words(asked.prompt, self.persona)
        own = float(whole @ self._text(prompt))
        others = [text for text, name in zip(self._texts, self._prompts, strict=True) if name != prompt]
        return own - float(np.mean([whole @ text for text in others])) if others else own

    def _text(self, prompt: str) -> np.ndarray:
        """Read alone, so that the bits do not depend on what else is asked; candidates of one shot share it."""
        if prompt not in self._read:
            self._read[prompt] = self._scorer.texts([prompt])[0]
        return self._read[prompt]

    def _unwanted(self, whole: np.ndarray) -> dict[str, float]:
        """Words that the scorer hardly knows are near every picture, so what is usual for the class counts as well."""
        towards = [float(whole @ (each - self._class)) for each in self._things]
        pairs = zip(self._knobs.unwanted, towards, self._usual, strict=True)
        return {name: min(value, value - usual) for name, value, usual in pairs}


def _sentences(persona: Persona, accessories: Sequence[str]) -> Iterator[str]:
    """Captions in which one thing after the other is said of the class word that has no part in who it is."""
    subject = article(persona.class_word)
    for axis, phrases in persona.references.matrix.axes().items():
        for phrase in phrases:
            before = axis in ("framing", "angle") and phrase.split()[-1] in ("of", "showing")
            yield f"{phrase} {subject}" if before else f"a picture of {subject} {phrase}"
    yield f"a picture of {subject}"
    for thing in accessories:
        yield f"a picture of {subject} wearing {article(thing)}"


def _measure(path: Path) -> quality.Quality:
    return quality.measure(rgb(open_picture(path)))


def _stack(scorer: Any, paths: Sequence[Path], advance: Any = None) -> np.ndarray:
    rows = []
    for _, vector in scorer.pictures(paths):
        rows.append(vector)
        if advance:
            advance(1)
    return np.stack(rows) if rows else np.zeros((0, scorer.dimension), np.float32)


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole > LEAST_SCALE else None
