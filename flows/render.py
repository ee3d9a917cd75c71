"""Render: make candidates of what is due, and turn the best that passes the gates into a post that awaits review.

`render_posts` does all of it, for the command and for Prefect (`run_flow`). Its steps are in `tasks.render.steps`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tasks.persona import persona as personas
from tasks.render import due_posts, steps
from tasks.render.candidates import CandidateRenderer
from tasks.render.due_posts import DateSpan
from tasks.render.results import RenderResult
from tasks.settings.settings import LoadedSettings, load_settings

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
    render_plan = steps.find_due(loaded_persona, loaded, span, loaded.clock(), again)
    posts, problems = list(render_plan.there), list(render_plan.problems)
    renderer = CandidateRenderer(loaded_persona, loaded, candidates)
    for wave in due_posts.dependency_order(render_plan.jobs):
        occurrences = steps.render_candidates(wave, renderer)
        posts += steps.choose_and_store(occurrences, renderer)
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
    return RenderFlowResult(result, steps.write_report(result, loaded) if posts or problems else None)


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
    outcome = render_posts(
        persona, load_settings(Path(settings) if settings else None), DateSpan(since, until, days), again
    )
    if outcome.render_posts.failures:
        raise RuntimeError(_failure_message(outcome))
    return str(outcome.page or "nothing is due")


def _failure_message(outcome: RenderFlowResult) -> str:
    """List the failures, and say that the other posts were rendered all the same."""
    return "\n".join([*outcome.render_posts.failures, f"the others are done: {outcome.page}"])
