"""References: candidates from a fixed seed and prompt, looked at, chosen with reasons, reported.

`references` is the whole way, the same for the command and for Prefect (`flow()`); what follows it are its steps.
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
from tasks.references.candidates import Gathered, Plan
from tasks.references.reference_set import ReferenceSet, Shelf
from tasks.settings.settings import Loaded
from tasks.store.picture_files import Artifacts

if TYPE_CHECKING:
    from prefect import Flow


@dataclass(frozen=True)
class Outcome:
    """The reference set that is there now, and the page about it."""

    made: ReferenceSet
    page: Path


def references(
    persona: str,
    loaded: Loaded,
    fill: bool = False,
    keep: Sequence[str] = (),
    drop: Sequence[str] = (),
    forget: Sequence[str] = (),
    word: Path | None = None,
    round: int = 1,
) -> Outcome:
    """Make, score, choose and report a persona's references; with `fill`, also the shots that turn out to be missing.

    `word` is a learned embedding to make the candidates with, in rounds after the first.
    """
    plan = Plan.first(personas.find(persona, loaded.folder), loaded.settings.references, word, round)
    for turn in range(1 + fill * loaded.settings.references.fill_rounds):
        gathered = gather(plan, loaded)
        if turn == 0 and (keep or drop or forget):
            Shelf(loaded.studio, plan.persona.name).overrule(gathered.ids, keep, drop, forget)
        measured = look(plan, gathered, loaded)
        made = decide(plan, gathered, measured, loaded)
        page = tell(made, measured, loaded)
        missing = lint.wanted(made.choice.findings)
        if not missing:
            break
        plan = plan.with_cells(missing)
    if made.choice.problem:
        raise UserError(f"{plan.persona.name}: {made.choice.problem} ({page} shows every candidate with its reason)")
    return Outcome(made, page)


@step.step("generate", retries=1, gpu=True)
def gather(plan: Plan, loaded: Loaded) -> Gathered:
    """Make the candidates that are not there yet, or take pictures of one's own."""
    artifacts = Artifacts(loaded.studio)
    machine = generate.machine(loaded, plan.persona.model)
    if plan.persona.references.source == "folder":
        width, height = generate.size(loaded, machine)
        own = own_pictures.collect(plan.persona.folder, width, height, artifacts.root)
        return candidates.from_folder(own.pictures, own.skipped, min(width, height), artifacts)
    shots = generate.series(loaded, machine, plan.prompts(), plan.seeds(), plan.word, **plan.changes())
    generate.generate(shots, machine, artifacts, "candidates")
    return candidates.from_shots(plan, shots, artifacts)


@step.step("score", retries=1, gpu=True)
def look(plan: Plan, gathered: Gathered, loaded: Loaded) -> Path:
    """Measure what every candidate shows."""
    return measure.score(gathered.candidates, plan.persona, loaded)


@step.step("choose")
def decide(plan: Plan, gathered: Gathered, measured: Path, loaded: Loaded) -> ReferenceSet:
    """Choose with reasons, look for what would be learned by mistake, and keep the set."""
    knobs, found = loaded.settings.references, measurements.read(measured)
    # A word says who it is: all but strays are one character, and groups among them would be groups of places.
    identity = "core" if plan.word else plan.persona.references.identity
    knobs = knobs.model_copy(update={"identity": identity or knobs.identity})
    shelf = Shelf(loaded.studio, plan.persona.name)
    choice = choose.choose(gathered.candidates, found, knobs, plan.keep, shelf.overrules())
    choice = lint.with_findings(choice, gathered.candidates, found, plan.persona, knobs, gathered.side)
    made = ReferenceSet.of(plan.persona, plan.round, knobs, found.scorer, choice, gathered.skipped)
    shelf.put(made, current=not choice.problem)
    return made


@step.step("report")
def tell(made: ReferenceSet, measured: Path, loaded: Loaded) -> Path:
    """Write the page and the contact sheet; in Prefect, show them there too."""
    page = report.report(made, measurements.read(measured), loaded.studio)
    if step.in_flow_run():
        text = report.markdown(made, page.with_name("sheet.png"))
        step.show(f"references-{made.persona}", text, f"References of {made.persona}")
    return page


def flow() -> Flow[..., Any]:
    """The same as a Prefect flow, for deployments: parameters that make a form, one run name that says what it does."""
    from prefect import flow as prefect_flow

    def run(persona: str, fill: bool = False, settings: str = "") -> str:
        """Choose the reference pictures of a persona.

        Args:
            persona: The name of a file in prompts/, without .toml.
            fill: Also make the shots that turn out to be missing, and choose again.
            settings: The settings file; empty takes settings.toml of the folder the worker runs in.
        """
        from tasks.settings.settings import load

        outcome = references(persona, load(Path(settings) if settings else None), fill)
        return str(outcome.page)

    return prefect_flow(name="references", flow_run_name="references of {persona}", persist_result=False)(run)
