"""What the gates say of candidates, reason by reason, and which of those that pass is the best."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.posts.post import PostCandidate
from tasks.render.gates import (
    CandidateMeasurements,
    ExistingPicture,
    acceptance_summary,
    best_first,
    count_reasons,
    duplicate_reason,
    median_distance,
    rejection_reason,
)
from tasks.settings.sections import GateSettings

KNOBS = GateSettings()


def measured(**changes: object) -> CandidateMeasurements:
    """A picture without fault, but for what a test changes."""
    good = CandidateMeasurements(
        spread=60.0, detail=0.9, identity=0.95, prompt=0.9, unwanted={"text": -0.2}, likeness=0
    )
    return dataclasses.replace(good, **changes)  # type: ignore[arg-type]


def candidate(number: int, passed: bool = True, why: str = "", **scores: float) -> PostCandidate:
    return PostCandidate(number, f"picture {number}", passed, why, scores)


def why(**changes: object) -> str:
    return rejection_reason(measured(**changes), KNOBS, "<pip>", "fox")


def test_a_picture_without_fault_passes() -> None:
    assert why() == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"spread": 3.1}, "blank: its brightness varies by 3.1 of 255, under 8"),
        ({"detail": 0.12}, "blurred: 12% of the fine detail that any fox has, under 20%"),
        ({"unwanted": {"text": 0.071}}, "unwanted: more like 'text' than any fox is, by 0.071, over 0.05"),
        ({"identity": 0.42}, "stranger: 0.42 of the way from any fox to the references of <pip>, under 0.75"),
        ({"prompt": 0.21}, "disobedient: it obeys its prompt 0.21 times as well as a fox does, under 0.25"),
    ],
)
def test_each_gate_says_why(changes: dict[str, object], said: str) -> None:
    assert why(**changes) == said


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"spread": 0.0}, {"detail": 0.0}),
        ({"detail": 0.0}, {"identity": 0.0}),
        ({"unwanted": {"text": 1.0}}, {"identity": 0.0}),
        ({"identity": 0.0}, {"prompt": 0.0}),
    ],
)
def test_the_plainest_reason_comes_first(first: dict[str, object], then: dict[str, object]) -> None:
    assert why(**first, **then) == why(**first)


def test_a_picture_that_is_not_to_show_the_character_is_not_measured_by_it() -> None:
    assert why(identity=None) == ""
    assert "like the references" not in acceptance_summary(measured(identity=None), "<pip>")


def test_what_the_scorer_cannot_tell_is_no_reason() -> None:
    assert why(identity=None, prompt=None) == ""
    assert acceptance_summary(measured(identity=None, prompt=None), "<pip>") == "passed: nothing speaks against it"


def test_what_speaks_for_a_picture_is_said() -> None:
    assert (
        acceptance_summary(measured(), "<pip>") == "passed: 0.95 like the references of <pip>, 0.90 as its prompt asks"
    )


def test_nearly_the_same_pattern_of_pixels_is_a_duplicate() -> None:
    taken = [ExistingPicture("aaa", 2**64 - 1), ExistingPicture("bbb", 0b11)]
    said = duplicate_reason(measured(), taken, 0.0, KNOBS)
    assert said == "duplicate: of the picture of post bbb, the same pattern but for 2 of 64 bits"
    assert duplicate_reason(measured(likeness=0b100), taken, 0.0, KNOBS) == ""
    assert duplicate_reason(measured(likeness=0b11), taken, 0.0, KNOBS.model_copy(update={"duplicate_bits": -1})) == ""


def test_nearly_the_same_in_the_eyes_of_clip_is_a_duplicate() -> None:
    one = np.array([1.0, 0.0], np.float32)
    near, far = (np.array([np.cos(angle), np.sin(angle)], np.float32) for angle in (0.05, 0.2))
    said = duplicate_reason(measured(seen=one), [ExistingPicture("aaa", None, near)], 0.02, KNOBS)
    assert said == "duplicate: of the picture of post aaa, 0.0012 apart in CLIP's eyes, under 0.0050"
    assert duplicate_reason(measured(seen=one), [ExistingPicture("aaa", None, far)], 0.02, KNOBS) == ""
    any_may = KNOBS.model_copy(update={"duplicate_share": 0.0})
    assert duplicate_reason(measured(seen=one), [ExistingPicture("aaa", None, one * 1.000001)], 0.02, any_may) == ""


def test_how_far_pictures_of_a_shot_are_apart_its_own_candidates_say() -> None:
    angles = (0.0, 0.1, 0.2)
    found = [measured(seen=np.array([np.cos(angle), np.sin(angle)], np.float32)) for angle in angles]
    assert median_distance(found) == pytest.approx(1 - np.cos(0.1), abs=1e-6)
    assert median_distance(found[:1]) == 0.02


def test_identity_counts_first_and_the_prompt_where_that_is_nearly_the_same() -> None:
    found = [
        candidate(0, identity=0.8, prompt=1.5),
        candidate(1, identity=0.97, prompt=0.7),
        candidate(2, identity=1.01, prompt=0.9),
        candidate(3, False, "blurred: …", identity=1.0, prompt=2.0),
        candidate(4, identity=1.3, prompt=0.6),
    ]
    assert [each.number for each in best_first(found)] == [2, 1, 4, 0]


def test_of_equal_candidates_the_first_is_taken() -> None:
    assert best_first([candidate(1, prompt=0.9), candidate(0, prompt=0.9)])[0].number == 0


def test_reasons_are_counted_in_words() -> None:
    dropped = [candidate(n, False, why) for n, why in enumerate(["stranger: a", "stranger: b", "blurred: c"])]
    assert count_reasons([*dropped, candidate(9)]) == "2 not the character, 1 blurred"


@given(st.floats(-2, 3), st.floats(-2, 3), st.floats(0, 3), st.floats(0, 255))
def test_a_better_picture_is_never_dropped_where_a_worse_one_passes(
    identity: float, prompt: float, detail: float, spread: float
) -> None:
    worse = {"identity": identity, "prompt": prompt, "detail": detail, "spread": spread}
    for name, value in worse.items():
        if why(**worse) == "":
            assert why(**{**worse, name: value + 0.5}) == ""


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_duplicates_are_mutual(one: int, other: int) -> None:
    there = duplicate_reason(measured(likeness=one), [ExistingPicture("x", other)], 0.0, KNOBS)
    back = duplicate_reason(measured(likeness=other), [ExistingPicture("x", one)], 0.0, KNOBS)
    assert bool(there) == bool(back)
