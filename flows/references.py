"""References: make candidates from a fixed seed and prompt, measure them, choose with reasons, and report.

`make_references` does all of it, for the command and for Prefect (`run_flow`). Its steps are in `tasks.references.steps`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.system.errors import UserError
from tasks.persona import persona as personas
from tasks.references import lint, steps
from tasks.references.candidates import CandidatePlan
from tasks.references.reference_set import ReferenceSet, ReferenceSetStore
from tasks.settings.settings import LoadedSettings, load_settings


@dataclass(frozen=True)
class ReferencesResult:
    """The current reference set, and the page about it."""

    reference_set: ReferenceSet
    page: Path


def make_references(
    persona: str,
    loaded: LoadedSettings,
    fill: bool = False,
    keep: Sequence[str] = (),
    drop: Sequence[str] = (),
    forget: Sequence[str] = (),
    word: Path | None = None,
    round: int = 1,
) -> ReferencesResult:
    """Make, score, choose and report a persona's references; with `fill`, also the shots that turn out to be missing.

    `word` is a learned embedding to make the candidates with, in rounds after the first.
    """
    plan = CandidatePlan.for_persona(
        personas.find_persona(persona, loaded.folder), loaded.settings.references, word, round
    )
    for fill_round in range(1 + fill * loaded.settings.references.fill_rounds):
        pool = steps.make_candidates(plan, loaded)
        if fill_round == 0 and (keep or drop or forget):
            ReferenceSetStore(loaded.studio, plan.persona.name).decide_manually(pool.candidate_ids, keep, drop, forget)
        measured = steps.measure_candidates(plan, pool, loaded)
        reference_set = steps.choose_references(plan, pool, measured, loaded)
        page = steps.write_report(reference_set, measured, loaded)
        missing = lint.missing_shots(reference_set.choice.findings)
        if not missing:
            break
        plan = plan.with_cells(missing)
    if reference_set.choice.problem:
        raise UserError(
            f"{plan.persona.name}: {reference_set.choice.problem} ({page} shows every candidate with its reason)"
        )
    return ReferencesResult(reference_set, page)


def run_flow(persona: str, fill: bool = False, settings: str = "") -> str:
    """Choose the reference pictures of a persona.

    Args:
        persona: The name of a file in prompts/, without .toml.
        fill: Also make the shots that turn out to be missing, and choose again.
        settings: The settings file; empty takes settings.toml of the folder the worker runs in.
    """
    outcome = make_references(persona, load_settings(Path(settings) if settings else None), fill)
    return str(outcome.page)
