"""The figures that other documents cite, by name, between `<!-- bench:NAME -->` and `<!-- /bench -->`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bench.fitted import exponent
from bench.telling import NOT_YET, Result, bytes_of, percent

CITED = re.compile(r"<!-- bench:([\w.]+) -->(.*?)<!-- /bench -->", re.DOTALL)


def _way(found: Result, way: str, key: str) -> float:
    return next(row[key] for row in found["rows"] if row["way"] == way)


def _one_character(found: Result, candidates: int, scorer: str = "") -> str:
    rows = [each for each in found["by candidates"] if each["candidates"] == candidates]
    return percent(next(each["chosen"] for each in rows if each.get("scorer", "") == scorer))


def _grown(rows: Sequence[Result], size: str, cost: str) -> str:
    return f"{exponent([(row[size], row[cost]) for row in rows]):g}"


FIGURES: dict[str, Callable[[Result], str]] = {
    "rendering.ratio": lambda found: f"{_way(found, 'as it comes', 'times as fast'):.1f}",
    "rendering.cpu_ratio": lambda found: f"{_way(found, 'as it comes', 'times as fast by CPU time'):.1f}",
    "training_step.over_floor": lambda found: f"{found['rows'][-1]['ratio of pairs']:.2f}",
    "training_step.recipe": lambda found: f"{found['rows'][-1]['recipe over step']:.2f}",
    "training_tables.ours": lambda found: bytes_of(found["ways"]["the new vectors"]["checkpoint bytes"]),
    "training_tables.recipe": lambda found: bytes_of(found["ways"]["whole tables"]["checkpoint bytes"]),
    "scoring.ratio": lambda found: f"{found['times as fast by CPU time']:.1f}",
    "references_growth.exponent": lambda found: _grown(found["rows"], "candidates", "seconds"),
    "calendar_growth.exponent": lambda found: _grown(found["rows"], "personas", "plan"),
    "calendar_growth.personas": lambda found: f"{found['rows'][-1]['personas']:,}",
    "calendar_growth.seconds": lambda found: f"{found['rows'][-1]['plan']:.1f}",
    "board.first_page_ms": lambda found: f"{1000 * found['pages']['/']['median']:.0f}",
    "board.posts": lambda found: f"{found['posts']:,}",
    "faults.cases": lambda found: f"{found['cases'] + found['kills']:,}",
    "references.clip": lambda found: _one_character(found, 96),
    "references.clip_few": lambda found: _one_character(found, 48),
    "references.identity": lambda found: _one_character(found, 96, "toybox"),
    "references.identity_few": lambda found: _one_character(found, 48, "toybox"),
    "references.random": lambda found: percent(found["summary"]["random"]),
    "training.traits": lambda found: percent(found["summary"]["automatic"]["traits"]),
    "training.class_word": lambda found: percent(found["summary"]["class word"]["traits"]),
    "training.steps": lambda found: f"{found['summary']['automatic']['steps']:.0f}",
    "renders.gated": lambda found: percent(found["right, gated"]),
    "renders.ungated": lambda found: percent(found["right, ungated"]),
}


def figures(found: dict[str, Any]) -> dict[str, str]:
    """Every figure as it is written; what has no results yet says so."""
    parts = found["parts"]
    results = {name: parts.get(name.partition(".")[0]) for name in FIGURES}
    return {name: FIGURES[name](known["result"]) if known else NOT_YET for name, known in results.items()}


def cited(text: str) -> Iterator[tuple[str, str]]:
    """Each figure that a document cites, by name."""
    yield from ((name, value.strip()) for name, value in CITED.findall(text))
