"""Reference sets on disk: kept, never replaced, and one of them current."""

from pathlib import Path

import pytest

from models.system.errors import UserError
from tasks.references.choose import choose_reference_set
from tasks.references.reference_set import ReferenceSet, ReferenceSetStore, stop_rounds_reason
from tasks.settings.sections import ReferenceSettings
from tests.support.measured import candidates, measured


def made(seed: int = 0, round: int = 1) -> ReferenceSet:
    knobs = ReferenceSettings()
    choice = choose_reference_set(candidates(40), measured(40, seed), knobs, 5, {})
    return ReferenceSet(
        "pip", "<pip>", round, knobs.model_dump(mode="json"), "test", choice, (("a.jpg", "is cut short"),)
    )


def test_a_set_is_read_back_as_it_was(tmp_path: Path) -> None:
    shelf = ReferenceSetStore(tmp_path, "pip")
    shelf.save_set(made())
    found = shelf.current_set()
    assert found is not None
    assert found.as_json() == made().as_json()
    assert found.id == made().id
    assert [each.candidate.id for each in found.choice.chosen] == list(made().choice.order)


def test_a_new_set_leaves_the_old_one_where_it_is(tmp_path: Path) -> None:
    shelf = ReferenceSetStore(tmp_path, "pip")
    shelf.save_set(made(0))
    shelf.save_set(made(1))
    assert shelf.current_set() == shelf.load_set(made(1).id)
    assert shelf.load_set(made(0).id).as_json() == made(0).as_json()


def test_a_set_that_failed_is_kept_but_not_current(tmp_path: Path) -> None:
    shelf = ReferenceSetStore(tmp_path, "pip")
    shelf.save_set(made(0))
    shelf.save_set(made(1), current=False)
    found = shelf.current_set()
    assert found is not None
    assert found.id == made(0).id
    assert shelf.load_set(made(1).id)


def test_rounds_and_settings_are_part_of_the_name() -> None:
    assert made(round=1).id != made(round=2).id


def test_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    shelf = ReferenceSetStore(tmp_path, "pip")
    path = shelf.save_set(made())
    path.write_text(path.read_text()[:100])
    with pytest.raises(UserError, match=r"set\.json is not a readable reference set .*make the references again"):
        shelf.current_set()
    (shelf.folder / "overrules.json").write_text('{"a": "perhaps"}')
    with pytest.raises(UserError, match="says something other than keep or drop"):
        shelf.manual_decisions()


def test_decisions_are_remembered_changed_and_forgotten(tmp_path: Path) -> None:
    shelf = ReferenceSetStore(tmp_path, "pip")
    ids = ["aaaa1", "aabb2", "cccc3"]
    shelf.decide_manually(ids, keep=["aaaa"], drop=["c"], forget=[])
    assert ReferenceSetStore(tmp_path, "pip").manual_decisions() == {"aaaa1": "keep", "cccc3": "drop"}
    shelf.decide_manually(ids, keep=[], drop=["aaaa"], forget=["cccc3"])
    assert shelf.manual_decisions() == {"aaaa1": "drop"}
    with pytest.raises(UserError, match="2 candidates have an id that begins with 'aa'"):
        shelf.decide_manually(ids, keep=["aa"], drop=[], forget=[])
    assert shelf.manual_decisions() == {"aaaa1": "drop"}


@pytest.mark.parametrize(
    ("distances", "reason"),
    [
        ([0.4], ""),
        ([0.4, 0.35], ""),
        ([0.4, 0.3], "the candidates differ by 75% of the first round's distance, under 80%"),
        ([0.4, 0.39, 0.38], "3 of 3 rounds are made"),
    ],
)
def test_rounds_end_when_pictures_agree_or_rounds_are_used_up(distances: list[float], reason: str) -> None:
    assert stop_rounds_reason(distances, ReferenceSettings(rounds=3, rounds_share=0.8)) == reason
