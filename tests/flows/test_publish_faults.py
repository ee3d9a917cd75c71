"""Whatever goes wrong, wherever the process ends: a post is published once, or a person is asked; never twice, never lost."""

from pathlib import Path

import pytest

from bench.faults import ENDPOINTS, WRITES, Case, cases, killed, play, play_all, share, told
from tasks.publishers.stand_in.faults import FAULTS
from tasks.publishers.stand_in.server import StandIn

LEAST = 300
PART = 0.021
KILLED = [
    Case("instagram", "photo", "configure", "drop", accepts=True),
    *(Case("instagram", "photo", "", write=write, side=side) for write in (5, 8, 9) for side in ("before", "after")),
    *(Case("graph", "photo", "", write=write, side=side) for write in (7, 9, 10) for side in ("before", "after")),
]


def test_the_share_has_every_kind_of_case() -> None:
    chosen = share(cases(), PART)
    assert len(chosen) >= LEAST
    assert {each.fault for each in chosen} == {"", *FAULTS}
    assert {(each.publisher, each.kind) for each in chosen} == set(ENDPOINTS)
    assert {each.write for each in chosen} == set(range(WRITES + 1))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("publisher", ["instagram", "graph"])
def test_a_fixed_share_of_all_faults_and_crashes(
    publisher: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = [each for each in share(cases(), PART) if each.publisher == publisher]
    table = play_all(chosen, tmp_path)
    with capsys.disabled():
        print(f"\n{len(chosen)} of {len(cases())} cases of faults and crashes\n{told(table)}")
    assert table["all", "posts on the accounts"] == len(chosen)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_processes_that_are_killed(tmp_path: Path) -> None:
    table = play_all(KILLED, tmp_path, killed)
    assert table["all", "posts on the accounts"] == len(KILLED)


@pytest.mark.parametrize("publisher", ["instagram", "graph"])
def test_a_run_writes_no_more_often_than_crashes_are_tried(publisher: str, tmp_path: Path) -> None:
    """A crash that comes after the last write changes nothing, and one at each write before it does."""
    with StandIn([]) as server:
        assert play(Case(publisher, "photo", "", write=WRITES + 1), server, tmp_path) == "published"
        counts = [play(Case(publisher, "photo", "", write=each), server, tmp_path) for each in (8, 9, 10)]
    assert "found by looking" in counts
