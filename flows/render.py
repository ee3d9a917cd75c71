"""Render: what is due becomes candidates, and the best that passes the gates a post that awaits review.

`render` is the whole way, the same for the command and for Prefect (`flow()`); what follows it are its steps.
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
from tasks.render.candidates import Easel, Tried
from tasks.render.due_posts import Scope, Span
from tasks.render.results import Job, Render, Rendered
from tasks.settings.settings import Loaded
from tasks.store.store import Store

if TYPE_CHECKING:
    from prefect import Flow


DUE = Span()
"""Whatever is due by now and was not rendered."""


@dataclass(frozen=True)
class Outcome:
    """What was rendered, and the page about it; None where there was nothing to show."""

    render: Render
    page: Path | None


def render(
    persona: str,
    loaded: Loaded,
    span: Span = DUE,
    again: bool = False,
    candidates: int = 0,
    now: datetime | None = None,
) -> Outcome:
    """Make posts of all that is due in the span, or until now. What has a post already is left alone.

    `again` also tries the drafts of which no candidate passed. `candidates` overrules the calendar and the settings.
    """
    loaded = loaded.at(now)
    who = personas.find(persona, loaded.folder)
    found = look(who, loaded, span, loaded.clock(), again)
    posts, problems, easel = list(found.there), list(found.problems), Easel(who, loaded, candidates)
    for wave in rendering_step.waves(found.jobs):
        tried = make(wave, easel)
        posts += settle(tried, easel)
        problems += easel.told()
    posts.sort(key=lambda each: (each.post.content.when.astimezone(UTC), each.post.key))
    problems = list(dict.fromkeys(problems))  # one shot may be due on several days
    done = Render(who.name, who.token, posts, problems, [*found.notes, *easel.notes], easel.references)
    return Outcome(done, tell(done, loaded) if posts or problems else None)


@step.step("plan")
def look(who: Persona, loaded: Loaded, span: Span, now: datetime, again: bool) -> Scope:
    """What is due and has no post, and which drafts wait for a picture."""
    with closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store:
        return rendering_step.scope(who, store, span, now, again)


@step.step("candidates", retries=1, gpu=True)
def make(jobs: Sequence[Job], easel: Easel) -> list[Tried]:
    """Candidates of all jobs together, and more of those of which none passed."""
    return easel.try_out(jobs)


@step.step("posts", retries=1, gpu=True)
def settle(tried: Sequence[Tried], easel: Easel) -> list[Rendered]:
    """Choose the best of each that is like no other post, finish it, and put it into the store."""
    return easel.settle(tried)


@step.step("report")
def tell(done: Render, loaded: Loaded) -> Path:
    """Write the page and the contact sheet; in Prefect, show them there too."""
    page = report.report(done, loaded.studio)
    if step.in_flow_run():
        text = report.markdown(done, page.with_name("sheet.png"))
        step.show(f"render-{done.persona}", text, f"Posts of {done.persona}")
    return page


def flow() -> Flow[..., Any]:
    """The same as a Prefect flow, for deployments."""
    from prefect import flow as prefect_flow

    def run(
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
        from tasks.settings.settings import load

        outcome = render(persona, load(Path(settings) if settings else None), Span(since, until, days), again)
        if outcome.render.failures:
            raise RuntimeError(_failed(outcome))
        return str(outcome.page or "nothing is due")

    return prefect_flow(name="render", flow_run_name="posts of {persona}", persist_result=False)(run)


def _failed(outcome: Outcome) -> str:
    """All else was rendered all the same."""
    return "\n".join([*outcome.render.failures, f"the others are done: {outcome.page}"])
