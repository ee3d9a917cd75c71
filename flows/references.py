"""References: make candidates from a fixed seed and prompt, measure them, choose with reasons, and report.

`make_references` does all of it, for the command and for Prefect (`flow()`). The functions after it are its steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.system.errors import UserError
from tasks import step
from tasks.persona import persona as personas
from tasks.pictures import generate
from tasks.references import candidates, choose, lint, measure, measurements, own_pictures, report
from tasks.references.candidates import CandidatePlan, CandidatePool
from tasks.references.reference_set import ReferenceSet, ReferenceSetStore
from tasks.settings.settings import LoadedSettings
from tasks.store.picture_files import PictureFiles

if TYPE_CHECKING:
    from prefect import Flow


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
        pool = make_candidates(plan, loaded)
        if fill_round == 0 and (keep or drop or forget):
            ReferenceSetStore(loaded.studio, plan.persona.name).decide_manually(pool.candidate_ids, keep, drop, forget)
        measured = measure_candidates(plan, pool, loaded)
        reference_set = choose_references(plan, pool, measured, loaded)
        page = write_report(reference_set, measured, loaded)
        missing = lint.missing_shots(reference_set.choice.findings)
        if not missing:
            break
        plan = plan.with_cells(missing)
    if reference_set.choice.problem:
        raise UserError(
            f"{plan.persona.name}: {reference_set.choice.problem} ({page} shows every candidate with its reason)"
        )
    return ReferencesResult(reference_set, page)


@step.step("generate", retries=1, gpu=True)
def make_candidates(plan: CandidatePlan, loaded: LoadedSettings) -> CandidatePool:
    """Make the candidates that are missing, or load the user's own pictures."""
    artifacts = PictureFiles(loaded.studio)
    machine = generate.model_setup(loaded, plan.persona.model)
    if plan.persona.references.source == "folder":
        width, height = generate.picture_size(loaded, machine)
        folder_pictures = own_pictures.load_folder(plan.persona.folder, width, height, artifacts.root)
        return candidates.from_folder(folder_pictures.pictures, folder_pictures.skipped, min(width, height), artifacts)
    shots = generate.shots_for_prompts(
        loaded, machine, plan.candidate_prompts(), plan.candidate_seeds(), plan.embedding, **plan.setting_overrides()
    )
    generate.generate_pictures(shots, machine, artifacts, "candidates")
    return candidates.from_shots(plan, shots, artifacts)


@step.step("score", retries=1, gpu=True)
def measure_candidates(plan: CandidatePlan, pool: CandidatePool, loaded: LoadedSettings) -> Path:
    """Measure what every candidate shows."""
    return measure.measure_candidates(pool.candidates, plan.persona, loaded)


@step.step("choose")
def choose_references(plan: CandidatePlan, pool: CandidatePool, measured: Path, loaded: LoadedSettings) -> ReferenceSet:
    """Choose with reasons, check what would be learned by mistake, and save the set."""
    settings, scores = loaded.settings.references, measurements.load_measurements(measured)
    # A word says who it is: all but strays are one character, and groups among them would be groups of places.
    identity = "core" if plan.embedding else plan.persona.references.identity
    settings = settings.model_copy(update={"identity": identity or settings.identity})
    shelf = ReferenceSetStore(loaded.studio, plan.persona.name)
    choice = choose.choose_reference_set(pool.candidates, scores, settings, plan.keep, shelf.manual_decisions())
    choice = lint.with_findings(choice, pool.candidates, scores, plan.persona, settings, pool.side)
    reference_set = ReferenceSet.from_choice(plan.persona, plan.round, settings, scores.scorer, choice, pool.skipped)
    shelf.save_set(reference_set, current=not choice.problem)
    return reference_set


@step.step("report")
def write_report(reference_set: ReferenceSet, measured: Path, loaded: LoadedSettings) -> Path:
    """Write the page and the contact sheet; in Prefect, show them there too."""
    page = report.write_report(reference_set, measurements.load_measurements(measured), loaded.studio)
    if step.in_flow_run():
        text = report.as_markdown(reference_set, page.with_name("sheet.png"))
        step.publish_markdown(f"references-{reference_set.persona}", text, f"References of {reference_set.persona}")
    return page


def flow() -> Flow[..., Any]:
    """Build the same run as a Prefect flow, for deployments: its parameters make a form, and its run name says what it does."""
    from prefect import flow as prefect_flow

    def run_flow(persona: str, fill: bool = False, settings: str = "") -> str:
        """Choose the reference pictures of a persona.

        Args:
            persona: The name of a file in prompts/, without .toml.
            fill: Also make the shots that turn out to be missing, and choose again.
            settings: The settings file; empty takes settings.toml of the folder the worker runs in.
        """
        from tasks.settings.settings import load_settings

        outcome = make_references(persona, load_settings(Path(settings) if settings else None), fill)
        return str(outcome.page)

    return prefect_flow(name="references", flow_run_name="references of {persona}", persist_result=False)(run_flow)
