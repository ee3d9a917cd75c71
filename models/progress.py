"""A calm terminal: one live bar with an ETA for the long thing under way; plain, rare lines where nobody watches."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int], None]
PLAIN_EVERY = 15.0  # seconds between lines in a log


@contextmanager
def bar(title: str, total: int, unit: str = "") -> Iterator[Advance]:
    """Show how far `total` steps have come. Call what this yields with the number of steps just done."""
    if total <= 0:
        yield lambda _: None
        return
    with (_live if sys.stderr.isatty() else _plain)(title, total, unit) as advance:
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
def _live(title: str, total: int, unit: str) -> Iterator[Advance]:
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
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=total)
        yield lambda count: progress.advance(task, count)


@contextmanager
def _plain(title: str, total: int, unit: str) -> Iterator[Advance]:
    begun = last = time.monotonic()
    done = 0
    say = f"{title}: {{}}/{total} {unit}".rstrip()

    def advance(count: int) -> None:
        nonlocal done, last
        done += count
        now = time.monotonic()
        if now - last >= PLAIN_EVERY and done < total:
            last = now
            left = (now - begun) / done * (total - done) if done else 0
            print(f"{say.format(done)}, {_clock(left)} left", file=sys.stderr, flush=True)

    yield advance
    print(f"{say.format(done)} in {_clock(time.monotonic() - begun)}", file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
