"""What a learned word is measured by: the references it was learned from, and the class word it grew out of.

Every measure compares three things in a scorer's space: the references, pictures of preview prompts with the class word, and
pictures of the same prompts and seeds with the learned word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.scoring import statistics

LONE = 0.9
"""How alike two references would be, where there is only one."""
EDITABILITY, LEAK, COLLAPSE = 0.5, 0.5, 0.5
"""What the other measures weigh beside identity in the score."""
OBEDIENT = 0.9
"""Prompts obeyed this well are obeyed: the rest is chance, with as few pictures as previews are."""


@dataclass(frozen=True)
class Seen:
    """Pictures as unit vectors: of everything in them [n, d], and of who is in them [n, e]."""

    whole: np.ndarray
    who: np.ndarray


@dataclass(frozen=True)
class Yardstick:
    """The ends of the scales."""

    references: Seen
    plain: Seen
    """The previews with the class word."""
    texts: np.ndarray
    """The vectors of the preview prompts, the class word put in."""
    prompts: Sequence[int]
    """Which of the prompts each preview picture was asked for."""

    def measure(self, seen: Seen) -> dict[str, float]:
        """The measures of a word's preview pictures, the score of them all among them."""
        found = {
            "identity": self._identity(seen),
            "editability": self._editability(seen),
            "leak": self._leak(seen),
            "collapse": self._collapse(seen),
        }
        return found | {"score": score(**found)}

    def ends(self) -> dict[str, float]:
        """What the scorer says of the references and of the class word themselves."""
        return {
            "likeness among the references": self._alike,
            "likeness of the class word": self._likeness(self.plain),
            "prompts obeyed by the class word": self._obeyed(self.plain),
        }

    @property
    def _alike(self) -> float:
        return statistics.mean_pairwise(self.references.who) if len(self.references.who) > 1 else LONE

    def _identity(self, seen: Seen) -> float:
        zero = self._likeness(self.plain)
        return _share(self._likeness(seen) - zero, self._alike - zero)

    def _likeness(self, seen: Seen) -> float:
        return float((seen.who @ self.references.who.T).mean())

    def _editability(self, seen: Seen) -> float:
        return _share(self._obeyed(seen), self._obeyed(self.plain))

    def _obeyed(self, seen: Seen) -> float:
        """How much more like its own prompt a picture is than like the others: what all have in common says nothing."""
        likeness = seen.whole @ self.texts.T
        own = likeness[np.arange(len(likeness)), list(self.prompts)]
        if self.texts.shape[0] == 1:
            return float(own.mean())
        others = (likeness.sum(1) - own) / (self.texts.shape[0] - 1)
        return float((own - others).mean())

    def _leak(self, seen: Seen) -> float:
        if len(self.references.whole) < 2:
            return 0.0  # one picture's surroundings cannot be told from whom it shows
        apart = self.references.whole - self.references.whole.mean(0)  # who is in all of them is gone
        apart /= np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-9)
        middle = self.plain.whole.mean(0)
        there, before = (((each.whole - middle) @ apart.T).max(1).mean() for each in (seen, self.plain))
        return float(there - before)

    def _collapse(self, seen: Seen) -> float:
        likeness = self.references.whole @ self.references.whole.T
        np.fill_diagonal(likeness, -np.inf)
        nearest = float(likeness.max(1).mean()) if len(likeness) > 1 else LONE
        return max(0.0, float((seen.whole @ self.references.whole.T).max(1).mean()) - nearest)


def score(identity: float, editability: float, leak: float, collapse: float) -> float:
    """What versions of a word are compared by: who it is counts first, and what it can no longer do counts against it."""
    return identity + EDITABILITY * min(editability, OBEDIENT) - LEAK * max(leak, 0.0) - COLLAPSE * collapse


def who(whole: np.ndarray, surroundings: np.ndarray) -> np.ndarray:
    """Of what a picture shows the part that is not its surroundings, which texts tell apart."""
    return statistics.without(whole, surroundings - surroundings.mean(0)) if len(surroundings) > 1 else whole


def _share(part: float, whole: float) -> float:
    return part / whole if abs(whole) > 1e-6 else 0.0
