"""Choose the reference set, in three stages: gates, identity, diversity. Every candidate gets its reason.

Only arithmetic on what `measure_candidates` wrote: the same candidates and settings give the same choice. Decisions of a
person come first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from models.picture import quality
from models.scoring import clusters
from models.scoring import statistics as choosing
from tasks.references.gates import GATES, LIKENESS_GATES, PIXEL_GATES, ReferenceGate
from tasks.references.measurements import Scores, effective_size, identity_vectors
from tasks.references.reference_set import ReferenceCandidate, ReferenceChoice, Verdict
from tasks.settings.sections import ReferenceSettings

MIN_FOR_MAIN_DIRECTIONS = 24
"""With this many candidates, identity is among the largest differences between them; with fewer, chance may be."""


@dataclass
class _Decisions:
    """Collects the scores and reasons of every candidate, stage by stage; the first reason to drop a candidate stays."""

    candidates: Sequence[ReferenceCandidate]
    scores: Scores
    reasons: dict[int, tuple[str, str, str]] = field(default_factory=dict)
    """Candidate number → stage, code, reason."""
    numbers: dict[int, dict[str, float]] = field(default_factory=dict)
    cuts: dict[str, float] = field(default_factory=dict)
    kept_by_person: set[int] = field(default_factory=set)

    def drop_candidate(self, number: int, stage: str, code: str, reason: str) -> None:
        if number not in self.kept_by_person:
            self.reasons.setdefault(number, (stage, code, reason))

    def note_scores(self, name: str, values: np.ndarray) -> None:
        for number, value in enumerate(values):
            self.numbers.setdefault(number, {})[name] = round(float(value), 4)

    @property
    def remaining_numbers(self) -> list[int]:
        return [number for number in range(len(self.candidates)) if number not in self.reasons]


def choose_reference_set(
    candidates: Sequence[ReferenceCandidate],
    scores: Scores,
    settings: ReferenceSettings,
    keep: int,
    overrules: Mapping[str, str],
) -> ReferenceChoice:
    """Choose the `keep` best candidates that show one character and differ in everything else; give every candidate a verdict."""
    assert scores.ids == tuple(candidate.id for candidate in candidates), "scores of other candidates"
    decisions = _Decisions(candidates, scores)
    _apply_manual_decisions(decisions, overrules)
    _drop_bad_pixels(decisions, settings)
    _drop_unlike(decisions, settings)
    _drop_duplicates(decisions, settings)
    if problem := _too_few_reason(decisions, max(keep, settings.cluster_least), settings):
        return _build_choice(decisions, [], problem)
    likeness, problem = _keep_one_character(decisions, settings, keep)
    if problem:
        return _build_choice(decisions, [], problem)
    order = _choose_diverse(decisions, settings, keep, likeness)
    short = (
        f"only {len(order)} of the {keep} references could be chosen: make more candidates" if len(order) < keep else ""
    )
    return _build_choice(decisions, order, short)


def _apply_manual_decisions(decisions: _Decisions, overrules: Mapping[str, str]) -> None:
    for number, candidate in enumerate(decisions.candidates):
        if overrules.get(candidate.id) == "drop":
            decisions.drop_candidate(number, "person", "person", "a person dropped it")
    decisions.kept_by_person = {
        n for n, candidate in enumerate(decisions.candidates) if overrules.get(candidate.id) == "keep"
    }


def _drop_bad_pixels(decisions: _Decisions, settings: ReferenceSettings) -> None:
    """Drop candidates that are blank, over- or underexposed, or blurred."""
    everyone = list(range(len(decisions.candidates)))
    checks = [check for gate in PIXEL_GATES for check in _prepare_checks(decisions, gate, everyone, settings)]
    for number in everyone:
        for check in checks:
            _drop_if_rejected(decisions, number, *check)


def _drop_unlike(decisions: _Decisions, settings: ReferenceSettings) -> None:
    """Drop candidates unlike their prompt or the class word, or too like an unwanted concept.

    The cuts are computed from the candidates that remain.
    """
    remaining = decisions.remaining_numbers
    if not remaining:
        return
    for gate in LIKENESS_GATES:
        for check in _prepare_checks(decisions, gate, remaining, settings):
            for number in remaining:
                _drop_if_rejected(decisions, number, *check)


def _prepare_checks(
    decisions: _Decisions, gate: ReferenceGate, numbers: Sequence[int], settings: ReferenceSettings
) -> list[tuple[ReferenceGate, str, np.ndarray, float]]:
    """Return gate, name, values and limit for each of the gate's values; note scores and cuts for the report."""
    checks = []
    for name, values in gate.measure(decisions.scores).items():
        limit = gate.limit(values[list(numbers)], decisions.scores, settings)
        if gate.has_scores:
            decisions.note_scores(name, values)
        if gate.has_cut:
            decisions.cuts[name] = limit
        checks.append((gate, name, values, limit))
    return checks


def _drop_if_rejected(
    decisions: _Decisions, number: int, gate: ReferenceGate, name: str, values: np.ndarray, limit: float
) -> None:
    verdict = gate.compare(values[number], limit, concept=name.removeprefix("unwanted "))
    if not verdict.passed:
        decisions.drop_candidate(number, "gate", verdict.gate, verdict.sentence)


def _drop_duplicates(decisions: _Decisions, settings: ReferenceSettings) -> None:
    """Drop repeated pictures, by the pattern of their pixels or by CLIP; the first one stays."""
    remaining = decisions.remaining_numbers
    hashes = [int(decisions.scores.hashes[number]) for number in remaining]
    for first, again in quality.near_duplicates(hashes, settings.duplicate_bits):
        name = decisions.candidates[remaining[first]].short_id
        decisions.drop_candidate(
            remaining[again], "gate", "duplicate", f"duplicate of {name}: the same pattern of pixels"
        )
    remaining = decisions.remaining_numbers
    vectors = decisions.scores.seen[remaining]
    for start in range(0, len(remaining), 512):
        near = vectors[start : start + 512] @ vectors[: start + 512].T
        for row, column in np.argwhere(np.tril(near, start - 1) > settings.duplicate_likeness):
            again, first = remaining[start + int(row)], remaining[int(column)]
            if first not in decisions.reasons:
                text = f"duplicate of {decisions.candidates[first].short_id}: CLIP likeness {near[row, column]:.3f}"
                decisions.drop_candidate(again, "gate", "duplicate", text)


def _too_few_reason(decisions: _Decisions, least: int, settings: ReferenceSettings) -> str:
    remaining = decisions.remaining_numbers
    if len(remaining) >= least:
        return ""
    counted = Counter(code for _, code, _ in decisions.reasons.values()).most_common()
    counts_text = ", ".join(f"{count} {_PHRASE_OF_CODE.get(code, code)}" for code, count in counted)
    setting = _SETTING_OF_CODE.get(counted[0][0], "references.candidates") if counted else "references.candidates"
    return (
        f"only {len(remaining)} of {len(decisions.candidates)} candidates passed the gates and {least} are needed"
        f"{f' ({counts_text})' if counts_text else ''}: raise references.candidates or loosen {setting}"
    )


_PHRASE_OF_CODE = {gate.code: gate.phrase or gate.label for gate in GATES} | {"person": "dropped by a person"}
_SETTING_OF_CODE = {gate.code: gate.setting for gate in GATES} | {"duplicate": "references.duplicate_bits"}


def _keep_one_character(decisions: _Decisions, settings: ReferenceSettings, keep: int) -> tuple[np.ndarray, str]:
    """Keep the candidates that show one character; return each candidate's likeness to them, and the problem if any."""
    remaining = decisions.remaining_numbers
    plain = identity_vectors(decisions.scores, decisions.candidates, remaining)
    # A user's own pictures mostly show one character already; generated ones show several, which must be separated.
    is_generated = not any(decisions.candidates[number].source for number in remaining)
    is_mixed = is_generated and settings.identity == "cluster" and len(remaining) >= MIN_FOR_MAIN_DIRECTIONS
    vectors = choosing.main_directions(plain) if is_mixed else plain
    least = max(keep, settings.cluster_least)
    if settings.identity == "core":
        members = choosing.central_members(vectors, settings.core_share, least)
        likeness = vectors @ _mean_direction(vectors[members])
    else:
        grouping = clusters.find_cluster(vectors, least, settings.identity_spread)
        if not len(grouping.members):
            return np.zeros(0), (
                f"the largest group of candidates that look like one character has {max(grouping.sizes, default=0)} pictures "
                f"and {least} are needed: say more of the character in the persona's subject, raise "
                "references.candidates, or lower references.cluster_least"
            )
        members, likeness = grouping.members, grouping.similarity
    everyone = np.full(len(decisions.candidates), np.nan)
    everyone[remaining] = likeness
    cohesion = choosing.mean_pairwise(plain[members])
    inside = set(np.asarray(members).tolist())
    decisions.cuts["identity"] = least_inside = float(min(likeness[list(inside)]))
    for position, number in enumerate(remaining):
        decisions.numbers.setdefault(number, {})["identity"] = round(float(likeness[position]), 4)
        if position not in inside:
            text = f"outside the most alike group: likeness to its middle {likeness[position]:.3f}, its least {least_inside:.3f}"
            if likeness[position] >= least_inside:
                text = f"nearer to another group than to the most alike one, whose middle it is {likeness[position]:.3f} like"
            decisions.drop_candidate(number, "identity", "stranger", text)
    if cohesion < settings.identity_floor:
        return everyone, (
            f"the most alike {len(inside)} candidates have a mean likeness of {cohesion:.3f}, under "
            f"references.identity_floor = {settings.identity_floor:g}: say more of the character in the persona's prompt"
        )
    return everyone, ""


def _mean_direction(vectors: np.ndarray) -> np.ndarray:
    middle = vectors.mean(0)
    return middle / max(float(np.linalg.norm(middle)), 1e-12)


def _choose_diverse(decisions: _Decisions, settings: ReferenceSettings, keep: int, likeness: np.ndarray) -> list[int]:
    """Choose candidates that cover the matrix and differ from each other; those that a person kept come first."""
    remaining = decisions.remaining_numbers
    first = [number for number in remaining if number in decisions.kept_by_person][:keep]
    rest = [number for number in remaining if number not in first]
    order = list(first)
    if len(order) < keep and rest:
        pool = first + rest
        picked = choosing.choose_diverse(
            decisions.scores.seen[pool],
            likeness[pool],
            _phrases_by_axis(decisions, pool),
            keep,
            settings.balance,
            first=range(len(first)),
        )
        order = [pool[position] for position in picked.items]
    for number in remaining:
        if number not in order:
            nearness = decisions.scores.seen[order] @ decisions.scores.seen[number]
            near = int(nearness.argmax())
            name = decisions.candidates[order[near]].short_id
            text = f"not needed: {name} of the set shows much the same ({nearness[near]:.2f})"
            decisions.drop_candidate(number, "diversity", "redundant", text)
    return order


def _phrases_by_axis(decisions: _Decisions, pool: Sequence[int]) -> dict[str, list[str]]:
    """Return the phrase of each pooled candidate on every axis: the requested one, or the one that CLIP finds nearest."""
    by_axis = {}
    for axis, phrases in decisions.scores.phrases.items():
        requested = [decisions.candidates[number].cell.get(axis, "") for number in pool]
        if any(requested):
            by_axis[axis] = requested
        elif axis != "accessory" and not any(decisions.candidates[number].cell for number in pool):
            by_axis[axis] = [phrases[int(decisions.scores.shows[axis][number])] for number in pool]
    return by_axis


def _build_choice(decisions: _Decisions, order: Sequence[int], problem: str) -> ReferenceChoice:
    verdicts = []
    for number, candidate in enumerate(decisions.candidates):
        scores = decisions.numbers.get(number, {})
        if number in decisions.reasons:
            stage, code, reason = decisions.reasons[number]
            verdicts.append(Verdict(candidate, "dropped", stage, reason, code, scores))
        elif number in order:
            note = (
                "a person kept it"
                if number in decisions.kept_by_person
                else f"number {list(order).index(number) + 1} of the set"
            )
            verdicts.append(Verdict(candidate, "chosen", "diversity", note, "chosen", scores))
        else:
            verdicts.append(
                Verdict(candidate, "dropped", "", "not reached: an earlier stage failed", "undecided", scores)
            )
    figures = {}
    if len(order) > 1:
        passed = [
            n
            for n in range(len(decisions.candidates))
            if decisions.reasons.get(n, ("", "", ""))[0] not in ("gate", "person")
        ]
        figures = {
            "cohesion": choosing.mean_pairwise(identity_vectors(decisions.scores, decisions.candidates, list(order))),
            "distance": 1 - choosing.mean_pairwise(identity_vectors(decisions.scores, decisions.candidates, passed)),
            "effective size": effective_size(decisions.scores, order),
        }
    figures = {name: round(float(value), 4) for name, value in figures.items()}
    ids = [decisions.candidates[number].id for number in order]
    return ReferenceChoice(
        verdicts, ids, {k: round(float(v), 4) for k, v in decisions.cuts.items()}, (), figures, problem
    )
