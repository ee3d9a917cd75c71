"""Steps of the references flow: make candidates, measure them, choose with reasons, and report."""

from __future__ import annotations

from pathlib import Path

from tasks import step
from tasks.pictures import generate
from tasks.references import candidates, choose, lint, measure, measurements, own_pictures, report
from tasks.references.candidates import CandidatePlan, CandidatePool
from tasks.references.reference_set import ReferenceSet, ReferenceSetStore
from tasks.settings.settings import LoadedSettings
from tasks.store.picture_files import PictureFiles


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
