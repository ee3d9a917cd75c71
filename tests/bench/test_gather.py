"""Parts run one after another: what failed is said, what is known is not run again, what was stopped goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import gather, machine
from bench.gather import Gathered
from bench.parts import PARTS, Part, chosen
from models.system.errors import UserError

QUICK = Part("calendar_growth", "more personas", ("--personas", "1", "2"))
BROKEN = Part("board", "nothing", ("--no-such-option",))
GONE = Part("nowhere", "nothing")


def run(parts: list[Part], folder: Path, fresh: bool = False) -> tuple[bool, list[str], Gathered]:
    said: list[str] = []
    to = Gathered.read(folder / "machine.json")
    return gather.gather(parts, to, fresh, said.append, folder), said, to


def test_a_part_that_fails_is_said_and_the_others_go_on(tmp_path: Path) -> None:
    fine, said, to = run([BROKEN, GONE, QUICK], tmp_path)
    assert not fine
    assert "board" in said[0]
    assert "FAILED: ended with 2" in said[0]
    assert "nowhere" in said[1]
    assert "is not here" in said[1]
    assert said[2].endswith(" s")
    assert set(to.found["parts"]) == {"calendar_growth"}
    kept = json.loads((tmp_path / "machine.json").read_text())["parts"]["calendar_growth"]
    assert [row["personas"] for row in kept["result"]["rows"]] == [1, 2]
    assert kept["measured"]["command"] == "python -m bench.calendar_growth --personas 1 2"
    assert kept["measured"]["cpu seconds"] > 0
    fine, said, _ = run([QUICK], tmp_path)
    assert (fine, said) == (True, ["calendar_growth      known already"])
    before = (tmp_path / "calendar_growth.json").stat().st_mtime_ns
    run([QUICK], tmp_path, fresh=True)
    assert (tmp_path / "calendar_growth.json").stat().st_mtime_ns > before


def test_other_options_and_other_code_are_not_known(tmp_path: Path) -> None:
    known = {"measured": {"code": machine.code_of(QUICK.module, QUICK.arguments)}}
    to = Gathered(tmp_path / "m.json", {"environment": {}, "parts": {QUICK.name: known}})
    assert not to.stale(QUICK)
    assert to.stale(Part(QUICK.name, QUICK.subject, ("--personas", "1")))
    known["measured"]["code"] = "of before"
    assert to.stale(QUICK)


def test_the_code_of_a_part_is_all_that_it_imports() -> None:
    found = {path.relative_to(machine.REPOSITORY).as_posix() for path in machine.sources("bench.calendar_growth")}
    assert {
        "bench/calendar_growth.py",
        "models/system/files.py",
        "tasks/calendar/wording.py",
        "tasks/calendar/due.py",
        "tasks/calendar/recurrence.py",
    } <= found
    assert not any(name.startswith(("board/", "flows/")) for name in found)
    late = {path.relative_to(machine.REPOSITORY).as_posix() for path in machine.sources("bench.profiles")}
    assert "flows/cli/demo.py" in late, "also what is imported within a function"


def test_earlier_results_are_taken_in_unless_newer_ones_are_known(tmp_path: Path) -> None:
    part = Part("references", "x", leave_out=("personas",), long=True)
    (tmp_path / "references.json").write_text('{"summary": {"chosen": 1}, "personas": [1, 2]}')
    to = Gathered.read(tmp_path / "m.json")
    assert gather.take_in([part], to, tmp_path) == ["references"]
    kept = to.found["parts"]["references"]
    assert kept["result"] == {"summary": {"chosen": 1}}
    assert kept["measured"]["code"] == ""
    kept["measured"]["code"] = "abc"
    assert gather.take_in([part], to, tmp_path) == []


def test_parts_by_name() -> None:
    assert [part.name for part in chosen(["board", "rendering"], long=False)] == ["board", "rendering"]
    assert {part.long for part in chosen([], long=False)} == {False}
    assert {part.long for part in chosen([], long=True)} == {True}
    with pytest.raises(UserError, match="no benchmark called 'bored': choose from .*board"):
        chosen(["bored"], long=False)
    assert len({part.name for part in PARTS}) == len(PARTS)
    assert all((machine.REPOSITORY / "bench" / f"{part.name}.py").exists() for part in PARTS)


def test_a_machine_has_a_short_name() -> None:
    assert machine.slug().endswith(f"-{machine.cores()}")
    assert machine.slug("NVIDIA H200 (TM) 141GB") == "nvidia-h200-141gb"
