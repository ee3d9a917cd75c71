"""When a training of a word has gone far enough, and which of its words is kept."""

import pytest
import torch

from models.sdxl.embedding import Embedding
from tasks.training.record import Measures, PreviewPoint
from tasks.training.run import FAR_PATIENCE_FACTOR, best_point, mean_embedding, stop_reason

PACE = {"patience": 2, "gain": 0.01, "enough": 0.7}


def points(*scores: float, identity: float = 0.9) -> list[PreviewPoint]:
    return [
        PreviewPoint(50 * number, f"{number}.safetensors", (), Measures(identity, 1.0, 0.0, 0.0, value))
        for number, value in enumerate(scores, 1)
    ]


def test_it_goes_on_while_previews_get_better() -> None:
    assert stop_reason(points(0.1), PACE) == ""
    assert stop_reason(points(0.1, 0.2, 0.3), PACE) == ""
    assert stop_reason(points(0.3, 0.2), PACE) == "", "one worse preview may be chance"


def test_it_stops_when_so_many_in_a_row_were_no_better() -> None:
    assert stop_reason(points(0.1, 0.3, 0.2, 0.3), PACE) == "no preview since step 100 was better by 0.01"


def test_small_gains_count_once_they_add_up() -> None:
    assert stop_reason(points(0.3, 0.306, 0.307), PACE) == "no preview since step 50 was better by 0.01"
    assert stop_reason(points(0.3, 0.306, 0.312), PACE) == ""
    assert stop_reason(points(0.3, 0.3, 0.3), PACE | {"gain": 0.0}) == "no preview since step 50 was better by 0"
    assert stop_reason(points(0.3, 0.301, 0.302), PACE | {"gain": 0.0}) == ""


def test_a_word_far_from_its_references_gets_more_patience() -> None:
    stuck = [0.3, *[0.2] * (2 * FAR_PATIENCE_FACTOR)]
    assert stop_reason(points(*stuck[:-1], identity=0.5), PACE) == ""
    assert stop_reason(points(*stuck, identity=0.5), PACE) == "no preview since step 50 was better by 0.01"


def test_the_best_is_kept_and_of_equals_the_earliest() -> None:
    assert best_point(points(0.1, 0.4, 0.3, 0.4)).step == 100


def test_a_mean_of_words_is_in_their_middle() -> None:
    words = [Embedding("<pip>", (torch.full((2, 3), value), torch.full((2, 5), -value))) for value in (1.0, 2.0, 6.0)]
    middle = mean_embedding(words)
    assert middle.token == "<pip>"
    assert torch.equal(middle.vectors[0], torch.full((2, 3), 3.0))
    assert torch.equal(middle.vectors[1], torch.full((2, 5), -3.0))


def test_a_mean_of_one_word_is_that_word() -> None:
    word = Embedding("<pip>", (torch.rand(2, 3),))
    assert mean_embedding([word]) == word


@pytest.mark.parametrize("patience", [1, 3])
def test_patience_is_counted_in_previews(patience: int) -> None:
    falling = points(0.9, *[0.5] * patience)
    assert stop_reason(falling, PACE | {"patience": patience})
    assert not stop_reason(falling[:-1], PACE | {"patience": patience})
