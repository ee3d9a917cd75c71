"""Find what the token would learn from this set besides the character: whatever repeats in every picture.

Each finding names its consequence and the shots whose absence causes it.
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
from tasks.references.measurements import Scores, effective_size, identity_vectors, sharpness_cut
from tasks.references.reference_set import Finding, ReferenceCandidate, ReferenceChoice
from tasks.settings.sections import ReferenceSettings

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


def list_findings(
    candidates: Sequence[ReferenceCandidate],
    scores: Scores,
    choice: ReferenceChoice,
    persona: Persona,
    settings: ReferenceSettings,
    side: int,
) -> list[Finding]:
    """List all findings about the chosen set."""
    row_of = {picture_id: number for number, picture_id in enumerate(scores.ids)}
    rows = [row_of[picture_id] for picture_id in choice.order]
    if not rows:
        return []
    findings = [
        *_check_repeated_phrases(scores, rows, candidates, persona, settings),
        *_check_duplicates(scores, rows, candidates, settings),
    ]
    findings += [
        *_check_effective_size(scores, rows, candidates, persona, settings),
        *_check_outliers(scores, rows, candidates, settings),
    ]
    return [*findings, *_check_pixels(scores, rows, candidates, settings, side)]


def with_findings(
    choice: ReferenceChoice,
    candidates: Sequence[ReferenceCandidate],
    scores: Scores,
    persona: Persona,
    settings: ReferenceSettings,
    side: int,
) -> ReferenceChoice:
    """Return the choice with its findings."""
    return dataclasses.replace(choice, findings=list_findings(candidates, scores, choice, persona, settings, side))


def _check_repeated_phrases(
    scores: Scores,
    rows: Sequence[int],
    candidates: Sequence[ReferenceCandidate],
    persona: Persona,
    settings: ReferenceSettings,
) -> list[Finding]:
    """Find a background, framing, expression or accessory that is in too many of the pictures."""
    findings = []
    for axis, phrases in scores.phrases.items():
        values = [phrases[int(scores.shows[axis][number])] for number in rows]
        value, count = Counter(values).most_common(1)[0]
        fair = max(settings.lint_share, 1 / len(phrases))
        if not value or count < 2 or count / len(rows) <= fair:
            continue
        message = f"{count} of {len(rows)} pictures show {value!r} ({axis})"
        consequence = CONSEQUENCES.get(axis, "it will be learned as part of the word")
        findings.append(Finding(axis, message, consequence, _balancing_cells(persona, axis, values, candidates, rows)))
    return findings


def _balancing_cells(
    persona: Persona,
    axis: str,
    values_shown: Sequence[str],
    candidates: Sequence[ReferenceCandidate],
    rows: Sequence[int],
) -> list[dict[str, str]]:
    """List cells that would balance the axis: its rarest phrases, with the rarest phrases of the other axes."""
    matrix = {name: list(values) for name, values in persona.references.matrix.used_axes().items() if values}
    if axis not in matrix:
        return []
    counts: dict[str, Counter[str]] = {name: Counter(candidates[n].cell.get(name, "") for n in rows) for name in matrix}
    counts[axis] = Counter(values_shown)
    fewest = min(counts[axis][value] for value in matrix[axis])
    rare = [value for value in matrix[axis] if counts[axis][value] == fewest]
    cells = []
    for index, value in enumerate(rare[:3]):
        cell = {axis: value}
        for name in matrix:
            if name != axis:
                order = sorted(matrix[name], key=lambda v, name=name: (counts[name][v], matrix[name].index(v)))  # type: ignore[misc]
                cell[name] = order[index % len(order)]
        cells.append({name: cell[name] for name in matrix})
    return cells


def _check_duplicates(
    scores: Scores, rows: Sequence[int], candidates: Sequence[ReferenceCandidate], settings: ReferenceSettings
) -> list[Finding]:
    """Find duplicates among the chosen; only a person can have kept them, as the gates drop duplicates."""
    pairs = set(quality.near_duplicates([int(scores.hashes[n]) for n in rows], settings.duplicate_bits))
    likeness = scores.seen[list(rows)] @ scores.seen[list(rows)].T
    for i, j in itertools.combinations(range(len(rows)), 2):
        if likeness[i, j] > settings.duplicate_likeness:
            pairs.add((i, j))
    return [
        Finding(
            "duplicate",
            f"{candidates[rows[j]].short_id} repeats {candidates[rows[i]].short_id}",
            "what both show will be learned twice as strongly, the background included",
        )
        for i, j in sorted(pairs)
    ]


def _check_effective_size(
    scores: Scores,
    rows: Sequence[int],
    candidates: Sequence[ReferenceCandidate],
    persona: Persona,
    settings: ReferenceSettings,
) -> list[Finding]:
    """Find whether the pictures are worth much fewer different ones."""
    size = effective_size(scores, rows)
    if len(rows) < 3 or size / len(rows) >= settings.effective_share:
        return []
    message = f"{len(rows)} pictures are worth only {size:.1f} different ones"
    return [Finding("sameness", message, "the token will repeat these pictures instead of learning the character")]


def _check_outliers(
    scores: Scores, rows: Sequence[int], candidates: Sequence[ReferenceCandidate], settings: ReferenceSettings
) -> list[Finding]:
    """Find members of the set that look like another character, such as one that a person kept."""
    if len(rows) < 4:
        return []
    vectors = identity_vectors(scores, candidates, rows)
    total = vectors.sum(0)
    likeness = np.array([float(v @ (total - v)) / (len(rows) - 1) for v in vectors])
    # In a small, uniform set the deviation is almost zero, so an outlier must also be twice as far away as the median.
    cut = min(choosing.outlier_cut(likeness, settings.outlier_spread, -1.0), 1 - 2 * float(np.median(1 - likeness)))
    return [
        Finding(
            "outlier",
            f"{candidates[rows[n]].short_id} looks less like the others ({likeness[n]:.3f}, cut {cut:.3f})",
            "the token will waver between two characters: look at it, and drop it if it is somebody else",
        )
        for n in range(len(rows))
        if likeness[n] < cut
    ]


def _check_pixels(
    scores: Scores,
    rows: Sequence[int],
    candidates: Sequence[ReferenceCandidate],
    settings: ReferenceSettings,
    side: int,
) -> list[Finding]:
    """Find pictures of the user's own that are too small, and blurred ones that a person kept."""
    findings = []
    small = [n for n in rows if candidates[n].upscaled]
    if small:
        names = ", ".join(candidates[n].source or candidates[n].short_id for n in small[:5])
        message = f"{len(small)} of {len(rows)} pictures are smaller than the model's {side} pixels ({names})"
        findings.append(Finding("resolution", message, "the token will learn their softness: use larger ones"))
    cut = sharpness_cut(scores, settings)
    blurred = [n for n in rows if scores.pixels["sharpness"][n] < cut]
    if blurred:
        names = ", ".join(candidates[n].short_id for n in blurred)
        findings.append(Finding("blur", f"blurred: {names}", "the token will learn the blur as a style"))
    return findings


def missing_shots(findings: Sequence[Finding]) -> list[Mapping[str, str]]:
    """List the cells that the findings ask for, each once."""
    cells: list[Mapping[str, str]] = []
    for finding in findings:
        cells += [cell for cell in finding.missing if cell not in cells]
    return cells
