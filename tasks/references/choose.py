"""Choose the reference set, in three stages: gates, identity, diversity. Every candidate gets its reason.

Pure arithmetic on what `score` measured: the same candidates and settings give the same choice, and a person's word counts
before everything else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from models.picture import quality
from models.scoring import clusters
from models.scoring import statistics as choosing
from tasks.references.measurements import Scores, effective_size, identities, sharpness_cut
from tasks.references.reference_set import Candidate, Choice, Verdict
from tasks.settings.sections import References

MANY = 24
"""Of so many candidates, who they are is among the largest differences; of fewer, chance is."""


@dataclass
class _Book:
    """Notes on every candidate while the stages go over them; the first reason to drop one stays."""

    candidates: Sequence[Candidate]
    scores: Scores
    reasons: dict[int, tuple[str, str, str]] = field(default_factory=dict)
    """Candidate number → stage, code, reason."""
    numbers: dict[int, dict[str, float]] = field(default_factory=dict)
    cuts: dict[str, float] = field(default_factory=dict)
    kept_by_person: set[int] = field(default_factory=set)

    def drop(self, which: int, stage: str, code: str, reason: str) -> None:
        if which not in self.kept_by_person:
            self.reasons.setdefault(which, (stage, code, reason))

    def note(self, name: str, values: np.ndarray) -> None:
        for number, value in enumerate(values):
            self.numbers.setdefault(number, {})[name] = round(float(value), 4)

    @property
    def left(self) -> list[int]:
        return [number for number in range(len(self.candidates)) if number not in self.reasons]


def choose(
    candidates: Sequence[Candidate], scores: Scores, knobs: References, keep: int, overrules: Mapping[str, str]
) -> Choice:
    """A verdict on every candidate, and the `keep` best that belong together and differ in all but who they are."""
    assert scores.ids == tuple(candidate.id for candidate in candidates), "scores of other candidates"
    book = _Book(candidates, scores)
    _by_person(book, overrules)
    _by_pixels(book, knobs)
    _by_likeness(book, knobs)
    _by_repetition(book, knobs)
    if problem := _too_few(book, max(keep, knobs.cluster_least), knobs):
        return _verdicts(book, [], problem)
    likeness, problem = _by_identity(book, knobs, keep)
    if problem:
        return _verdicts(book, [], problem)
    order = _by_diversity(book, knobs, keep, likeness)
    short = (
        f"only {len(order)} of the {keep} references could be chosen: make more candidates" if len(order) < keep else ""
    )
    return _verdicts(book, order, short)


def _by_person(book: _Book, overrules: Mapping[str, str]) -> None:
    for number, candidate in enumerate(book.candidates):
        if overrules.get(candidate.id) == "drop":
            book.drop(number, "person", "person", "a person dropped it")
    book.kept_by_person = {n for n, each in enumerate(book.candidates) if overrules.get(each.id) == "keep"}


def _by_pixels(book: _Book, knobs: References) -> None:
    """Blank, over- or underexposed, blurred."""
    pixels = book.scores.pixels
    for name in ("spread", "sharpness"):
        book.note(name, pixels[name])
    sharp = sharpness_cut(book.scores, knobs)
    book.cuts |= {"spread": knobs.blank_spread, "sharpness": sharp}
    for number in range(len(book.candidates)):
        if pixels["spread"][number] < knobs.blank_spread:
            text = f"blank: brightness varies by {pixels['spread'][number]:.1f}, under {knobs.blank_spread:g}"
            book.drop(number, "gate", "blank", text)
        for name, word in (("bright", "overexposed"), ("dark", "underexposed")):
            if (share := pixels[name][number]) > knobs.exposure:
                what = "white" if name == "bright" else "black"
                book.drop(number, "gate", word, f"{word}: {share:.0%} of it is {what}, over {knobs.exposure:.0%}")
        if pixels["sharpness"][number] < sharp:
            text = f"blurred: sharpness {pixels['sharpness'][number]:.3f}, under the cut {sharp:.3f}"
            book.drop(number, "gate", "blurred", text)


def _by_likeness(book: _Book, knobs: References) -> None:
    """Not what was asked for, not the class at all, or more like something nobody wants. Cuts come from what is left."""
    left = book.left
    if not left:
        return
    for name, code, spread, floor, text in (
        (
            "subject",
            "kind",
            knobs.prompt_spread,
            knobs.prompt_floor,
            "another kind of thing: likeness to the class word",
        ),
        ("prompt", "prompt", knobs.prompt_spread, knobs.prompt_floor, "not what was asked for: likeness to its prompt"),
    ):
        values: np.ndarray = getattr(book.scores, name)
        book.note(name, values)
        book.cuts[name] = cut = choosing.cut(values[left], spread, floor)
        for number in left:
            if values[number] < cut:
                book.drop(number, "gate", code, f"{text} {values[number]:.3f}, under the cut {cut:.3f}")
    for concept, values in book.scores.unwanted.items():
        book.note(f"unwanted {concept}", values)
        # Words that the scorer hardly knows are near every picture: only what stands out from the set counts.
        cut = -choosing.cut(-values[left], knobs.prompt_spread, -np.inf)
        cut = max(cut, knobs.unwanted_margin)
        for number in left:
            if values[number] > cut:
                text = f"unwanted: more like {concept!r} than like the class word, by {values[number]:.3f}"
                book.drop(number, "gate", "unwanted", f"{text}, over the cut {cut:.3f}")


def _by_repetition(book: _Book, knobs: References) -> None:
    """The same picture again, by its pixels' pattern or by CLIP; the first one stays."""
    left = book.left
    hashes = [int(book.scores.hashes[number]) for number in left]
    for first, again in quality.near_duplicates(hashes, knobs.duplicate_bits):
        name = book.candidates[left[first]].short
        book.drop(left[again], "gate", "duplicate", f"duplicate of {name}: the same pattern of pixels")
    left = book.left
    vectors = book.scores.seen[left]
    for start in range(0, len(left), 512):
        near = vectors[start : start + 512] @ vectors[: start + 512].T
        for row, column in np.argwhere(np.tril(near, start - 1) > knobs.duplicate_likeness):
            again, first = left[start + int(row)], left[int(column)]
            if first not in book.reasons:
                text = f"duplicate of {book.candidates[first].short}: CLIP likeness {near[row, column]:.3f}"
                book.drop(again, "gate", "duplicate", text)


def _too_few(book: _Book, least: int, knobs: References) -> str:
    left = book.left
    if len(left) >= least:
        return ""
    counted = Counter(code for _, code, _ in book.reasons.values()).most_common()
    why = ", ".join(f"{count} {_WORDS.get(code, code)}" for code, count in counted)
    knob = _KNOBS.get(counted[0][0], "references.candidates") if counted else "references.candidates"
    return (
        f"only {len(left)} of {len(book.candidates)} candidates passed the gates and {least} are needed"
        f"{f' ({why})' if why else ''}: raise references.candidates or loosen {knob}"
    )


_WORDS = {"kind": "of another kind", "prompt": "not as asked for", "person": "dropped by a person"}
_KNOBS = {
    "blank": "references.blank_spread",
    "blurred": "references.blur_spread",
    "overexposed": "references.exposure",
    "underexposed": "references.exposure",
    "duplicate": "references.duplicate_bits",
    "kind": "references.prompt_spread",
    "prompt": "references.prompt_spread",
    "unwanted": "references.unwanted_margin",
}


def _by_identity(book: _Book, knobs: References, keep: int) -> tuple[np.ndarray, str]:
    """Keep those who are one and the same; says how alike each candidate is to them."""
    left = book.left
    plain = identities(book.scores, book.candidates, left)
    # Own pictures are one character already, more or less; generated ones are several, and have to be told apart.
    made = not any(book.candidates[number].source for number in left)
    several = made and knobs.identity == "cluster" and len(left) >= MANY
    vectors = choosing.main_directions(plain) if several else plain
    least = max(keep, knobs.cluster_least)
    if knobs.identity == "core":
        members = choosing.core(vectors, knobs.core_share, least)
        likeness = vectors @ _middle(vectors[members])
    else:
        found = clusters.cluster(vectors, least, knobs.identity_spread)
        if not len(found.members):
            return np.zeros(0), (
                f"the largest group of candidates that look like one character has {max(found.sizes, default=0)} pictures "
                f"and {least} are needed: say more of the character in the persona's subject, raise "
                "references.candidates, or lower references.cluster_least"
            )
        members, likeness = found.members, found.similarity
    everyone = np.full(len(book.candidates), np.nan)
    everyone[left] = likeness
    cohesion = choosing.mean_pairwise(plain[members])
    inside = set(np.asarray(members).tolist())
    book.cuts["identity"] = least_inside = float(min(likeness[list(inside)]))
    for place, number in enumerate(left):
        book.numbers.setdefault(number, {})["identity"] = round(float(likeness[place]), 4)
        if place not in inside:
            text = f"outside the most alike group: likeness to its middle {likeness[place]:.3f}, its least {least_inside:.3f}"
            if likeness[place] >= least_inside:
                text = (
                    f"nearer to another group than to the most alike one, whose middle it is {likeness[place]:.3f} like"
                )
            book.drop(number, "identity", "stranger", text)
    if cohesion < knobs.identity_floor:
        return everyone, (
            f"the most alike {len(inside)} candidates have a mean likeness of {cohesion:.3f}, under "
            f"references.identity_floor = {knobs.identity_floor:g}: say more of the character in the persona's prompt"
        )
    return everyone, ""


def _middle(vectors: np.ndarray) -> np.ndarray:
    middle = vectors.mean(0)
    return middle / max(float(np.linalg.norm(middle)), 1e-12)


def _by_diversity(book: _Book, knobs: References, keep: int, likeness: np.ndarray) -> list[int]:
    """Cover the matrix and stay apart; those a person kept come first."""
    left = book.left
    first = [number for number in left if number in book.kept_by_person][:keep]
    rest = [number for number in left if number not in first]
    order = list(first)
    if len(order) < keep and rest:
        pool = first + rest
        picked = choosing.diverse(
            book.scores.seen[pool], likeness[pool], _cells(book, pool), keep, knobs.balance, first=range(len(first))
        )
        order = [pool[place] for place in picked.items]
    for number in left:
        if number not in order:
            nearness = book.scores.seen[order] @ book.scores.seen[number]
            near = int(nearness.argmax())
            text = f"not needed: {book.candidates[order[near]].short} of the set shows much the same ({nearness[near]:.2f})"
            book.drop(number, "diversity", "redundant", text)
    return order


def _cells(book: _Book, pool: Sequence[int]) -> dict[str, list[str]]:
    """What each of the pool shows on the axes of the matrix: as it was asked for, or as CLIP sees it."""
    found = {}
    for axis, phrases in book.scores.phrases.items():
        asked = [book.candidates[number].cell.get(axis, "") for number in pool]
        if any(asked):
            found[axis] = asked
        elif axis != "accessory" and not any(book.candidates[number].cell for number in pool):
            found[axis] = [phrases[int(book.scores.shows[axis][number])] for number in pool]
    return found


def _verdicts(book: _Book, order: Sequence[int], problem: str) -> Choice:
    verdicts = []
    for number, candidate in enumerate(book.candidates):
        scores = book.numbers.get(number, {})
        if number in book.reasons:
            stage, code, reason = book.reasons[number]
            verdicts.append(Verdict(candidate, "dropped", stage, reason, code, scores))
        elif number in order:
            who = (
                "a person kept it"
                if number in book.kept_by_person
                else f"number {list(order).index(number) + 1} of the set"
            )
            verdicts.append(Verdict(candidate, "chosen", "diversity", who, "chosen", scores))
        else:
            verdicts.append(
                Verdict(candidate, "dropped", "", "not reached: an earlier stage failed", "undecided", scores)
            )
    figures = {}
    if len(order) > 1:
        passed = [
            n for n in range(len(book.candidates)) if book.reasons.get(n, ("", "", ""))[0] not in ("gate", "person")
        ]
        figures = {
            "cohesion": choosing.mean_pairwise(identities(book.scores, book.candidates, list(order))),
            "distance": 1 - choosing.mean_pairwise(identities(book.scores, book.candidates, passed)),
            "effective size": effective_size(book.scores, order),
        }
    figures = {name: round(float(value), 4) for name, value in figures.items()}
    ids = [book.candidates[number].id for number in order]
    return Choice(verdicts, ids, {k: round(float(v), 4) for k, v in book.cuts.items()}, (), figures, problem)
