"""What there is to measure: each part a module of its own, run as a process, with the options that fit a small machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.system.errors import UserError


@dataclass(frozen=True)
class Part:
    """One benchmark and how `make bench` asks for it."""

    name: str
    subject: str
    arguments: tuple[str, ...] = ()
    out: str = ""
    """What it writes, under bench/results; where nothing is said, its name."""
    leave_out: tuple[str, ...] = ()
    """Keys of its results that are too long for the page."""
    long: bool = False
    """Takes hours: only with --long, or what an earlier run of it left."""

    @property
    def module(self) -> str:
        return f"bench.{self.name}"

    @property
    def file(self) -> str:
        return self.out or f"{self.name}.json"

    @property
    def command(self) -> str:
        return " ".join(["python -m", self.module, *(f"'{each}'" if " " in each else each for each in self.arguments)])


PARTS = (
    Part(
        "rendering",
        "pictures against the plain pipeline",
        ("--pictures", "16", "--ways", "as it comes", "batches of 1", "without kept", "guidance"),
    ),
    Part("training_step", "a training step against its floor and the common recipe", ("--rounds", "30")),
    Part("training_tables", "what an optimizer of whole tables holds at SDXL's widths"),
    Part("scoring", "CLIP in batches against one by one"),
    Part("training_growth", "training with more vectors and more references"),
    Part("references_growth", "choosing among more candidates", ("--counts", "250", "500", "1000", "2000", "5000")),
    Part("store_growth", "the store with more posts"),
    Part("calendar_growth", "the calendar of more personas"),
    Part("board", "the board with two thousand posts"),
    Part("faults", "faults and crashes while publishing", ("--share", "0.02", "--kills", "6")),
    Part("profiles", "where the time of a training, a render and the demo goes"),
    Part("prefect_overhead", "what Prefect adds to a render, in what the demo left", ("bench/work/demo",)),
    Part("toybox", "what the built-in model can do", out="toybox/figures.json", long=True),
    Part("references", "one character found among many", leave_out=("personas",), long=True),
    Part("training", "what a word learns, and when it is enough", leave_out=("characters",), long=True),
    Part("renders", "posts that show the character in its scene", long=True),
)


def chosen(names: Sequence[str], long: bool, known: Sequence[Part] = PARTS) -> list[Part]:
    """The parts of these names; without names all but the long ones, or only the long ones."""
    there = {part.name: part for part in known}
    for name in names:
        if name not in there:
            raise UserError(f"there is no benchmark called {name!r}: choose from {', '.join(there)}")
    return [there[name] for name in names] or [part for part in known if part.long == long]
