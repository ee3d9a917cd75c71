"""Render: make candidates of what is due, and turn the best that passes the gates into a post that awaits review.

`render_posts` does all of it, for the command and for Prefect (`flow()`). The functions after it are its steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks import step
from tasks.persona import persona as personas
from tasks.persona.persona import Persona
from tasks.render import due_posts as rendering_step
from tasks.render import report
from tasks.render.candidates import CandidateRenderer, OccurrenceCandidates
from tasks.render.due_posts import DateSpan, RenderPlan
from tasks.render.results import RenderedPost, RenderJob, RenderResult
from tasks.settings.settings import LoadedSettings
from tasks.store.store import Store

if TYPE_CHECKING:
    from prefect import Flow


DUE_NOW = DateSpan()
"""Everything that is due by now and was not rendered."""


@dataclass(frozen=True)
class RenderFlowResult:
    """What was rendered, and the page about it; the page is None if there was nothing to show."""

    render_posts: RenderResult
    page: Path | None


def render_posts(
    persona: str,
    loaded: LoadedSettings,
    span: DateSpan = DUE_NOW,
    again: bool = False,
    candidates: int = 0,
    now: datetime | None = None,
) -> RenderFlowResult:
    """Make posts of all that is due in the span, or until now. What has a post already is left alone.

    `again` also tries the drafts of which no candidate passed. `candidates` overrules the calendar and the settings.
    """
    loaded = loaded.with_clock_at(now)
    loaded_persona = personas.find_persona(persona, loaded.folder)
    render_plan = find_due(loaded_persona, loaded, span, loaded.clock(), again)
    posts, problems, renderer = (
        list(render_plan.there),
        list(render_plan.problems),
        CandidateRenderer(loaded_persona, loaded, candidates),
    )
    for wave in rendering_step.dependency_order(render_plan.jobs):
        occurrences = render_candidates(wave, renderer)
        posts += choose_and_store(occurrences, renderer)
        problems += renderer.take_problems()
    posts.sort(key=lambda rendered_post: (rendered_post.post.content.when.astimezone(UTC), rendered_post.post.key))
    problems = list(dict.fromkeys(problems))  # one shot may be due on several days
    result = RenderResult(
        loaded_persona.name,
        loaded_persona.token,
        posts,
        problems,
        [*render_plan.notes, *renderer.notes],
        renderer.reference_paths,
    )
    return RenderFlowResult(result, write_report(result, loaded) if posts or problems else None)


@step.step("plan")
def find_due(persona: Persona, loaded: LoadedSettings, span: DateSpan, now: datetime, again: bool) -> RenderPlan:
    """Find what is due and has no post, and which drafts wait for a picture."""
    with closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store:
        return rendering_step.plan_render(persona, store, span, now, again)


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


def flow() -> Flow[..., Any]:
    """Build the same run as a Prefect flow, for deployments."""
    from prefect import flow as prefect_flow

    def run_flow(
        persona: str, days: int = 0, since: str = "", until: str = "", again: bool = False, settings: str = ""
    ) -> str:
        """Make the posts of a persona that are due, for review.

        Args:
            persona: The name of a file in prompts/, without .toml.
            days: Render so many days ahead, from the first one or from today; 0: what is due until now.
            since: The first day, such as 2026-12-24; empty: since the last render.
            until: The last day; empty: today, or as many days as are said above.
            again: Also try the shots again of which no candidate passed.
            settings: The settings file; empty takes settings.toml of the folder the worker runs in.
        """
        from tasks.settings.settings import load_settings

        outcome = render_posts(
            persona, load_settings(Path(settings) if settings else None), DateSpan(since, until, days), again
        )
        if outcome.render_posts.failures:
            raise RuntimeError(_failure_message(outcome))
        return str(outcome.page or "nothing is due")

    return prefect_flow(name="render", flow_run_name="posts of {persona}", persist_result=False)(run_flow)


def _failure_message(outcome: RenderFlowResult) -> str:
    """List the failures, and say that the other posts were rendered all the same."""
    return "\n".join([*outcome.render_posts.failures, f"the others are done: {outcome.page}"])
