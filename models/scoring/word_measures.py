"""Measure a learned embedding against the references it was learned from and the class word it started from.

Every measure compares three things in a scorer's space: the references, pictures of preview prompts with the class word, and
pictures of the same prompts and seeds with the learned word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.scoring import statistics

LONE_LIKENESS = 0.9
"""How alike two references would be, where there is only one."""
EDITABILITY_WEIGHT, LEAK_WEIGHT, COLLAPSE_WEIGHT = 0.5, 0.5, 0.5
"""What the other measures weigh beside identity in the score."""
MAX_EDITABILITY = 0.9
"""Prompts obeyed this well are obeyed: the rest is chance, with as few pictures as previews are."""


@dataclass(frozen=True)
class SubjectVectors:
    """Pictures as unit vectors: of everything in them [n, d], and of the subject in them [n, e]."""

    whole: np.ndarray
    subject: np.ndarray


@dataclass(frozen=True)
class WordMeasurer:
    """The references, the class word's previews and the prompts that previews are measured against."""

    references: SubjectVectors
    plain: SubjectVectors
    """The previews with the class word."""
    texts: np.ndarray
    """The vectors of the preview prompts, the class word put in."""
    prompts: Sequence[int]
    """Which of the prompts each preview picture was asked for."""

    def measure_previews(self, previews: SubjectVectors) -> dict[str, float]:
        """Measure the preview pictures of an embedding; the result includes the score of all measures."""
        measures = {
            "identity": self._measure_identity(previews),
            "editability": self._measure_editability(previews),
            "leak": self._measure_leak(previews),
            "collapse": self._measure_collapse(previews),
        }
        return measures | {"score": overall_score(**measures)}

    def scale_ends(self) -> dict[str, float]:
        """Return what the scorer measures for the references and for the class word."""
        return {
            "likeness among the references": self._reference_likeness,
            "likeness of the class word": self._mean_likeness(self.plain),
            "prompts obeyed by the class word": self._prompt_obedience(self.plain),
        }

    @property
    def _reference_likeness(self) -> float:
        return statistics.mean_pairwise(self.references.subject) if len(self.references.subject) > 1 else LONE_LIKENESS

    def _measure_identity(self, previews: SubjectVectors) -> float:
        zero = self._mean_likeness(self.plain)
        return _safe_ratio(self._mean_likeness(previews) - zero, self._reference_likeness - zero)

    def _mean_likeness(self, vectors: SubjectVectors) -> float:
        return float((vectors.subject @ self.references.subject.T).mean())

    def _measure_editability(self, previews: SubjectVectors) -> float:
        return _safe_ratio(self._prompt_obedience(previews), self._prompt_obedience(self.plain))

    def _prompt_obedience(self, vectors: SubjectVectors) -> float:
        """Measure how much more a picture is like its own prompt than like the other prompts."""
        likeness = vectors.whole @ self.texts.T
        own_likeness = likeness[np.arange(len(likeness)), list(self.prompts)]
        if self.texts.shape[0] == 1:
            return float(own_likeness.mean())
        others = (likeness.sum(1) - own_likeness) / (self.texts.shape[0] - 1)
        return float((own_likeness - others).mean())

    def _measure_leak(self, previews: SubjectVectors) -> float:
        if len(self.references.whole) < 2:
            return 0.0  # one picture's surroundings cannot be told from whom it shows
        apart = self.references.whole - self.references.whole.mean(0)  # who is in all of them is gone
        apart /= np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-9)
        middle = self.plain.whole.mean(0)
        learned_likeness, plain_likeness = (
            ((vectors.whole - middle) @ apart.T).max(1).mean() for vectors in (previews, self.plain)
        )
        return float(learned_likeness - plain_likeness)

    def _measure_collapse(self, previews: SubjectVectors) -> float:
        likeness = self.references.whole @ self.references.whole.T
        np.fill_diagonal(likeness, -np.inf)
        nearest = float(likeness.max(1).mean()) if len(likeness) > 1 else LONE_LIKENESS
        return max(0.0, float((previews.whole @ self.references.whole.T).max(1).mean()) - nearest)


def overall_score(identity: float, editability: float, leak: float, collapse: float) -> float:
    """Combine the measures into the score of a version: identity counts most, what it lost counts against it."""
    return (
        identity
        + EDITABILITY_WEIGHT * min(editability, MAX_EDITABILITY)
        - LEAK_WEIGHT * max(leak, 0.0)
        - COLLAPSE_WEIGHT * collapse
    )


def remove_surroundings(whole: np.ndarray, surroundings: np.ndarray) -> np.ndarray:
    """Remove from picture vectors what texts about the surroundings explain; the subject is left."""
    return statistics.project_out(whole, surroundings - surroundings.mean(0)) if len(surroundings) > 1 else whole


def _safe_ratio(part: float, whole: float) -> float:
    return part / whole if abs(whole) > 1e-6 else 0.0
