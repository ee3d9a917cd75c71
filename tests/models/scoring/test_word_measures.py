"""What a learned word is measured by, on vectors whose meaning is known."""

import numpy as np
import pytest

from models.scoring.word_measures import SubjectVectors, WordMeasurer, overall_score, remove_surroundings

# The axes of a small space: two persons, the class they belong to, four places, and the texts' own direction.
ALICE, FOX, FOREST, BEACH, CITY, MOON = np.eye(6)


def unit(*parts: np.ndarray) -> np.ndarray:
    vector = np.sum(parts, axis=0)
    return vector / np.linalg.norm(vector)


PLACES = (FOREST, BEACH)
ELSEWHERE = (CITY, MOON)
SURROUNDINGS = np.stack([unit(FOX, place) for place in (*PLACES, *ELSEWHERE)])


def seen(*vectors: np.ndarray) -> SubjectVectors:
    whole = np.stack(vectors)
    return SubjectVectors(whole, remove_surroundings(whole, SURROUNDINGS))


REFERENCES = seen(*(unit(FOX, ALICE, place) for place in PLACES))
PLAIN = seen(*(unit(FOX, place) for place in ELSEWHERE))
TEXTS = np.stack([unit(FOX, place) for place in ELSEWHERE])


@pytest.fixture
def yardstick() -> WordMeasurer:
    return WordMeasurer(REFERENCES, PLAIN, TEXTS, (0, 1))


def test_the_class_word_is_at_the_lower_end_of_every_scale(yardstick: WordMeasurer) -> None:
    found = yardstick.measure_previews(PLAIN)
    assert found["identity"] == pytest.approx(0, abs=1e-6)
    assert found["editability"] == pytest.approx(1)
    assert found["leak"] == pytest.approx(0, abs=1e-6)
    assert found["collapse"] == 0


def test_a_word_that_learned_who_and_nothing_else_has_the_best_score(yardstick: WordMeasurer) -> None:
    learned = yardstick.measure_previews(seen(*(unit(FOX, ALICE, place) for place in ELSEWHERE)))
    assert learned["identity"] > 0.9
    assert learned["editability"] > 0.7
    assert learned["leak"] == pytest.approx(0, abs=0.05)
    others = (
        yardstick.measure_previews(PLAIN),
        yardstick.measure_previews(seen(*(unit(FOX, 0.3 * ALICE, place) for place in ELSEWHERE))),  # too little
        yardstick.measure_previews(seen(*(unit(FOX, ALICE, place, FOREST) for place in ELSEWHERE))),  # with the forest
        yardstick.measure_previews(seen(*[unit(FOX, ALICE, FOREST)] * 2)),  # one reference, again and again
    )
    assert all(learned["score"] > other["score"] for other in others)


def test_a_background_that_came_along_is_leak_and_costs_editability(yardstick: WordMeasurer) -> None:
    learned = yardstick.measure_previews(seen(*(unit(FOX, ALICE, place) for place in ELSEWHERE)))
    leaking = yardstick.measure_previews(seen(*(unit(FOX, ALICE, 0.5 * place, FOREST) for place in ELSEWHERE)))
    assert leaking["leak"] > learned["leak"] + 0.2
    assert leaking["editability"] < learned["editability"] - 0.2
    assert leaking["identity"] == pytest.approx(learned["identity"], abs=0.05), "who it is, is judged apart from where"


def test_pictures_of_one_single_reference_are_collapse(yardstick: WordMeasurer) -> None:
    assert yardstick.measure_previews(seen(*[unit(FOX, ALICE, FOREST)] * 2))["collapse"] > 0.2
    assert yardstick.measure_previews(seen(*(unit(FOX, ALICE, place) for place in ELSEWHERE)))["collapse"] == 0


def test_one_reference_and_one_prompt_give_numbers_too() -> None:
    lone = seen(unit(FOX, ALICE, FOREST))
    plain = seen(unit(FOX, CITY))
    found = WordMeasurer(lone, plain, TEXTS[:1], (0,)).measure_previews(seen(unit(FOX, ALICE, CITY)))
    assert all(np.isfinite(value) for value in found.values())
    assert found["identity"] > 0.5
    assert found["leak"] == 0


def test_the_ends_of_the_scales_are_told(yardstick: WordMeasurer) -> None:
    ends = yardstick.scale_ends()
    assert ends["likeness among the references"] > ends["likeness of the class word"]


def test_the_score_counts_who_first_and_pays_no_premium_for_more_than_obedience() -> None:
    assert overall_score(0.9, 1.0, 0.0, 0.0) > overall_score(0.8, 1.0, 0.0, 0.0)
    assert overall_score(0.9, 0.9, 0.0, 0.0) == overall_score(0.9, 1.4, 0.0, 0.0), "a tenth more or less is chance"
    assert overall_score(0.9, 0.8, 0.0, 0.0) < overall_score(0.9, 0.9, 0.0, 0.0)
    assert overall_score(0.9, 1.0, 0.2, 0.0) < overall_score(0.9, 1.0, 0.0, 0.0)
    assert overall_score(0.9, 1.0, 0.0, 0.1) < overall_score(0.9, 1.0, 0.0, 0.0)
    assert overall_score(0.9, 1.0, -0.2, 0.0) == overall_score(0.9, 1.0, 0.0, 0.0), (
        "less of the references' places is nothing better"
    )
