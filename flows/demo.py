"""The demonstration: everything there is so far, offline, with the model that ships with restage."""

from collections.abc import Iterator
from pathlib import Path

from flows.references import references
from flows.train import train
from models.errors import UserError
from tasks import replay
from tasks.report_references import tally
from tasks.report_training import lines
from tasks.settings import Loaded

PERSONA = "pip"


def demo(loaded: Loaded) -> Iterator[str]:
    """References of the persona that ships, each with its reason; its word, learned from them; one picture made again."""
    yield f"{PERSONA}: candidates from a fixed seed and prompt, filtered by likeness"
    outcome = references(PERSONA, loaded)
    choice = outcome.made.choice
    yield f"{len(choice.order)} of {len(choice.verdicts)} chosen; dropped: {tally(choice)}"
    yield from (f"  worth knowing: {finding.what}" for finding in choice.findings)
    first = loaded.studio / choice.chosen[0].candidate.path
    again = replay.replay(first, loaded)
    if not again.identical_pixels:
        raise UserError(f"{first}: {again}")
    yield f"replay of the first: {again}"
    yield f"contact sheet: {_near(outcome.page.with_name('sheet.png'))}"
    yield f"every picture with its reason: {_near(outcome.page)}"
    yield f"{PERSONA}: the model learns the word from these references, and stops by itself"
    learned = train(PERSONA, loaded)
    yield from (f"  {line}" for line in lines(learned.training))
    yield f"what it learned, step by step: {_near(learned.page)}"


def _near(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
