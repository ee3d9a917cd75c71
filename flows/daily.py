"""Daily: what is due becomes posts for review, and what is approved and due goes out.

`daily` is the whole way, the same for the command and for Prefect (`flow()`). A persona whose pictures cannot be made
today still publishes what was approved before.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.publish import publish
from flows.serving.serve import places
from models.system.errors import UserError
from tasks import step
from tasks.calendar import daily_runs
from tasks.persona import persona as personas
from tasks.posts import post_store, review
from tasks.posts.post import Post
from tasks.publish import notify
from tasks.publish import report as receipts
from tasks.publish.publish import Report
from tasks.render import due_posts as rendering_step
from tasks.render import report as report_render
from tasks.render.due_posts import Span
from tasks.render.results import Render
from tasks.settings.settings import Loaded
from tasks.store.store import Store

if TYPE_CHECKING:
    from prefect import Flow

BY = "review.automatic"


@dataclass
class Outcome:
    """What a day brought."""

    persona: str
    rendered: Render | None = None
    page: Path | None = None
    approved: Sequence[Post] = ()
    """Without a person, as the settings allow."""
    published: Report = field(default_factory=Report)
    problems: list[str] = field(default_factory=list)

    @property
    def made(self) -> list[Post]:
        return [each.post for each in self.rendered.posts if each.fresh] if self.rendered else []

    @property
    def to_review(self) -> list[Post]:
        """The new ones that wait for a person."""
        done = {post.id for post in self.approved}
        return [post for post in self.made if post.state == "awaiting review" and post.id not in done]

    @property
    def failures(self) -> list[str]:
        """What the run has to end as failed for."""
        return [*self.problems, *self.published.in_need]


def daily(persona: str, loaded: Loaded, dry_run: bool = False, now: datetime | None = None) -> Outcome:
    """Render what is due, leave it for review, publish what is approved and due. A dry run publishes to disk only."""
    loaded = loaded.at(now)
    done, broken = Outcome(persona), None
    try:
        if is_due(persona, loaded):
            make(done, loaded)
    except UserError as error:
        done.problems.append(str(error))
    except Exception as error:  # a fault of a driver or of ours must not keep back what was approved before
        done.problems.append(f"rendering broke off ({type(error).__name__}: {error})")
        broken = error
    try:
        done.published = publish(loaded, persona, dry_run=dry_run)
    except UserError as error:
        done.problems.append(str(error))
    tell(done, loaded)
    if broken:
        raise broken
    return done


def is_due(persona: str, loaded: Loaded) -> bool:
    """Whether there is anything to render. Where not, the run ends before it has loaded what renders, which takes seconds."""
    who = personas.find(persona, loaded.folder)
    with closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store:
        found = rendering_step.scope(who, store, Span(), loaded.clock())
    return bool(found.jobs or found.problems)


def make(done: Outcome, loaded: Loaded) -> None:
    from flows.render import render

    made = render(done.persona, loaded)
    done.rendered, done.page = made.render, made.page
    done.problems += made.render.failures
    done.approved = approve(done.to_review, loaded)


def approve(made: Sequence[Post], loaded: Loaded) -> list[Post]:
    """Nobody's look is replaced unless its owner said so in the settings."""
    if not loaded.settings.review.automatic or not made:
        return []
    with closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store:
        return review.approve_all(store, made, BY)[0]


@step.step("tell")
def tell(done: Outcome, loaded: Loaded) -> None:
    """Say what came of it: to who reviews, and on Prefect's page."""
    if done.to_review:
        notify.notify(loaded, [notify.waiting(len(done.to_review), done.persona)])
    if step.in_flow_run():
        said = [f"- {line}" for line in lines(done, loaded)]
        if waiting_for_review(done, loaded) and (address := places(loaded).review):
            said.append(f"- [The review page]({address})")
        text = "\n\n".join([f"# {done.persona}", *said])
        step.show(f"daily-{done.persona}", text, f"The day of {done.persona}")


def lines(done: Outcome, loaded: Loaded) -> list[str]:
    """What came of it, for a terminal."""
    found = report_render.lines(done.rendered) if done.rendered else []
    found += [f"{len(done.approved)} approved without a person"] if done.approved else []
    found += receipts.lines(done.published) if done.published.outcomes or done.published.waiting else []
    found += [f"{len(waiting)} to review: restage review"] if (waiting := waiting_for_review(done, loaded)) else []
    return [*found, *done.problems] or ["nothing is due"]


def waiting_for_review(done: Outcome, loaded: Loaded) -> list[Post]:
    """Older ones too."""
    with closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store:
        return post_store.find(store, ["awaiting review"], persona=done.persona)


def summary(done: Outcome) -> dict[str, Any]:
    """The same in a few values, for scripts and logs."""
    return {
        "persona": done.persona,
        "rendered": report_render.summary(done.rendered)["posts"] if done.rendered else [],
        "approved": [post.id for post in done.approved],
        "to review": [post.id for post in done.to_review],
        "published": receipts.summary(done.published),
        "problems": done.problems,
    }


def is_stale(persona: str, loaded: Loaded) -> bool:
    """Whether this is a run by schedule whose time has passed by so long that the next one is due."""
    start = step.scheduled_start()
    return start is not None and daily_runs.daily(persona, loaded).superseded(start, loaded.clock())


def flow() -> Flow[..., Any]:
    """The same as a Prefect flow, for deployments."""
    from prefect import flow as prefect_flow

    def run(persona: str, dry_run: bool = False, settings: str = "") -> str:
        """Make what is due, leave it for review, and publish what is approved and due.

        Args:
            persona: The name of a file in prompts/, without .toml.
            dry_run: Write the posts to disk and leave them approved, whatever the settings say.
            settings: The settings file; empty takes settings.toml of the folder the worker runs in.
        """
        from tasks.settings.settings import load

        loaded = load(Path(settings) if settings else None)
        if is_stale(persona, loaded):
            return "a later run is due as well and does what this one would have done"
        done = daily(persona, loaded, dry_run)
        if done.failures:
            raise RuntimeError("; ".join(done.failures))
        return json.dumps(summary(done), ensure_ascii=False)

    return prefect_flow(name="daily", flow_run_name="day of {persona}", persist_result=False)(run)
