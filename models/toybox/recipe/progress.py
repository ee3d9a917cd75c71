"""How far a stage is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

import torch
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

Row = dict[str, float]


def _text(row: Row) -> str:
    return " ".join(f"{name} {value:.4f}" for name, value in row.items())


def shown(rows: Iterator[Row], stage: str, seconds_between: float = 60.0) -> Iterator[Row]:
    """Pass the rows on and show where the stage stands; the losses are smoothed over about 50 steps."""
    smooth: Row = {}
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    start = told = time.monotonic()
    first = 0.0
    with Progress(*columns, disable=not sys.stdout.isatty()) as progress:
        task = progress.add_task(stage, total=1.0)
        for row in rows:
            step, done, now = int(row["step"]), row["progress"], time.monotonic()
            first = first or done
            smooth = {k: 0.98 * smooth.get(k, v) + 0.02 * v for k, v in row.items() if k not in ("step", "progress")}
            progress.update(task, completed=done, description=f"{stage} {step} loss {smooth['loss']:.4f}")
            if progress.disable and (now - told > seconds_between or done >= 1):
                left = (now - start) / max(done - first, 1e-6) * (1 - done) / 60
                print(f"{stage} step {step} ({done:.0%}) {_text(smooth)}, {left:.1f} min left", flush=True)
                told = now
            yield row


def sharing(rows: Iterator[Row], every: int = 60, trial: int = 4) -> Iterator[Row]:
    """Pass the rows on with as many threads as pay off right now.

    Beside other work, two threads that wait for each other at every operation can be slower than one: try both now and
    then, keep the faster. Results may differ in the last bits from a run with a fixed number of threads.
    """
    choices = (1, max(os.cpu_count() or 1, 2))
    spent = dict.fromkeys(choices, 0.0)
    torch.set_num_threads(choices[0])
    before = time.monotonic()
    for count, row in enumerate(rows):
        now, place = time.monotonic(), count % every
        if place < 2 * trial:  # the first steps of a stretch are run with one thread, the next with all
            spent[choices[place // trial]] += now - before
        if place == trial - 1:
            torch.set_num_threads(choices[1])
        elif place == 2 * trial - 1:
            torch.set_num_threads(min(choices, key=lambda threads: spent[threads]))
        elif place == every - 1:
            spent = dict.fromkeys(choices, 0.0)
            torch.set_num_threads(choices[0])
        before = time.monotonic()
        yield row
