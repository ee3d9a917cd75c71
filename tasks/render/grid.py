"""Grids: one persona over two fields of a shot, to see what a knob does before it is set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.system.errors import UserError
from tasks.persona import persona as personas
from tasks.persona.persona import Persona
from tasks.pictures import generate
from tasks.pictures.generate import Machine
from tasks.render import grid_page as step
from tasks.render.grid_page import Axis
from tasks.settings.settings import Loaded
from tasks.store.picture_files import Artifacts
from tasks.store.store import Store
from tasks.training import previews, versions


def grid(persona: str, loaded: Loaded, across: Axis, down: Axis, prompt: str, seed: int) -> tuple[Path, Path]:
    """Make the pictures that are not there yet, and lay them out; returns the PNG and the page."""
    who = personas.find(persona, loaded.folder)
    prompt = prompt or previews.previews(who, 1)[0].prompt
    planned = [_shot(who, loaded, prompt, seed, cell) for cell in step.cells(across, down)]
    artifacts = Artifacts(loaded.studio)
    machines = {machine.source.ref.hash: machine for machine, _ in planned}
    for digest, machine in machines.items():
        own = [shot for other, shot in planned if other.source.ref.hash == digest]
        generate.generate(own, machine, artifacts, f"grid of {who.name}")
    shots = [shot for _, shot in planned]
    paths = [artifacts.picture(shot.id) for shot in shots]
    title = who.name if "prompt" in (across.field, down.field) else f"{who.name}: {prompt}"
    return step.report(shots, paths, across, down, title, loaded.studio / "grids" / who.name)


def _shot(who: Persona, loaded: Loaded, prompt: str, seed: int, cell: Mapping[str, Any]) -> tuple[Machine, Any]:
    own = who.references
    machine = generate.machine(loaded, cell.get("model", who.model))
    word = _word(who, loaded, cell.get("embedding", ""))
    subject = who.token if word else who.subject
    said = cell.get("prompt", prompt).replace("{subject}", subject)
    if not word and who.token in said:
        raise UserError(f"the prompt names {who.token}, and no version of it is in use: write {{subject}} in its place")
    changes: dict[str, Any] = {"negative": own.negative, "guidance": own.guidance, "steps": own.steps}
    changes |= {name: value for name, value in cell.items() if name not in ("prompt", "model", "embedding", "lora")}
    chosen = int(changes.pop("seed", seed))
    words = [word] if word and who.token in said else []
    loras = _lora(str(cell.get("lora", "")), loaded)
    [shot] = generate.shots(loaded, machine, said, chosen, 1, None, words, loras, **changes)
    return machine, shot


def _word(who: Persona, loaded: Loaded, asked: str) -> Path | None:
    """The file of a version (`v2`, `2`), of the current one, or any file; none where there is none or `none` is asked for."""
    if asked == step.NONE:
        return None
    file = Path(loaded.place(asked)) if asked else None
    if file and file.is_file():
        return file
    number = asked.removeprefix("v")
    if asked and not number.isdecimal():
        raise UserError(f"embedding {asked!r} is no version of {who.name}, such as v2, no file, and not {step.NONE}")
    store = Store.open(loaded.database, loaded.studio, clock=loaded.clock)
    try:
        found = versions.version(store, who.name, int(number)) if number else versions.current(store, who.name)
    finally:
        store.close()
    return loaded.studio / found.file if found else None


def _lora(asked: str, loaded: Loaded) -> dict[Path, float]:
    if asked in ("", step.NONE):
        return {}
    path, colon, weight = asked.rpartition(":")
    try:
        return {Path(loaded.place(path if colon else weight)): float(weight) if colon else 1.0}
    except ValueError:
        return {Path(loaded.place(asked)): 1.0}
