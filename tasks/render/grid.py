"""Render a grid of one persona over two fields of a shot, to see what a setting does before it is changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.system.errors import UserError
from tasks.persona import persona as personas
from tasks.persona.persona import Persona
from tasks.pictures import generate
from tasks.pictures.generate import ModelSetup
from tasks.render import grid_page as step
from tasks.render.grid_page import GridAxis
from tasks.settings.settings import LoadedSettings
from tasks.store.picture_files import PictureFiles
from tasks.store.store import Store
from tasks.training import previews, versions


def make_grid(
    persona: str, loaded: LoadedSettings, across: GridAxis, down: GridAxis, prompt: str, seed: int
) -> tuple[Path, Path]:
    """Render the missing pictures and lay them out; return the PNG and the page."""
    loaded_persona = personas.find_persona(persona, loaded.folder)
    prompt = prompt or previews.list_previews(loaded_persona, 1)[0].prompt
    planned = [_cell_shot(loaded_persona, loaded, prompt, seed, cell) for cell in step.grid_cells(across, down)]
    artifacts = PictureFiles(loaded.studio)
    machines = {setup.source.ref.hash: setup for setup, _ in planned}
    for digest, setup in machines.items():
        model_shots = [shot for other, shot in planned if other.source.ref.hash == digest]
        generate.generate_pictures(model_shots, setup, artifacts, f"grid of {loaded_persona.name}")
    shots = [shot for _, shot in planned]
    paths = [artifacts.picture_path(shot.id) for shot in shots]
    title = loaded_persona.name if "prompt" in (across.field, down.field) else f"{loaded_persona.name}: {prompt}"
    return step.write_grid(shots, paths, across, down, title, loaded.studio / "grids" / loaded_persona.name)


def _cell_shot(
    persona: Persona, loaded: LoadedSettings, prompt: str, seed: int, cell: Mapping[str, Any]
) -> tuple[ModelSetup, Any]:
    references = persona.references
    setup = generate.model_setup(loaded, cell.get("model", persona.model))
    embedding = _embedding_file(persona, loaded, cell.get("embedding", ""))
    subject = persona.token if embedding else persona.subject
    text = cell.get("prompt", prompt).replace("{subject}", subject)
    if not embedding and persona.token in text:
        raise UserError(
            f"the prompt names {persona.token}, and no version of it is in use: write {{subject}} in its place"
        )
    changes: dict[str, Any] = {
        "negative": references.negative,
        "guidance": references.guidance,
        "steps": references.steps,
    }
    changes |= {name: value for name, value in cell.items() if name not in ("prompt", "model", "embedding", "lora")}
    cell_seed = int(changes.pop("seed", seed))
    embeddings = [embedding] if embedding and persona.token in text else []
    loras = _parse_lora(str(cell.get("lora", "")), loaded)
    [shot] = generate.shots_for_seeds(loaded, setup, text, cell_seed, 1, None, embeddings, loras, **changes)
    return setup, shot


def _embedding_file(persona: Persona, loaded: LoadedSettings, requested: str) -> Path | None:
    """Find the file of a version (`v2`, `2`), of the current version, or any file; None for `none` or without a version."""
    if requested == step.NONE:
        return None
    file = Path(loaded.resolve_path(requested)) if requested else None
    if file and file.is_file():
        return file
    number = requested.removeprefix("v")
    if requested and not number.isdecimal():
        raise UserError(
            f"embedding {requested!r} is no version of {persona.name}, such as v2, no file, and not {step.NONE}"
        )
    store = Store.open(loaded.database, loaded.studio, clock=loaded.clock)
    try:
        version = (
            versions.find_version(store, persona.name, int(number))
            if number
            else versions.current_version(store, persona.name)
        )
    finally:
        store.close()
    return loaded.studio / version.file if version else None


def _parse_lora(requested: str, loaded: LoadedSettings) -> dict[Path, float]:
    if requested in ("", step.NONE):
        return {}
    path, colon, weight = requested.rpartition(":")
    try:
        return {Path(loaded.resolve_path(path if colon else weight)): float(weight) if colon else 1.0}
    except ValueError:
        return {Path(loaded.resolve_path(requested)): 1.0}
