"""What would the token learn from this set besides the character? What repeats in every picture becomes part of the word.

Each finding says what it would do, and names the shots whose absence causes it.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from models.picture import quality
from models.scoring import statistics as choosing
from tasks.persona.persona import Persona
from tasks.references.measurements import Scores, effective_size, identities, sharpness_cut
from tasks.references.reference_set import Candidate, Choice, Finding
from tasks.settings.sections import References

CONSEQUENCES = {
    "background": "the token will bring that background along, whatever a prompt asks for",
    "framing": "the token will insist on that framing, and other views of the character will be guessed",
    "angle": "the token will know the character from that side only",
    "expression": "the expression will be learned as part of the face",
    "clothing": "the clothing will be learned as part of the body",
    "accessory": "the accessory will be learned as part of the character",
    "light": "the light will be learned as part of the colours",
    "pose": "the pose will be learned as part of the body",
}


def lint(
    candidates: Sequence[Candidate], scores: Scores, choice: Choice, persona: Persona, knobs: References, side: int
) -> list[Finding]:
    """Everything worth saying about the chosen set."""
    place = {each: number for number, each in enumerate(scores.ids)}
    chosen = [place[each] for each in choice.order]
    if not chosen:
        return []
    found = [*_shares(scores, chosen, candidates, persona, knobs), *_repeats(scores, chosen, candidates, knobs)]
    found += [*_sameness(scores, chosen, candidates, persona, knobs), *_outliers(scores, chosen, candidates, knobs)]
    return [*found, *_pixels(scores, chosen, candidates, knobs, side)]


def with_findings(
    choice: Choice,
    candidates: Sequence[Candidate],
    scores: Scores,
    persona: Persona,
    knobs: References,
    side: int,
) -> Choice:
    """The choice with what the lint says of it."""
    return dataclasses.replace(choice, findings=lint(candidates, scores, choice, persona, knobs, side))


def _shares(
    scores: Scores, chosen: Sequence[int], candidates: Sequence[Candidate], persona: Persona, knobs: References
) -> list[Finding]:
    """One background, framing, expression or accessory in too many of the pictures."""
    found = []
    for axis, phrases in scores.phrases.items():
        values = [phrases[int(scores.shows[axis][number])] for number in chosen]
        value, count = Counter(values).most_common(1)[0]
        fair = max(knobs.lint_share, 1 / len(phrases))
        if not value or count < 2 or count / len(chosen) <= fair:
            continue
        what = f"{count} of {len(chosen)} pictures show {value!r} ({axis})"
        consequence = CONSEQUENCES.get(axis, "it will be learned as part of the word")
        found.append(Finding(axis, what, consequence, _missing(persona, axis, values, candidates, chosen)))
    return found


def _missing(
    persona: Persona, axis: str, seen: Sequence[str], candidates: Sequence[Candidate], chosen: Sequence[int]
) -> list[dict[str, str]]:
    """Cells that would balance the axis: its rarest phrases, with the rarest of everything else."""
    matrix = {name: list(values) for name, values in persona.references.matrix.axes().items() if values}
    if axis not in matrix:
        return []
    counts: dict[str, Counter[str]] = {
        name: Counter(candidates[n].cell.get(name, "") for n in chosen) for name in matrix
    }
    counts[axis] = Counter(seen)
    fewest = min(counts[axis][value] for value in matrix[axis])
    rare = [value for value in matrix[axis] if counts[axis][value] == fewest]
    cells = []
    for turn, value in enumerate(rare[:3]):
        cell = {axis: value}
        for name in matrix:
            if name != axis:
                order = sorted(matrix[name], key=lambda v, name=name: (counts[name][v], matrix[name].index(v)))  # type: ignore[misc]
                cell[name] = order[turn % len(order)]
        cells.append({name: cell[name] for name in matrix})
    return cells


def _repeats(
    scores: Scores, chosen: Sequence[int], candidates: Sequence[Candidate], knobs: References
) -> list[Finding]:
    """Only possible where a person insisted: the gates drop duplicates."""
    pairs = set(quality.near_duplicates([int(scores.hashes[n]) for n in chosen], knobs.duplicate_bits))
    likeness = scores.seen[list(chosen)] @ scores.seen[list(chosen)].T
    for i, j in itertools.combinations(range(len(chosen)), 2):
        if likeness[i, j] > knobs.duplicate_likeness:
            pairs.add((i, j))
    return [
        Finding(
            "duplicate",
            f"{candidates[chosen[j]].short} repeats {candidates[chosen[i]].short}",
            "what both show will be learned twice as strongly, the background included",
        )
        for i, j in sorted(pairs)
    ]


def _sameness(
    scores: Scores, chosen: Sequence[int], candidates: Sequence[Candidate], persona: Persona, knobs: References
) -> list[Finding]:
    """Pictures that say the same thing count as fewer."""
    size = effective_size(scores, chosen)
    if len(chosen) < 3 or size / len(chosen) >= knobs.effective_share:
        return []
    what = f"{len(chosen)} pictures are worth only {size:.1f} different ones"
    return [Finding("sameness", what, "the token will repeat these pictures instead of learning the character")]


def _outliers(
    scores: Scores, chosen: Sequence[int], candidates: Sequence[Candidate], knobs: References
) -> list[Finding]:
    """Members of the set that look like somebody else, such as one that a person kept."""
    if len(chosen) < 4:
        return []
    vectors = identities(scores, candidates, chosen)
    total = vectors.sum(0)
    likeness = np.array([float(v @ (total - v)) / (len(chosen) - 1) for v in vectors])
    # Among a few that are all alike the deviation is next to nothing: an outlier must also be twice as far off as usual.
    cut = min(choosing.cut(likeness, knobs.outlier_spread, -1.0), 1 - 2 * float(np.median(1 - likeness)))
    return [
        Finding(
            "outlier",
            f"{candidates[chosen[n]].short} looks less like the others ({likeness[n]:.3f}, cut {cut:.3f})",
            "the token will waver between two characters: look at it, and drop it if it is somebody else",
        )
        for n in range(len(chosen))
        if likeness[n] < cut
    ]


def _pixels(
    scores: Scores, chosen: Sequence[int], candidates: Sequence[Candidate], knobs: References, side: int
) -> list[Finding]:
    """Pictures of one's own may be too small; a kept one may be blurred."""
    found = []
    small = [n for n in chosen if candidates[n].upscaled]
    if small:
        names = ", ".join(candidates[n].source or candidates[n].short for n in small[:5])
        what = f"{len(small)} of {len(chosen)} pictures are smaller than the model's {side} pixels ({names})"
        found.append(Finding("resolution", what, "the token will learn their softness: use larger ones"))
    cut = sharpness_cut(scores, knobs)
    blurred = [n for n in chosen if scores.pixels["sharpness"][n] < cut]
    if blurred:
        names = ", ".join(candidates[n].short for n in blurred)
        found.append(Finding("blur", f"blurred: {names}", "the token will learn the blur as a style"))
    return found


def wanted(findings: Sequence[Finding]) -> list[Mapping[str, str]]:
    """The cells that the findings ask for, each once."""
    cells: list[Mapping[str, str]] = []
    for finding in findings:
        cells += [cell for cell in finding.missing if cell not in cells]
    return cells
