"""The gates that every candidate of a post has to pass. Pure arithmetic on what `appraise` measured; each says why.

A reason begins with its one word for counting: blank, blurred, unwanted, stranger, disobedient or duplicate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from tasks.posts.post import Candidate
from tasks.settings.sections import Gates

SAID = {
    "blank": "blank",
    "blurred": "blurred",
    "unwanted": "with something unwanted",
    "stranger": "not the character",
    "disobedient": "not what was asked for",
    "duplicate": "like another post",
}
ALIKE = 0.02
"""How far apart pictures of one shot are taken to be, where there is only one."""
NEARLY = 0.1
"""Identities that differ by less are alike, and the prompt decides."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured of one picture."""

    spread: float
    """How much its brightness varies, of 255."""
    detail: float
    """Its fine detail, as a share of what pictures of the class word have."""
    identity: float | None
    """0: as like the references as any of its class; 1: as they are among each other. None: it is not to show anybody,
    or the scorer cannot tell."""
    prompt: float | None
    """1: it obeys its prompt as well as pictures of the class word obey theirs; 0: as like other prompts as its own.
    None: the scorer cannot tell."""
    unwanted: Mapping[str, float] = field(default_factory=dict)
    """By concept, how much more it is like that than like the class word, and than pictures of the class word are."""
    likeness: int = 0
    """Its perceptual hash."""
    seen: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    """CLIP's unit vector."""

    def scores(self) -> dict[str, float]:
        """The numbers that people may want to see."""
        found = {"identity": self.identity, "prompt": self.prompt, "detail": self.detail, "spread": self.spread}
        found |= {f"unwanted {name}": value for name, value in self.unwanted.items()}
        return {name: round(float(value), 3) for name, value in found.items() if value is not None}


@dataclass(frozen=True, eq=False)
class Taken:
    """A picture that goes out already, or waits to."""

    post: str
    likeness: int | None
    """Its perceptual hash, where only that is known or that as well."""
    seen: np.ndarray | None = None


def reason(measured: Measured, knobs: Gates, token: str, class_word: str) -> str:
    """Why a picture is dropped, whatever else there is; nothing where it passes."""
    if measured.spread < knobs.blank_spread:
        return f"blank: its brightness varies by {measured.spread:.1f} of 255, under {knobs.blank_spread:g}"
    if measured.detail < knobs.detail:
        return f"blurred: {measured.detail:.0%} of the fine detail that any {class_word} has, under {knobs.detail:.0%}"
    for name, value in measured.unwanted.items():
        if value > knobs.unwanted_margin:
            return (
                f"unwanted: more like {name!r} than any {class_word} is, by {value:.3f}, over {knobs.unwanted_margin:g}"
            )
    if measured.identity is not None and measured.identity < knobs.identity:
        return (
            f"stranger: {measured.identity:.2f} of the way from any {class_word} to the references of {token},"
            f" under {knobs.identity:g}"
        )
    if measured.prompt is not None and measured.prompt < knobs.prompt:
        return (
            f"disobedient: it obeys its prompt {measured.prompt:.2f} times as well as a {class_word} does, under"
            f" {knobs.prompt:g}"
        )
    return ""


def usual_distance(measured: Sequence[Measured]) -> float:
    """How far apart in CLIP's eyes pictures of one shot usually are: its own candidates say it."""
    pairs = [1 - float(one.seen @ other.seen) for one, other in combinations(measured, 2)]
    return float(np.median(pairs)) if pairs else ALIKE


def repeats(measured: Measured, taken: Sequence[Taken], usual: float, knobs: Gates) -> str:
    """Why a picture is too much like one that goes out already; nothing where it is not."""
    cut = knobs.duplicate_share * usual
    for each in taken:
        bits = 64 if each.likeness is None else (measured.likeness ^ each.likeness).bit_count()
        if bits <= knobs.duplicate_bits:
            return f"duplicate: of the picture of post {each.post}, the same pattern but for {bits} of 64 bits"
        if cut and each.seen is not None and (apart := 1 - float(measured.seen @ each.seen)) < cut:
            return f"duplicate: of the picture of post {each.post}, {apart:.4f} apart in CLIP's eyes, under {cut:.4f}"
    return ""


def praise(measured: Measured, token: str) -> str:
    """What speaks for a picture that passed."""
    who = "" if measured.identity is None else f"{measured.identity:.2f} like the references of {token}"
    what = "" if measured.prompt is None else f"{measured.prompt:.2f} as its prompt asks"
    return f"passed: {', '.join(filter(None, (who, what))) or 'nothing speaks against it'}"


def best_first(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that passed: by identity, and where that is nearly the same by prompt."""
    return sorted((each for each in candidates if each.passed), key=_rank)


def _rank(candidate: Candidate) -> tuple[float, float, int]:
    identity = min(candidate.scores.get("identity", 1.0), 1.0)
    return -round(identity / NEARLY), -candidate.scores.get("prompt", 0.0), candidate.number


def tally(candidates: Sequence[Candidate]) -> str:
    """How many were dropped for what, such as `5 not the character, 1 blurred`."""
    counts = Counter(each.reason.partition(":")[0] for each in candidates if not each.passed)
    return ", ".join(f"{count} {SAID.get(code, code)}" for code, count in counts.most_common())
