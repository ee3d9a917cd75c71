"""Steps of the render flow: find what is due, render candidates, choose and store posts, and report."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path

from tasks import step
from tasks.persona.persona import Persona
from tasks.render import due_posts, report
from tasks.render.candidates import CandidateRenderer, OccurrenceCandidates
from tasks.render.due_posts import DateSpan, RenderPlan
from tasks.render.results import RenderedPost, RenderJob, RenderResult
from tasks.settings.settings import LoadedSettings
from tasks.store.store import Store


@step.step("plan")
def find_due(persona: Persona, loaded: LoadedSettings, span: DateSpan, now: datetime, again: bool) -> RenderPlan:
    """Find what is due and has no post, and which drafts wait for a picture."""
    with closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store:
        return due_posts.plan_render(persona, store, span, now, again)


@step.step("candidates", retries=1, gpu=True)
def render_candidates(jobs: Sequence[RenderJob], renderer: CandidateRenderer) -> list[OccurrenceCandidates]:
    """Render candidates of all jobs together, and more of those of which none passed."""
    return renderer.render_candidates(jobs)


@step.step("posts", retries=1, gpu=True)
def choose_and_store(occurrences: Sequence[OccurrenceCandidates], renderer: CandidateRenderer) -> list[RenderedPost]:
    """Choose the best candidate of each occurrence that resembles no other post, finish it, and store it."""
    return renderer.choose_and_store(occurrences)


@step.step("report")
def write_report(result: RenderResult, loaded: LoadedSettings) -> Path:
    """Write the page and the contact sheet; in Prefect, show them there too."""
    page = report.write_report(result, loaded.studio)
    if step.in_flow_run():
        text = report.report_markdown(result, page.with_name("sheet.png"))
        step.publish_markdown(f"render-{result.persona}", text, f"Posts of {result.persona}")
    return page
