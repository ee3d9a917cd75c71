"""Daily: render what is due into posts for review, and publish what is approved and due.

`run_daily` does all of it, for the command and for Prefect (`run_flow`). If a persona's pictures cannot be made today, what
was approved before is still published.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from board.serve import board_address
from flows.publish import publish_due
from models.system.errors import UserError
from tasks import step
from tasks.calendar import daily_runs
from tasks.persona import persona as personas
from tasks.posts import post_store, review
from tasks.posts.post import Post
from tasks.publish import notify
from tasks.publish import report as receipts
from tasks.publish.publish import PublishReport
from tasks.render import due_posts
from tasks.render import report as report_render
from tasks.render.due_posts import DateSpan
from tasks.render.results import RenderResult
from tasks.settings.settings import LoadedSettings, load_settings
from tasks.store.store import Store

AUTOMATIC_ACTOR = "review.automatic"


@dataclass
class DailyResult:
    """The result of one daily run."""

    persona: str
    rendered: RenderResult | None = None
    page: Path | None = None
    approved: Sequence[Post] = ()
    """Posts approved without a person, as the settings allow."""
    published: PublishReport = field(default_factory=PublishReport)
    problems: list[str] = field(default_factory=list)

    @property
    def new_posts(self) -> list[Post]:
        return [rendered.post for rendered in self.rendered.posts if rendered.fresh] if self.rendered else []

    @property
    def to_review(self) -> list[Post]:
        """New posts that wait for a person."""
        approved_ids = {post.id for post in self.approved}
        return [post for post in self.new_posts if post.state == "awaiting review" and post.id not in approved_ids]

    @property
    def failures(self) -> list[str]:
        """Reasons for which the run must end as failed."""
        return [*self.problems, *self.published.in_need]


def run_daily(persona: str, loaded: LoadedSettings, dry_run: bool = False, now: datetime | None = None) -> DailyResult:
    """Render what is due, leave it for review, publish what is approved and due. A dry run publishes to disk only."""
    loaded = loaded.with_clock_at(now)
    result, broken = DailyResult(persona), None
    try:
        if is_due(persona, loaded):
            render_due(result, loaded)
    except UserError as error:
        result.problems.append(str(error))
    except Exception as error:  # a fault of a driver or of ours must not keep back what was approved before
        result.problems.append(f"rendering broke off ({type(error).__name__}: {error})")
        broken = error
    try:
        result.published = publish_due(loaded, persona, dry_run=dry_run)
    except UserError as error:
        result.problems.append(str(error))
    announce_result(result, loaded)
    if broken:
        raise broken
    return result


def is_due(persona: str, loaded: LoadedSettings) -> bool:
    """Tell whether there is anything to render. If not, the run does not load the rendering code, which takes seconds."""
    loaded_persona = personas.find_persona(persona, loaded.folder)
    with closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store:
        render_plan = due_posts.plan_render(loaded_persona, store, DateSpan(), loaded.clock())
    return bool(render_plan.jobs or render_plan.problems)


def render_due(result: DailyResult, loaded: LoadedSettings) -> None:
    from flows.render import render_posts

    outcome = render_posts(result.persona, loaded)
    result.rendered, result.page = outcome.render_posts, outcome.page
    result.problems += outcome.render_posts.failures
    result.approved = approve_automatically(result.to_review, loaded)


def approve_automatically(posts: Sequence[Post], loaded: LoadedSettings) -> list[Post]:
    """Approve new posts without a person, only if the owner has switched that on in the settings."""
    if not loaded.settings.review.automatic or not posts:
        return []
    with closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store:
        return review.approve_all(store, posts, AUTOMATIC_ACTOR)[0]


@step.step("tell")
def announce_result(result: DailyResult, loaded: LoadedSettings) -> None:
    """Notify the reviewer, and show the result on Prefect's page."""
    if result.to_review:
        notify.notify(loaded, [notify.waiting(len(result.to_review), result.persona)])
    if step.in_flow_run():
        items = [f"- {line}" for line in format_result(result, loaded)]
        if waiting_for_review(result, loaded):
            board = loaded.settings.board
            items.append(f"- [The review page]({board_address(board.host, board.port)})")
        text = "\n\n".join([f"# {result.persona}", *items])
        step.publish_markdown(f"daily-{result.persona}", text, f"The day of {result.persona}")


def format_result(result: DailyResult, loaded: LoadedSettings) -> list[str]:
    """List the result as lines for a terminal."""
    lines = report_render.post_lines(result.rendered) if result.rendered else []
    lines += [f"{len(result.approved)} approved without a person"] if result.approved else []
    lines += receipts.lines(result.published) if result.published.outcomes or result.published.waiting else []
    lines += [f"{len(waiting)} to review: restage review"] if (waiting := waiting_for_review(result, loaded)) else []
    return [*lines, *result.problems] or ["nothing is due"]


def waiting_for_review(result: DailyResult, loaded: LoadedSettings) -> list[Post]:
    """Return all posts of the persona that await review, older ones too."""
    with closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store:
        return post_store.find(store, ["awaiting review"], persona=result.persona)


def summarize_result(result: DailyResult) -> dict[str, Any]:
    """Return the result as a few values, for scripts and logs."""
    return {
        "persona": result.persona,
        "rendered": report_render.render_summary(result.rendered)["posts"] if result.rendered else [],
        "approved": [post.id for post in result.approved],
        "to review": [post.id for post in result.to_review],
        "published": receipts.summary(result.published),
        "problems": result.problems,
    }


def is_stale(persona: str, loaded: LoadedSettings) -> bool:
    """Tell whether this scheduled run is so late that the next one is already due."""
    start = step.scheduled_start()
    return start is not None and daily_runs.daily_schedule(persona, loaded).is_superseded(start, loaded.clock())


def run_flow(persona: str, dry_run: bool = False, settings: str = "") -> str:
    """Make what is due, leave it for review, and publish what is approved and due.

    Args:
        persona: The name of a file in prompts/, without .toml.
        dry_run: Write the posts to disk and leave them approved, whatever the settings say.
        settings: The settings file; empty takes settings.toml of the folder the worker runs in.
    """
    loaded = load_settings(Path(settings) if settings else None)
    if is_stale(persona, loaded):
        return "a later run is due as well and does what this one would have done"
    result = run_daily(persona, loaded, dry_run)
    if result.failures:
        raise RuntimeError("; ".join(result.failures))
    return json.dumps(summarize_result(result), ensure_ascii=False)
