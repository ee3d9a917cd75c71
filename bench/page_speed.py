"""The page's sections on speed and memory."""

from __future__ import annotations

from bench import plot
from bench.telling import Result, Section, Told, bytes_of, milliseconds, percent, short, times

Rows = list[list[str]]


def rendering(found: Result) -> Told:
    rows = [row for row in found["rows"] if "failed" not in row]
    usual = next(row for row in rows if row["way"] == "as it comes")
    table: Rows = [["way", "pictures a second", "times the plain pipeline", "by CPU time", "mean difference, of 255"]]
    table += [
        [
            row["way"],
            short(row["pictures a second"]),
            times(row["times as fast"]),
            times(row["times as fast by CPU time"]),
            short(row["mean difference of pixels, of 255"]),
        ]
        for row in rows
    ]
    ratios = {row["way"]: row["times as fast by CPU time"] for row in rows}
    says = (
        f"Pictures come {times(usual['times as fast'])} times as fast as from diffusers' own pipeline called in a loop "
        f"({times(usual['times as fast by CPU time'])} by CPU time); their pixels differ by "
        f"{short(usual['mean difference of pixels, of 255'])} of 255 on average."
    )
    label = "Times the plain pipeline's speed, by CPU time"
    return Told(
        says, table, {"rendering": plot.bars(ratios, label, 1.0)}, [f"{label}; the dashed line is the plain pipeline."]
    )


def training_step(found: Result) -> Told:
    table: Rows = [["side", "batch", "step", "floor", "step / floor", "common recipe / step"]]
    for row in found["rows"]:
        table.append(
            [
                f"{row['side']:.0f}",
                f"{row['batch']:.0f}",
                milliseconds(row["step"]),
                milliseconds(row["floor"]),
                times(row["ratio of pairs"]),
                times(row["recipe over step"]) if "recipe over step" in row else "-",
            ]
        )
    last = found["rows"][-1]
    over = f", and the common recipe {times(last['recipe over step'])} times one" if "recipe over step" in last else ""
    says = (
        f"At batches of {last['batch']:.0f} a step takes {times(last['ratio of pairs'])} times the frozen model's own forward "
        f"and backward pass, its floor{over}."
    )
    notes = [
        "The recipe: both embedding tables whole in AdamW, all other rows put back after each step, every picture through the "
        "VAE in every step. A test gives both the same noise and gets the same losses and vectors.",
        "Ratios are medians over pairs of turns, so they may differ from those of the median times.",
    ]
    if peaks := found.get("peak MiB above the loaded model"):
        notes.append(
            "Peak memory above the loaded model: " + ", ".join(f"{name} {peaks[name]:.0f} MiB" for name in peaks) + "."
        )
    return Told(says, table, {}, notes)


def training_tables(found: Result) -> Told:
    ways = found["ways"]
    table: Rows = [
        ["what is optimized", "peak memory above the encoders' tables", "to go on from", "CPU time of a step"]
    ]
    table += [
        [name, bytes_of(way["peak bytes"]), bytes_of(way["checkpoint bytes"]), milliseconds(way["cpu seconds a step"])]
        for name, way in ways.items()
    ]
    ours, theirs = ways["the new vectors"], ways["whole tables"]
    says = (
        f"At SDXL's widths (768 and 1280, {found['words']} words) whole tables cost {bytes_of(theirs['peak bytes'])} beside the "
        f"model and checkpoints of {bytes_of(theirs['checkpoint bytes'])}; the new vectors alone cost "
        f"{bytes_of(ours['peak bytes'])} and {bytes_of(ours['checkpoint bytes'])}."
    )
    return Told(says, table)


def scoring(found: Result) -> Told:
    table: Rows = [["way", "CPU time a picture", "time a picture"]]
    table += [
        [name, milliseconds(way["cpu seconds"]), milliseconds(way["seconds"])] for name, way in found["ways"].items()
    ]
    says = (
        f"CLIP scores pictures {times(found['times as fast by CPU time'])} times as fast by CPU time as one call a picture, and "
        f"what it saw before comes {times(found['times as fast when kept'])} times as fast from disk."
    )
    return Told(says, table)


def board(found: Result) -> Told:
    table: Rows = [["page", "median", "best", "bytes"]]
    table += [
        [f"`{page}`", milliseconds(each["median"]), milliseconds(each["best"]), f"{each['bytes']}"]
        for page, each in found["pages"].items()
    ]
    first = found["pages"]["/"]["median"]
    return Told(f"With {found['posts']} posts the first page of the board takes {milliseconds(first)}.", table)


def prefect_overhead(found: Result) -> Told:
    table: Rows = [["a render of the calendar", "seconds, one run after the other", "mean"]]
    for way in ("directly", "as a flow"):
        table.append([way, ", ".join(f"{each:.1f}" for each in found[way]), times(sum(found[way]) / len(found[way]))])
    note = "Part of that is Prefect waiting for the thread of its heartbeats, which ends on whole seconds, whatever a flow does."
    return Told(f"Prefect adds {percent(found['share'])} to a render of {found['days']} days.", table, {}, [note])


DONE = {
    (
        "training",
        "convolutions",
    ): "the weights get no gradients, only the inputs; pictures pass the VAE once, not in every step",
    ("training", "linear layers"): "the weights get no gradients; all vectors of the word are put in by one lookup",
    ("training", "attention"): "torch's fused kernels, forward and backward",
    ("rendering", "convolutions"): "several pictures at once; the rest is the model itself",
    ("rendering", "linear layers"): "keys and values of a prompt are computed once a picture and not in every step",
    ("rendering", "attention"): "torch's fused kernels; prompts are encoded once and kept",
    ("demo", "references"): "candidates in batches, kept with their vectors: a second run makes none of them again",
    ("demo", "training"): "it stops by itself, and previews are made in batches",
    ("demo", "render"): "candidates in batches; more than the first few only where the gates ask for them",
}
"""What was done about a cost; the rest belongs to the models."""


def profiles(found: Result) -> Told:
    table: Rows = [["what", "largest costs", "share", "what was done about it"]]
    for what, costs in found["profiles"].items():
        table += [
            [what, each["name"], percent(each["share"]), DONE.get((what, each["name"]), "nothing")] for each in costs
        ]
    return Told("The three largest costs of a training, of a render and of the demo.", table)


SECTIONS = (
    Section("rendering", "Rendering against the plain pipeline", rendering),
    Section("training_step", "A training step against its floor and the common recipe", training_step),
    Section("training_tables", "Memory of the optimizer at SDXL's widths", training_tables),
    Section("scoring", "CLIP scoring", scoring),
    Section("board", "The board under load", board),
    Section("prefect_overhead", "What Prefect costs", prefect_overhead),
    Section("profiles", "Where the time goes", profiles),
)
