"""The page's chapter on one CUDA GPU: full-size SDXL with random weights. What was not measured says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bench.telling import NOT_YET, short, times

SIDES = (512, 768, 1024)
TRAINING = ("", "-lean", "-fast")
NAMES = {"": "as it comes", "-lean": "activations computed twice", "-fast": "compiled, any kernels"}
Cell = Callable[[dict[str, Any]], str]
STEPS: dict[str, Cell] = {
    "step": lambda row: f"{1000 * row['step']:.0f} ms",
    "step / floor": lambda row: times(row["ratio of pairs"]),
    "recipe / step": lambda row: times(row["recipe over step"]) if "recipe over step" in row else "-",
    "of the matmul rate": lambda row: f"{100 * row['share of matmul rate']:.0f} %",
    "memory above the model": lambda row: f"{row['step MiB']:.0f} MiB",
    "of the floor": lambda row: f"{row['floor MiB']:.0f} MiB",
}
PICTURES: dict[str, Cell] = {
    "pictures a second": lambda row: short(row["pictures a second"]),
    "times the plain pipeline": lambda row: times(row["times as fast"]),
    "peak memory": lambda row: f"{row['peak GiB']:.1f} GiB",
}


def lines(found: dict[str, Any] | None) -> Iterator[str]:
    """The chapter; without results every figure stands as not measured."""
    yield "SDXL at its full size, built from its published configuration with random weights: `make bench-gpu`.\n"
    results = found["results"] if found else {}
    if found:
        card = found["environment"]["gpu"]
        yield f"{card['name']}, {card['memory GiB']} GiB, CUDA {card['cuda']}; {found['at'].replace('T', ' ')}.\n"
    yield from _table(["side", "batch", "training", *STEPS], _steps(results))
    yield from _table(["side", "rendering", *PICTURES], _pictures(results))


def _steps(results: dict[str, Any]) -> Iterator[list[str]]:
    for side in SIDES:
        for kind in TRAINING:
            rows = {row["batch"]: row for row in results.get(f"training-{side}{kind}", {}).get("rows", [])}
            for batch in rows or [1, 4] * (not kind):
                yield [str(side), str(batch), NAMES[kind], *_cells(rows.get(batch), STEPS)]


def _pictures(results: dict[str, Any]) -> Iterator[list[str]]:
    for side in SIDES:
        rows = [row for row in results.get(f"rendering-{side}", {}).get("rows", []) if "failed" not in row]
        for row in rows or [None]:
            yield [str(side), row["way"] if row else "as it comes", *_cells(row, PICTURES)]


def _cells(row: dict[str, Any] | None, cells: dict[str, Cell]) -> list[str]:
    return [cell(row) if row else f"*{NOT_YET}*" for cell in cells.values()]


def _table(head: Sequence[str], rows: Iterator[list[str]]) -> Iterator[str]:
    body = ["| " + " | ".join(row) + " |" for row in rows]
    yield "\n".join(["| " + " | ".join(head) + " |", "|" + " --- |" * len(head), *body]) + "\n"
