"""A calm terminal: one live bar with an ETA for the long thing under way; plain, rare lines where nobody watches."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

PLAIN_EVERY = 15.0  # seconds between lines in a log


class Advance(Protocol):
    """Tells how many steps were just done, and what else is worth saying about the last of them."""

    def __call__(self, count: int, note: str = "", /) -> None: ...


@contextmanager
def bar(title: str, total: int, unit: str = "", done: int = 0) -> Iterator[Advance]:
    """Show how far `total` steps have come, `done` of them before. Call what this yields with the number just done."""
    if total <= 0:
        yield lambda _, note="": None
        return
    with (_live if sys.stderr.isatty() else _plain)(title, total, unit, done) as advance:
        yield advance


@contextmanager
def waiting(title: str) -> Iterator[None]:
    """While something of unknown length is under way, such as loading a model: a spinner, or nothing in a log."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(escape(title)):
        yield


@contextmanager
def _live(title: str, total: int, unit: str, before: int) -> Iterator[Advance]:
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
def _plain(title: str, total: int, unit: str, before: int) -> Iterator[Advance]:
    begun = last = time.monotonic()
    done = before
    say = f"{title}: {{}}/{total} {unit}".rstrip()

    def advance(count: int, note: str = "", /) -> None:
        nonlocal done, last
        done += count
        now = time.monotonic()
        if now - last >= PLAIN_EVERY and done < total:
            last = now
            left = (now - begun) / (done - before) * (total - done) if done > before else 0
            print(f"{say.format(done)}, {_clock(left)} left{f', {note}' if note else ''}", file=sys.stderr, flush=True)

    yield advance
    print(f"{say.format(done)} in {_clock(time.monotonic() - begun)}", file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
