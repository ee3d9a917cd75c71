"""The choice: one test a reason, and what must hold for all of them."""

import dataclasses
import re
from collections import Counter

import numpy as np
import pytest

from models.scoring import statistics as choosing
from tasks.references.choose import choose_reference_set
from tasks.references.measurements import MIN_EXPLAINED_SHARE, Scores, identity_vectors
from tasks.references.reference_set import ReferenceChoice, Verdict
from tasks.settings.sections import ReferenceSettings
from tests.support.measured import BACKGROUNDS, but, candidates, measured, unit

COUNT = 40


def chosen(
    scores: Scores, keep: int = 5, overrules: dict[str, str] | None = None, cells: bool = True, **knobs: object
) -> ReferenceChoice:
    everyone = candidates(len(scores.ids), cells)
    return choose_reference_set(everyone, scores, ReferenceSettings(**knobs), keep, overrules or {})


def verdict(choice: ReferenceChoice, place: int) -> Verdict:
    return choice.verdicts[place]


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        ((("spread", 7, 2.0), "pixels"), "blank", "blank: brightness varies by 2.0, under 8"),
        ((("bright", 7, 0.9), "pixels"), "overexposed", "overexposed: 90% of it is white, over 60%"),
        ((("dark", 7, 0.8), "pixels"), "underexposed", "underexposed: 80% of it is black, over 60%"),
        ((("sharpness", 7, 0.01), "pixels"), "blurred", r"blurred: sharpness 0.010, under the cut 0\.\d+"),
        ((("subject", 7, 0.05), ""), "kind", "another kind of thing: likeness to the class word 0.050, under the cut"),
        ((("prompt", 7, 0.12), ""), "prompt", "not what was asked for: likeness to its prompt 0.120, under the cut"),
        ((("text", 7, 0.2), "unwanted"), "unwanted", "unwanted: more like 'text' than like the class word, by 0.200"),
    ],
)
def test_a_fault_is_dropped_for_what_it_is(change: tuple, code: str, reason: str) -> None:
    (name, place, value), part = change
    clean = verdict(chosen(measured(COUNT)), place)
    assert clean.stage in ("diversity", "identity")
    found = verdict(chosen(but(measured(COUNT), name, place, value, part)), place)
    assert (found.status, found.stage, found.code) == ("dropped", "gate", code)
    assert re.match(reason, found.reason)


def test_the_same_pattern_of_pixels_is_a_duplicate_of_the_first() -> None:
    scores = measured(COUNT)
    scores = but(scores, "hashes", 9, int(scores.hashes[4]) ^ 0b11)
    found = verdict(chosen(scores), 9)
    assert (found.code, found.reason) == ("duplicate", "duplicate of 00040000: the same pattern of pixels")
    assert verdict(chosen(scores), 4).code != "duplicate"


def test_what_clip_cannot_tell_apart_is_a_duplicate() -> None:
    scores = measured(COUNT)
    scores = but(scores, "seen", 30, unit(scores.seen[2] + 0.02))
    found = verdict(chosen(scores), 30)
    assert found.code == "duplicate"
    assert found.reason.startswith("duplicate of 00020000: CLIP likeness 0.99")


@pytest.mark.parametrize("method", ["cluster", "core"])
def test_a_stranger_is_dropped_by_identity(method: str) -> None:
    identities = [0] * COUNT
    identities[11] = 3
    choice = chosen(measured(COUNT, identities=identities), identity=method, core_share=0.8)
    found = verdict(choice, 11)
    assert (found.status, found.stage, found.code) == ("dropped", "identity", "stranger")
    assert found.reason.startswith("outside the most alike group: likeness to its middle")
    assert found.scores["identity"] < min(each.scores["identity"] for each in choice.chosen)


def test_one_character_is_chosen_out_of_many() -> None:
    identities = [0] * 14 + [1, 2, 3, 4, 5, 6] * 5
    order = np.random.default_rng(3).permutation(len(identities))
    mixed = [identities[n] for n in order]
    choice = chosen(measured(len(mixed), seed=2, identities=mixed))
    places = {verdict.candidate.id: place for place, verdict in enumerate(choice.verdicts)}
    assert {mixed[places[each]] for each in choice.order} == {0}


def test_the_chosen_cover_the_matrix() -> None:
    choice = chosen(measured(COUNT), keep=8, identity="core", core_share=1.0)
    shown = Counter(each.candidate.cell["background"] for each in choice.chosen)
    assert set(shown) == set(BACKGROUNDS)
    assert max(shown.values()) == 2
    assert Counter(each.candidate.cell["framing"] for each in choice.chosen).most_common(1)[0][1] == 4


def test_pictures_without_cells_are_spread_by_what_they_show() -> None:
    choice = chosen(measured(COUNT), keep=4, cells=False)
    places = {verdict.candidate.id: place for place, verdict in enumerate(choice.verdicts)}
    assert len({places[each] // 2 % 4 for each in choice.order}) == 4


def test_every_candidate_has_a_verdict_a_reason_and_scores() -> None:
    choice = chosen(measured(COUNT))
    assert [each.candidate for each in choice.verdicts] == candidates(COUNT)
    assert all(each.reason and each.code and "prompt" in each.scores for each in choice.verdicts)
    assert {each.status for each in choice.verdicts} == {"chosen", "dropped"}
    assert len(choice.order) == len(choice.chosen) == 5


def test_the_same_candidates_give_the_same_choice() -> None:
    assert chosen(measured(COUNT)) == chosen(measured(COUNT))


def test_a_person_decides_before_everything_else() -> None:
    scores = but(measured(COUNT), "sharpness", 7, 0.01, "pixels")
    first = chosen(scores)
    rules = {verdict(first, 7).candidate.id: "keep", first.order[0]: "drop"}
    choice = chosen(scores, overrules=rules)
    assert verdict(choice, 7).status == "chosen"
    assert verdict(choice, 7).reason == "a person kept it"
    dropped = next(each for each in choice.verdicts if each.candidate.id == first.order[0])
    assert (dropped.stage, dropped.reason) == ("person", "a person dropped it")
    assert len(choice.order) == 5


def test_too_few_survivors_say_why_and_what_to_change() -> None:
    scores = measured(12)
    for place in range(7):
        scores = but(scores, "spread", place, 1.0, "pixels")
    choice = chosen(scores)
    assert choice.order == []
    assert choice.problem == (
        "only 5 of 12 candidates passed the gates and 6 are needed (7 blank): raise references.candidates or loosen "
        "references.blank_spread"
    )
    assert Counter(each.code for each in choice.verdicts) == {"blank": 7, "undecided": 5}


def test_a_cluster_that_is_too_small_is_no_character() -> None:
    identities = [n // 4 % 2 for n in range(COUNT)]
    choice = chosen(measured(COUNT, identities=identities), cluster_least=30, identity_spread=1)
    assert choice.order == []
    assert re.match(
        r"the largest group of candidates that look like one character has \d+ pictures and 30 are needed",
        choice.problem,
    )


def test_a_group_that_is_not_alike_enough_is_no_character() -> None:
    choice = chosen(measured(COUNT), identity_floor=0.999)
    assert "under references.identity_floor = 0.999" in choice.problem
    assert choice.order == []


def test_cuts_are_relative_to_the_set() -> None:
    scores = measured(COUNT)
    darker = dataclasses.replace(scores, prompt=scores.prompt - 0.3)
    assert Counter(each.code for each in chosen(scores).verdicts) == Counter(
        each.code for each in chosen(darker).verdicts
    )
    floor = chosen(darker, prompt_floor=0.19)
    assert any(each.code == "prompt" for each in floor.verdicts)


def test_text_directions_are_taken_out_of_clips_vectors_only() -> None:
    """DINOv2's vectors may be as long as CLIP's; its space has no texts."""
    scores, everyone = measured(COUNT), candidates(COUNT, cells=False)
    other = dataclasses.replace(scores, by_clip=False)
    assert np.array_equal(identity_vectors(other, everyone, range(COUNT)), scores.identity)
    cleaned = identity_vectors(scores, everyone, range(COUNT))
    assert np.abs(cleaned @ scores.surroundings.T).max() < 1e-4


def test_of_another_scorers_vectors_only_what_explains_much_is_taken_out() -> None:
    rng = np.random.default_rng(1)
    people = candidates(COUNT)
    scores = measured(COUNT)
    places = np.array([BACKGROUNDS.index(each.cell["background"]) for each in people])
    axes = np.eye(scores.seen.shape[1])
    of_somebody = axes[rng.permutation(COUNT) % 3 + 8] + 0.05 * rng.normal(size=scores.seen.shape)
    for lean, is_left in ((0.1, True), (1.0, False)):
        vectors = unit(of_somebody + lean * axes[places])
        seen = identity_vectors(dataclasses.replace(scores, by_clip=False, identity=vectors), people, range(COUNT))
        assert np.array_equal(seen, vectors) is is_left
        assert choosing.explained_share(seen, [each.cell["background"] for each in people]) < MIN_EXPLAINED_SHARE


def test_of_one_character_the_core_is_taken_and_not_a_group_of_one_place() -> None:
    rng = np.random.default_rng(1)
    scores = measured(COUNT, identities=[0] * 28 + [1, 2, 3, 4, 5, 6] * 2)
    leaning = 0.35 * np.eye(len(BACKGROUNDS), scores.seen.shape[1])[np.arange(COUNT) // 2 % 4]
    scores = dataclasses.replace(
        scores, seen=scores.seen, identity=unit(scores.identity + leaning + 0.05 * rng.normal(size=scores.seen.shape))
    )
    made = chosen(scores, identity="core")
    inside = [n for n, each in enumerate(made.verdicts) if each.code in ("chosen", "redundant")]
    assert len(inside) == COUNT / 2 and max(inside) < 28, "half of all, none of them a stranger"
    assert len({each.candidate.cell["background"] for each in made.verdicts if each.code == "chosen"}) == 4
