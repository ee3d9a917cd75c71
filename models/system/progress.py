"""Shows progress: one live bar with an ETA in a terminal, and a plain line now and then in a log."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

PLAIN_EVERY_SECONDS = 15.0  # between lines in a log


class Advance(Protocol):
    """Reports how many steps have just been done, with an optional note about the last one."""

    def __call__(self, count: int, note: str = "", /) -> None: ...


@contextmanager
def show_progress(title: str, total: int, unit: str = "", done: int = 0) -> Iterator[Advance]:
    """Show the progress of `total` steps, `done` of them before. Call the yielded function after every few steps."""
    if total <= 0:
        yield lambda _, note="": None
        return
    with (_show_live if sys.stderr.isatty() else _show_plain)(title, total, unit, done) as advance:
        yield advance


@contextmanager
def show_spinner(title: str) -> Iterator[None]:
    """Show a spinner during work of unknown length, such as loading a model; print nothing in a log."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(escape(title)):
        yield


@contextmanager
def _show_live(title: str, total: int, unit: str, before: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("[dim]elapsed"),
        TimeElapsedColumn(),
        TextColumn("[dim]left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=total, completed=before, note="")

        def advance(count: int, note: str = "", /) -> None:
            if note:
                progress.update(task, note=note)
            progress.advance(task, count)

        yield advance


@contextmanager
def _show_plain(title: str, total: int, unit: str, before: int) -> Iterator[Advance]:
    begun = last = time.monotonic()
    count_done = before
    say = f"{title}: {{}}/{total} {unit}".rstrip()

    def advance(count: int, note: str = "", /) -> None:
        nonlocal count_done, last
        count_done += count
        now = time.monotonic()
        if now - last >= PLAIN_EVERY_SECONDS and count_done < total:
            last = now
            remaining = (now - begun) / (count_done - before) * (total - count_done) if count_done > before else 0
            print(
                f"{say.format(count_done)}, {_format_time(remaining)} left{f', {note}' if note else ''}",
                file=sys.stderr,
                flush=True,
            )

    yield advance
    print(f"{say.format(count_done)} in {_format_time(time.monotonic() - begun)}", file=sys.stderr, flush=True)


def _format_time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
