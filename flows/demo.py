"""The demonstration: everything there is so far, offline, with the model that ships with restage."""

from collections.abc import Iterator
from pathlib import Path

from models.errors import UserError
from models.files import write
from tasks import generate, replay
from tasks.artifacts import Artifacts
from tasks.settings import Loaded

PROMPT = "a portrait of a teal fox in the forest"
SEED, COUNT, GUIDANCE = 11, 4, 3.5


def demo(loaded: Loaded) -> Iterator[str]:
    machine = generate.machine(loaded)
    shots = generate.shots(loaded, machine, PROMPT, SEED, COUNT, guidance=GUIDANCE)
    paths = generate.generate(shots, machine, Artifacts(loaded.studio), "four pictures")
    yield f"{len(paths)} pictures of {PROMPT!r}, seeds {SEED} to {SEED + COUNT - 1}:"
    yield from (f"  {_near(path)}" for path in paths)
    again = replay.replay(paths[0], loaded)
    if not again.identical_pixels:
        raise UserError(f"{paths[0]}: {again}")
    yield f"replay of the first: {again}"
    sheet = loaded.studio / "demo" / "contact-sheet.png"
    write(sheet, generate.sheet(paths, PROMPT))
    yield f"contact sheet: {_near(sheet)}"


def _near(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
