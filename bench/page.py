"""The page of all results, docs/benchmarks.md: `python -m bench.page` writes it anew from docs/benchmarks.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import figures, page_gpu, page_growth, page_quality, page_speed
from bench.dreambench_files import PUBLISHED, SCORES
from bench.machine import REPOSITORY
from bench.parts import PARTS
from bench.telling import NOT_YET, Section
from models.system.files import write_file

DOCS = REPOSITORY / "docs"
CHAPTERS = (
    ("Speed and memory", page_speed.SECTIONS),
    ("Growth", page_growth.SECTIONS),
    ("Quality", page_quality.SECTIONS),
)
HEAD = """# Benchmarks

Written by `make bench` from `docs/benchmarks.json`, which holds every figure in full. Speeds are ratios of two ways that took
turns in one run, so that whatever else the machine did struck both; CPU time is that of the process and hardly minds what runs
beside it.
What stands as *{not_yet}* was not measured: nothing here is an estimate.
"""


def publish(found: dict[str, Any], docs: Path = DOCS) -> Path:
    """Write the results, the page and its plots. What a GPU found earlier stays."""
    source = docs / "benchmarks.json"
    before = json.loads(source.read_text()) if source.exists() else {}
    whole = {name: before.get(name) for name in ("gpu", "dreambench")} | found
    write_file(source, (json.dumps(whole, indent=1, ensure_ascii=False) + "\n").encode())
    for name, text in files(whole).items():
        write_file(docs / name, text.encode())
    return docs / "benchmarks.md"


def files(found: dict[str, Any]) -> dict[str, str]:
    """The page and its plots by their names under docs/."""
    made = {"benchmarks.md": "\n".join(_page(found)) + "\n"}
    for _, sections in CHAPTERS:
        for section in sections:
            if known := found["parts"].get(section.part):
                plots = section.tell(known["result"]).plots
                made |= {f"benchmarks/{name}.svg": text for name, text in plots.items()}
    return made


def _page(found: dict[str, Any]) -> Iterator[str]:
    yield HEAD.format(not_yet=NOT_YET)
    yield from _environment(found["environment"])
    for title, sections in CHAPTERS:
        yield f"## {title}\n"
        for section in sections:
            yield from _section(section, found["parts"].get(section.part))
    yield "## DreamBench\n"
    yield from _dreambench(found.get("dreambench"))
    yield "## On a GPU\n"
    yield from page_gpu.lines(found.get("gpu"))
    yield "## Figures\n"
    yield "What is cited elsewhere is cited by these names, and a test compares it.\n"
    yield from table([["name", "figure"], *([f"`{name}`", value] for name, value in figures.figures(found).items())])


def _environment(found: dict[str, Any]) -> Iterator[str]:
    if not found:
        return
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    yield (
        f"Machine `{found['machine']}`: {found['cpu']}, {found['cores']} cores, {found['threads']} threads, "
        f"{found['memory GiB']} GiB, {found['system']}; Python {found['python']}, {versions}; commit "
        f"{found['commit'] or 'unknown'}.\n"
    )


def _section(section: Section, known: dict[str, Any] | None) -> Iterator[str]:
    yield f"### {section.title}\n"
    if known is None:
        part = next(each for each in PARTS if each.name == section.part)
        yield f"*{NOT_YET}* (`python -m bench {part.name}`{', which takes hours' if part.long else ''})\n"
        return
    told = section.tell(known["result"])
    yield f"{told.says}\n"
    yield from table(told.table)
    yield from (f"![{section.title}](benchmarks/{name}.svg)\n" for name in told.plots)
    yield from (f"{note}\n" for note in told.notes)
    yield f"{_measured(known['measured'])}\n"


def _dreambench(found: dict[str, Any] | None) -> Iterator[str]:
    """Real weights, pictures and prompts are needed for it, which do not come with restage."""
    command = "python -m bench.dreambench --subjects FOLDER --prompts FILE --model MODEL --publish"
    yield f"30 subjects, 25 prompts, 4 pictures of each; with the public pictures and prompts at hand: `{command}`.\n"
    rows = [[name, *("-" if value is None else f"{value:.3f}" for value in values)] for name, *values in PUBLISHED]
    summary = found["summary"] if found else {}
    cells = [NOT_YET if summary.get(name) is None else f"{summary[name]:.3f}" for name in SCORES]
    name = (
        f"restage, {found['model']} ({summary['subjects']} subjects, CLIP {found['clip']})"
        if found
        else "restage, SDXL"
    )
    yield from table([["published, and restage last", "DINO", "CLIP-I", "CLIP-T"], *rows, [name, *cells]])


def _measured(known: dict[str, Any]) -> str:
    told = f"`{known['command']}` · {known['at'].replace('T', ' ').removesuffix('+00:00')} UTC"
    if not known["code"]:
        return f"{told} · taken over from an earlier run, of the code as it was then"
    beside = known["busy cores before"]
    return f"{told} · {known['seconds']:.0f} s" + (
        f" · the machine was busy with {beside:g} other processes" if beside >= 0.5 else ""
    )


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if rows:
        head, *body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
        yield "\n".join([head, "|" + " --- |" * len(rows[0]), *body]) + "\n"


if __name__ == "__main__":
    publish(json.loads((DOCS / "benchmarks.json").read_text()))
