"""What the lint says of a chosen set, and which shots it asks for."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tasks.persona.persona import Persona
from tasks.references.lint import list_findings, missing_shots
from tasks.references.measurements import Scores
from tasks.references.reference_set import Finding, ReferenceCandidate, ReferenceChoice, Verdict
from tasks.settings.sections import ReferenceSettings
from tests.support.measured import BACKGROUNDS, FRAMINGS, but, candidates, measured, unit

COUNT = 40
PERSONA = Persona.model_validate(
    {
        "name": "pip",
        "token": "<pip>",
        "class_word": "fox",
        "kind": "character",
        "subject": "a fox",
        "references": {
            "prompt": "{framing} {subject} {background}",
            "matrix": {"framing": FRAMINGS, "background": BACKGROUNDS},
        },
    }
)


def of(places: list[int], everyone: list[ReferenceCandidate]) -> ReferenceChoice:
    """A choice of these candidates."""
    verdicts = [Verdict(each, "chosen" if n in places else "dropped", "", "", "") for n, each in enumerate(everyone)]
    return ReferenceChoice(verdicts, [everyone[n].id for n in places], {})


def found(
    places: list[int], scores: Scores, everyone: list[ReferenceCandidate] | None = None, **knobs: float
) -> dict[str, Finding]:
    everyone = everyone or candidates(COUNT)
    said = list_findings(everyone, scores, of(places, everyone), PERSONA, ReferenceSettings(**knobs), 128)  # type: ignore[arg-type]
    return {each.code: each for each in reversed(said)}  # the first of a kind


EVEN = [0, 3, 4, 7]  # four backgrounds, both framings


def test_an_even_set_has_no_findings() -> None:
    assert found(EVEN, measured(COUNT)) == {}


def test_five_with_one_background_are_reported_and_the_missing_ones_proposed() -> None:
    said = found([0, 1, 8, 9, 16], measured(COUNT))["background"]
    assert said.what == "5 of 5 pictures show 'in the forest' (background)"
    assert "the token will bring that background along" in said.consequence
    assert {cell["background"] for cell in said.missing} == set(BACKGROUNDS[1:])
    assert {cell["framing"] for cell in said.missing} <= set(FRAMINGS)


def test_all_of_one_framing_are_reported() -> None:
    said = found([0, 2, 4, 6], measured(COUNT))["framing"]
    assert said.what == "4 of 4 pictures show 'a close-up of' (framing)"
    assert [cell["framing"] for cell in said.missing] == ["a portrait of"]


def test_what_the_picture_shows_counts_and_not_what_was_asked_for() -> None:
    scores = measured(COUNT)
    for place in EVEN:
        scores = but(scores, "background", place, 2, "shows")
    assert found(EVEN, scores)["background"].what == "4 of 4 pictures show 'in the snow' (background)"


def test_an_accessory_in_most_pictures_is_reported() -> None:
    scores = measured(COUNT)
    for place in EVEN[:3]:
        scores = but(scores, "accessory", place, 1, "shows")
    said = found(EVEN, scores, lint_share=0.6)["accessory"]
    assert said.what == "3 of 4 pictures show 'a hat' (accessory)"
    assert list(said.missing) == []


def test_repeated_pictures_are_reported() -> None:
    scores = measured(COUNT)
    scores = but(scores, "hashes", 3, int(scores.hashes[0]))
    assert found(EVEN, scores)["duplicate"].what == "00030000 repeats 00000000"


def test_pictures_that_say_the_same_count_as_fewer() -> None:
    scores = measured(COUNT)
    for place in EVEN:
        scores = but(scores, "seen", place, unit(scores.seen[0] + 0.02 * np.eye(32)[place]))
    said = found(EVEN, scores, duplicate_likeness=1.0)["sameness"]
    assert said.what.startswith("4 pictures are worth only 1.")


def test_a_member_that_looks_like_somebody_else_is_reported() -> None:
    identities = [0] * COUNT
    identities[7] = 5
    said = found([0, 3, 4, 10, 13, 14, 7], measured(COUNT, identities=identities), lint_share=1, outlier_spread=4)
    assert said["outlier"].what.startswith("00070000 looks less like the others")


def test_the_least_alike_of_a_set_that_is_all_alike_is_no_outlier() -> None:
    scores = measured(COUNT, seed=5)
    close = dataclasses.replace(
        scores, identity=unit(scores.identity.mean(0) + 0.1 * (scores.identity - scores.identity.mean(0)))
    )
    assert "outlier" not in found([0, 3, 4, 7, 10], close, lint_share=1, outlier_spread=0.1)


def test_pictures_smaller_than_the_model_are_reported() -> None:
    everyone = candidates(COUNT)
    everyone[3] = ReferenceCandidate(everyone[3].id, "x.png", cell=everyone[3].cell, source="beach.jpg", upscaled=True)
    said = found(EVEN, measured(COUNT), everyone)["resolution"]
    assert said.what == "1 of 4 pictures are smaller than the model's 128 pixels (beach.jpg)"


def test_a_blurred_picture_that_a_person_kept_is_reported() -> None:
    said = found(EVEN, but(measured(COUNT), "sharpness", 3, 0.01, "pixels"))["blur"]
    assert said.what == "blurred: 00030000"


def test_missing_shots_are_asked_for_once() -> None:
    cells = [{"background": "in the snow"}, {"background": "on the beach"}]
    assert missing_shots([Finding("a", "", "", cells), Finding("b", "", "", cells[:1])]) == cells


@pytest.mark.parametrize("places", [[], [0]])
def test_sets_too_small_to_say_much_are_no_mistake(places: list[int], tmp_path: Path) -> None:
    assert found(places, measured(COUNT)) == {}
