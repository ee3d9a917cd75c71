"""The page says what the file of results says, and other documents cite it as it is."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from bench import figures, page, plot
from bench.fitted import exponent
from bench.machine import REPOSITORY
from bench.parts import PARTS
from bench.telling import NOT_YET

SOURCE = page.DOCS / "benchmarks.json"
FOUND = json.loads(SOURCE.read_text())
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def test_the_page_is_that_of_the_results() -> None:
    made = page.files(FOUND)
    for name, text in made.items():
        assert (page.DOCS / name).read_bytes() == text.encode(), f"{name}: run python -m bench.page"
    there = {f"benchmarks/{path.name}" for path in (page.DOCS / "benchmarks").iterdir()}
    assert there == set(made) - {"benchmarks.md"}


def test_results_are_written_as_they_are_read() -> None:
    assert SOURCE.read_text() == json.dumps(FOUND, indent=1, ensure_ascii=False) + "\n"


def miscited(text: str) -> list[str]:
    """What a document cites otherwise than the results say."""
    known = figures.figures(FOUND)
    return [
        f"{name}: {value}, not {known.get(name)}" for name, value in figures.cited(text) if known.get(name) != value
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_cite_the_results(document: Path) -> None:
    text = document.read_text()
    assert not miscited(text)
    assert text.count("<!-- bench:") == len(list(figures.cited(text))), "a citation has no end"


def test_a_wrong_citation_is_found() -> None:
    name, value = next((name, value) for name, value in figures.figures(FOUND).items() if value != NOT_YET)
    assert not miscited(f"It is <!-- bench:{name} -->{value}<!-- /bench --> times as fast.")
    assert miscited(f"<!-- bench:{name} -->{value}1<!-- /bench -->")
    assert miscited("<!-- bench:nobody.knows -->1<!-- /bench -->")


def test_every_part_has_a_section_and_every_section_a_part() -> None:
    sections = [section.part for _, of_chapter in page.CHAPTERS for section in of_chapter]
    assert sorted(sections) == sorted(part.name for part in PARTS)
    assert {name.partition(".")[0] for name in figures.FIGURES} <= set(sections)


def test_what_is_unknown_is_not_measured_yet() -> None:
    empty = page.files({"environment": {}, "parts": {}})
    assert set(empty) == {"benchmarks.md"}
    text = empty["benchmarks.md"]
    for part in PARTS:
        assert f"*{NOT_YET}* (`python -m bench {part.name}`" in text
    chapter = text.partition("## On a GPU")[2].partition("## Figures")[0]
    cells = [cell for line in chapter.splitlines() if line.startswith("| 1024") for cell in line.split(" | ")[3:]]
    assert cells
    assert all(NOT_YET in cell for cell in cells)
    assert not re.search(r"\d", text.partition("## Figures")[2].replace("cpu_", "")), "no figure without a measurement"


def test_what_a_gpu_found_stays_when_a_cpu_is_measured_anew(tmp_path: Path) -> None:
    row = {"side": 512, "batch": 4, "step": 0.3, "ratio of pairs": 1.25, "share of matmul rate": 0.5}
    gpu = {
        "environment": {"gpu": {"name": "Big", "memory GiB": 80.0, "cuda": "13"}},
        "at": "2026-12-01T10:00+00:00",
        "results": {"training-512": {"rows": [row | {"step MiB": 20.0, "floor MiB": 10.0}]}},
    }
    page.publish(FOUND | {"gpu": gpu}, tmp_path)
    text = page.publish({name: value for name, value in FOUND.items() if name != "gpu"}, tmp_path).read_text()
    assert "| 512 | 4 | as it comes | 300 ms | 1.25 | - | 50 % | 20 MiB | 10 MiB |" in text
    assert "Big, 80.0 GiB, CUDA 13" in text


def test_plots_are_svg_files() -> None:
    made = [plot.bars({"a <b>": 2.0, "c": 0.0}, "two", 1.0), plot.growth({"cost": [(1, 0.5), (1000, 40.0)]}, "n", "it")]
    for text in made:
        root = ElementTree.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert float(root.attrib["height"]) > 0


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_law(power: float) -> None:
    assert exponent([(n, 3 * n**power) for n in (1, 10, 100, 5000)]) == pytest.approx(power, abs=0.005)
