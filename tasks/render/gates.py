"""The gates that every candidate of a post has to pass: arithmetic on what `measure` found, with a reason for each.

Each reason starts with its code: blank, blurred, unwanted, stranger, disobedient or duplicate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from tasks.posts.post import PostCandidate
from tasks.settings.sections import GateSettings

SAID = {
    "blank": "blank",
    "blurred": "blurred",
    "unwanted": "with something unwanted",
    "stranger": "not the character",
    "disobedient": "not what was asked for",
    "duplicate": "like another post",
}
DEFAULT_DISTANCE = 0.02
"""Assumed distance between pictures of one shot, where there is only one picture."""
IDENTITY_STEP = 0.1
"""Identities that differ by less count as equal, and the prompt decides."""


@dataclass(frozen=True, eq=False)
class CandidateMeasurements:
    """The measurements of one picture."""

    spread: float
    """Spread of its brightness, of 255."""
    detail: float
    """Its fine detail, as a share of the detail in pictures of the class word."""
    identity: float | None
    """0: as like the references as any picture of the class; 1: as like them as they are to each other. None: the prompt
    does not name the token, or the scorer cannot tell."""
    prompt: float | None
    """1: it obeys its prompt as well as pictures of the class word obey theirs; 0: as like other prompts as its own.
    None: the scorer cannot tell."""
    unwanted: Mapping[str, float] = field(default_factory=dict)
    """For each concept, how much more the picture resembles it than the class word, and than usual pictures of it do."""
    likeness: int = 0
    """Its perceptual hash."""
    seen: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    """CLIP's unit vector."""

    def scores(self) -> dict[str, float]:
        """Return the measured numbers for people, rounded."""
        scores = {"identity": self.identity, "prompt": self.prompt, "detail": self.detail, "spread": self.spread}
        scores |= {f"unwanted {name}": value for name, value in self.unwanted.items()}
        return {name: round(float(value), 3) for name, value in scores.items() if value is not None}


@dataclass(frozen=True, eq=False)
class ExistingPicture:
    """A picture that is published or waiting."""

    post: str
    likeness: int | None
    """Its perceptual hash; None where only the vector is given."""
    seen: np.ndarray | None = None


def rejection_reason(measured: CandidateMeasurements, settings: GateSettings, token: str, class_word: str) -> str:
    """Return why a picture is rejected, apart from other posts; an empty text where it passes."""
    if measured.spread < settings.blank_spread:
        return f"blank: its brightness varies by {measured.spread:.1f} of 255, under {settings.blank_spread:g}"
    if measured.detail < settings.detail:
        return (
            f"blurred: {measured.detail:.0%} of the fine detail that any {class_word} has, under {settings.detail:.0%}"
        )
    for name, value in measured.unwanted.items():
        if value > settings.unwanted_margin:
            return f"unwanted: more like {name!r} than any {class_word} is, by {value:.3f}, over {settings.unwanted_margin:g}"
    if measured.identity is not None and measured.identity < settings.identity:
        return (
            f"stranger: {measured.identity:.2f} of the way from any {class_word} to the references of {token},"
            f" under {settings.identity:g}"
        )
    if measured.prompt is not None and measured.prompt < settings.prompt:
        return (
            f"disobedient: it obeys its prompt {measured.prompt:.2f} times as well as a {class_word} does, under"
            f" {settings.prompt:g}"
        )
    return ""


def median_distance(measured: Sequence[CandidateMeasurements]) -> float:
    """Return the median CLIP distance between the candidates of one shot."""
    pairs = [1 - float(one.seen @ other.seen) for one, other in combinations(measured, 2)]
    return float(np.median(pairs)) if pairs else DEFAULT_DISTANCE


def duplicate_reason(
    measured: CandidateMeasurements, existing: Sequence[ExistingPicture], usual: float, settings: GateSettings
) -> str:
    """Return which picture in use this one duplicates; an empty text where it duplicates none."""
    cut = settings.duplicate_share * usual
    for picture in existing:
        bits = 64 if picture.likeness is None else (measured.likeness ^ picture.likeness).bit_count()
        if bits <= settings.duplicate_bits:
            return f"duplicate: of the picture of post {picture.post}, the same pattern but for {bits} of 64 bits"
        if cut and picture.seen is not None and (apart := 1 - float(measured.seen @ picture.seen)) < cut:
            return (
                f"duplicate: of the picture of post {picture.post}, {apart:.4f} apart in CLIP's eyes, under {cut:.4f}"
            )
    return ""


def acceptance_summary(measured: CandidateMeasurements, token: str) -> str:
    """Summarize why a picture passed."""
    identity = "" if measured.identity is None else f"{measured.identity:.2f} like the references of {token}"
    prompt = "" if measured.prompt is None else f"{measured.prompt:.2f} as its prompt asks"
    return f"passed: {', '.join(filter(None, (identity, prompt))) or 'nothing speaks against it'}"


def best_first(candidates: Iterable[PostCandidate]) -> list[PostCandidate]:
    """Sort the candidates that passed by identity, and by prompt where identities are nearly equal."""
    return sorted((candidate for candidate in candidates if candidate.passed), key=_sort_key)


def _sort_key(candidate: PostCandidate) -> tuple[float, float, int]:
    identity = min(candidate.scores.get("identity", 1.0), 1.0)
    return -round(identity / IDENTITY_STEP), -candidate.scores.get("prompt", 0.0), candidate.number


def count_reasons(candidates: Sequence[PostCandidate]) -> str:
    """Count the rejected candidates by reason, such as `5 not the character, 1 blurred`."""
    counts = Counter(candidate.reason.partition(":")[0] for candidate in candidates if not candidate.passed)
    return ", ".join(f"{count} {SAID.get(code, code)}" for code, count in counts.most_common())
