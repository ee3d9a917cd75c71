"""Each benchmark measures what it says, as small as it goes."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bench import (
    calendar_growth,
    gpu,
    page,
    profiles,
    scoring,
    store_growth,
    training_growth,
    training_step,
    training_tables,
)
from models.sdxl.renderer import Renderer


@pytest.fixture(scope="module")
def toybox() -> Renderer:
    return training_step.load("toybox", "cpu", 1)


def test_scoring_finds_the_same_vectors_each_way() -> None:
    found = scoring.measure(8, 1)
    assert set(found["ways"]) == {"one call a picture", "in batches", "seen before"}
    assert found["greatest difference of a vector"] < 1e-4
    assert all(way["cpu seconds"] > 0 for way in found["ways"].values())


def test_the_store_is_as_large_as_it_says(tmp_path: Path) -> None:
    found = store_growth.measure([1, 40], tmp_path)
    assert found["posts"] == [1, 40]
    assert {len(costs) for costs in found["works"].values()} == {2}


def test_every_persona_has_its_week(tmp_path: Path) -> None:
    one, three = (calendar_growth.measure(tmp_path / str(n), n) for n in (1, 3))
    assert one["due"] > 3
    assert three["due"] == 3 * one["due"]


def test_more_vectors_make_a_larger_checkpoint(toybox: Renderer) -> None:
    few, many = (training_growth.measure(toybox, training_growth.references(2), n, 1) for n in (1, 16))
    assert few["checkpoint"] < many["checkpoint"]
    assert few["step"] > 0


def test_whole_tables_hold_more_than_vectors() -> None:
    words = {way: training_tables.measure(way, training_tables.WORDS) for way in ["the new vectors"]}
    assert words["the new vectors"]["checkpoint bytes"] < 200_000
    assert words["the new vectors"]["peak bytes"] < 100 * 2**20


def test_peak_memory_counts_from_where_it_is_told_to() -> None:
    once = np.ones(40 * 2**20 // 8)
    del once
    training_step.start_peak()
    before = training_step.resident()
    held = np.ones(64 * 2**20 // 8)
    assert 60 < training_step.peak() - before < 80
    assert held.sum() > 0


def test_costs_are_named_and_the_largest_stand_first() -> None:
    spent = profiles.by_kind({"aten::mkldnn_convolution": 5, "aten::addmm": 2, "aten::mm": 2, "aten::zeros": 100})
    assert spent == {"convolutions": 5, "linear layers": 4, "everything else": 100}
    assert [cost["name"] for cost in profiles.largest(spent)] == ["convolutions", "linear layers"]
    assert profiles.largest(spent)[0]["share"] == round(5 / 109, 3)


def test_a_demo_is_cut_where_its_steps_begin() -> None:
    def busy(line: str, rounds: int) -> str:
        sum(number * number for number in range(rounds))
        return line

    lines = (
        busy(line, rounds)
        for line, rounds in (
            ("pip: candidates", 10), ("  5 chosen", 10), ("pip: learns", 4_000_000), ("  a line", 10),
            ("pip: the next days", 10), ("pip: approved", 10), ("The story", 10),
        )
    )  # fmt: skip
    spent = profiles.demo(lines)
    assert isinstance(spent, Counter)
    assert max(spent, key=lambda name: spent[name]) == "references"
    assert set(spent) == set(profiles.STAGES)


@pytest.mark.slow
def test_the_script_for_a_gpu_starts_on_a_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (page.DOCS / "benchmarks.md").read_bytes()
    monkeypatch.setattr(sys, "argv", ["gpu", "--tiny", "--device", "cpu", "--results", str(tmp_path)])
    assert gpu.main() == 0
    said = capsys.readouterr().out
    assert "FAILED" not in said
    found = json.loads(next(tmp_path.glob("*-tiny.json")).read_text())
    assert set(found["results"]) == {"training-64", "rendering-64"}
    assert found["results"]["training-64"]["rows"][0]["recipe over step"] > 0
    assert found["results"]["rendering-64"]["rows"][0]["times as fast"] > 0
    assert (page.DOCS / "benchmarks.md").read_bytes() == before, "a tiny model is no measurement"


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    if gpu.gpu("cuda"):
        pytest.skip("there is a GPU here")
    monkeypatch.setattr(sys, "argv", ["gpu"])
    assert gpu.main() == 2
    assert "there is no CUDA GPU here" in capsys.readouterr().out
