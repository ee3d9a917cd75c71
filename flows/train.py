"""Train: learn the word of a persona from its references, evaluate it on the way, register it and report.

`train_persona` does all of it, for the command and for Prefect (`run_flow`). Its steps are in `tasks.training.steps`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flows import references
from models.system import processes
from models.system.errors import UserError
from tasks.persona import persona as personas
from tasks.references.reference_set import stop_rounds_reason
from tasks.settings.settings import LoadedSettings, load_settings
from tasks.training import steps
from tasks.training.record import TrainingRecord


@dataclass(frozen=True)
class TrainingResult:
    """The finished training, and the page about it."""

    training: TrainingRecord
    page: Path


def train_persona(persona: str, loaded: LoadedSettings, use: bool = False, rounds: int = 0) -> TrainingResult:
    """Teach the model the persona's word. The version becomes the current one if it is no worse, or with `use`.

    With several rounds, references are made again with the new embedding and learned from again, as long as that helps.
    """
    processes.join_processes()
    loaded_persona = personas.find_persona(persona, loaded.folder)
    reference_set = steps.current_references(loaded_persona, loaded)
    settings = loaded.settings.references.model_copy(update={"rounds": rounds or loaded.settings.references.rounds})
    if settings.rounds > 1 and processes.process_count() > 1:
        raise UserError("several processes learn one round together: leave --rounds and references.rounds at 1")
    distances = [reference_set.choice.figures.get("distance", 0.0)]
    while True:
        plan = steps.plan_training(loaded_persona, reference_set, loaded)
        training = steps.run_training(plan, loaded_persona, loaded)
        if not processes.is_leader():
            raise SystemExit(0)  # the leading process does the rest
        registered = steps.register_best(training, loaded_persona, loaded, use)
        page = steps.write_report(registered, loaded)
        if stop_rounds_reason(distances, settings) or not registered.current:  # a worse word makes worse references
            return TrainingResult(registered, page)
        embedding = loaded.studio / registered.best_point.word
        reference_set = references.make_references(
            loaded_persona.name, loaded, word=embedding, round=len(distances) + 1
        ).reference_set
        distances.append(reference_set.choice.figures.get("distance", 0.0))


def run_flow(persona: str, use: bool = False, rounds: int = 0, settings: str = "") -> str:
    """Teach the model the word of a persona.

    Args:
        persona: The name of a file in prompts/, without .toml.
        use: Make the version the current one even where it is worse.
        rounds: How often references are made and learned from, each time with what was learned; 0: settings.toml's.
        settings: The settings file; empty takes settings.toml of the folder the worker runs in.
    """
    return str(train_persona(persona, load_settings(Path(settings) if settings else None), use, rounds).page)
