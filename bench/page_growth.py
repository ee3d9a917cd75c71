"""The page's sections on growth: cost over size, with the exponent of the power law that fits best."""

from __future__ import annotations

from bench import plot
from bench.fitted import exponent
from bench.telling import Result, Section, Told, milliseconds, short

MEANING = "An exponent of 0 does not grow, 1 grows in proportion."


def references_growth(found: Result) -> Told:
    rows = found["rows"]
    seconds = [(row["candidates"], row["seconds"]) for row in rows]
    memory = [(row["candidates"], row["peak_mib"]) for row in rows]
    table = [["candidates", "CPU seconds", "peak MiB"]]
    table += [[str(row["candidates"]), short(row["seconds"]), short(row["peak_mib"])] for row in rows]
    says = (
        f"Choosing references grows with the number of candidates to the power of {exponent(seconds):g} in time and "
        f"{exponent(memory):g} in memory."
    )
    plots = {
        "references_growth": plot.growth(
            {"CPU seconds": seconds, "peak MiB": memory}, "candidates", "choosing references"
        )
    }
    return Told(says, table, plots, [MEANING])


def store_growth(found: Result) -> Told:
    sizes, works = found["posts"], found["works"]
    table = [
        ["posts in the store", *works],
        *([str(n), *(milliseconds(works[w][i]) for w in works)] for i, n in enumerate(sizes)),
    ]
    lines = {name: list(zip(sizes, [1000 * each for each in costs], strict=True)) for name, costs in works.items()}
    table.append(["exponent", *(f"{exponent(line):g}" for line in lines.values())])
    worst = max(lines, key=lambda name: exponent(lines[name]))
    says = (
        f"From {sizes[0]} to {sizes[-1]:,} posts what grows most is to {worst}, to the power of {exponent(lines[worst]):g}; "
        f"there it takes {lines[worst][-1][1]:.3g} ms."
    )
    return Told(says, table, {"store_growth": plot.growth(lines, "posts, CPU milliseconds", "the store")}, [MEANING])


def calendar_growth(found: Result) -> Told:
    rows = found["rows"]
    table = [["personas", "read their files", "plan their next 7 days", "shots due"]]
    table += [[str(r["personas"]), milliseconds(r["read"]), milliseconds(r["plan"]), str(r["due"])] for r in rows]
    lines = {name: [(row["personas"], 1000 * row[name]) for row in rows] for name in ("read", "plan")}
    says = (
        f"Planning a week for {rows[-1]['personas']:,} personas takes {short(rows[-1]['plan'])} s of CPU time, and reading their "
        f"files {short(rows[-1]['read'])} s; they grow to the power of {exponent(lines['plan']):g} and "
        f"{exponent(lines['read']):g}."
    )
    return Told(
        says, table, {"calendar_growth": plot.growth(lines, "personas, CPU milliseconds", "the calendar")}, [MEANING]
    )


def training_growth(found: Result) -> Told:
    table = [["vectors", "CPU time of a step", "checkpoint, bytes"]]
    table += [[str(r["vectors"]), milliseconds(r["step"]), str(r["checkpoint"])] for r in found["vectors"]]
    lines = {
        "a step, by vectors": [(row["vectors"], 1000 * row["step"]) for row in found["vectors"]],
        "a step, by references": [(row["references"], 1000 * row["step"]) for row in found["references"]],
        "the beginning, by references": [(row["references"], 1000 * row["begin"]) for row in found["references"]],
    }
    steps, others, begin = (exponent(line) for line in lines.values())
    says = (
        f"A step's cost grows with the vectors (1 to {found['vectors'][-1]['vectors']}) to the power of {steps:g} and with the "
        f"references to the power of {others:g}; what comes once before, passing the references through the VAE, grows with "
        f"their number to the power of {begin:g}."
    )
    plots = {"training_growth": plot.growth(lines, "vectors or references, CPU milliseconds", "training")}
    return Told(says, table, plots, [MEANING])


SECTIONS = (
    Section("references_growth", "Choosing among more candidates", references_growth),
    Section("store_growth", "The store with more posts", store_growth),
    Section("calendar_growth", "More personas", calendar_growth),
    Section("training_growth", "More vectors, more references", training_growth),
)
