"""The benchmark of rendering runs, and compares pictures that are the same."""

import json
import sys
from pathlib import Path

import pytest

from bench import rendering


def test_both_make_the_same_pictures(
    sdxl_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rendering.json"
    said = {"--model": sdxl_folder, "--device": "cpu", "--side": 64, "--steps": 2, "--pictures": 2, "--rounds": 2}
    said |= {"--batch": 1, "--out": out}
    chosen = ["as it comes", "kept", "fused", "guidance"]
    words = [str(each) for pair in said.items() for each in pair]
    monkeypatch.setattr(sys, "argv", ["rendering", *words, "--ways", *chosen, "--profile"])
    rendering.main()
    found = json.loads(out.read_text())
    rows = {row["way"]: row for row in found["rows"]}
    assert set(rows) == {
        "as it comes",
        "without kept keys and values",
        "without kept prompts",
        "fused projections",
        "guidance until 0.8",
    }
    assert all(row["times as fast"] > 0 and "failed" not in row for row in rows.values())
    # Not to the last bit: the plain pipeline's weights stand elsewhere in memory, which cuts some sums up otherwise.
    assert rows["as it comes"]["mean difference of pixels, of 255"] < 0.01
    assert found["profile"]
    assert "as it comes" in capsys.readouterr().out
