"""Publish what is approved and due, to where the settings say; or rehearse it, and leave every post as it was."""

from __future__ import annotations

from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.system.errors import UserError
from tasks import step as steps
from tasks.posts import post_store
from tasks.posts.states import IN_FLIGHT
from tasks.publish import destinations, notify
from tasks.publish import publish as step
from tasks.publish import report as receipts
from tasks.publish.publish import Destinations, PublishReport, PublishRun
from tasks.publish.rehearsal import StandInDestinations, trial
from tasks.publishers import DRY_RUN_PUBLISHER, PUBLISHER_NAMES
from tasks.publishers.stand_in.rehearsal import rehearsed_publisher
from tasks.settings.settings import LoadedSettings
from tasks.store.store import Store

if TYPE_CHECKING:
    from prefect import Flow

STAND_IN = "stand-in"
PATIENCE_SECONDS = 200.0
"""Seconds that a run waits for an answer: long enough for the first two lookups of an unanswered commit."""


def publish_due(
    loaded: LoadedSettings,
    persona: str = "",
    *,
    dry_run: bool = False,
    to: str = "",
    post: str = "",
    at_once: bool = False,
    patience: float = PATIENCE_SECONDS,
) -> PublishReport:
    """Publish. A dry run writes the posts to disk, and `to` a stand-in rehearses; both leave every post as it is."""
    with closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store, ExitStack() as stack:
        if dry_run or to == STAND_IN:
            store = stack.enter_context(trial(store))
        targets: Destinations = destinations.ConfiguredDestinations(loaded, dry_run)
        if to == STAND_IN and not dry_run:
            publisher = rehearsed_publisher(loaded.settings.publishing.publisher)
            targets = StandInDestinations(loaded.studio, publisher, stack, loaded.clock)
        rules = destinations.rules(loaded, DRY_RUN_PUBLISHER if to == STAND_IN else targets.name, at_once)
        post_id = _approved_post_id(store, post)
        report = send_posts(
            PublishRun(store, loaded.studio, targets, rules, persona, post_id, patience=patience, now=loaded.clock)
        )
    report_run(report, loaded, trial=dry_run or to == STAND_IN)
    return report


def with_publisher(loaded: LoadedSettings, to: str) -> LoadedSettings:
    """Return the settings with another publisher, for one run."""
    if to in ("", STAND_IN):
        return loaded
    if to not in PUBLISHER_NAMES:
        raise UserError(f"{to!r} is no publisher: the known ones are {', '.join((*PUBLISHER_NAMES, STAND_IN))}")
    if to != DRY_RUN_PUBLISHER and loaded.settings.publishing.dry_run:
        raise UserError(
            f"publishing.dry_run is on, so nothing goes to {to}: set it to false in settings.toml once you mean it"
        )
    return loaded.with_publisher(to)


def _approved_post_id(store: Store, post: str) -> str:
    """Return the whole id of an approved post that may be named by a part of it."""
    if not post:
        return ""
    stored_post = post_store.get_post(store, post)
    if stored_post.state != "approved":
        raise UserError(f"post {stored_post.id} is {stored_post.state}: only an approved one can be published")
    return stored_post.id


def has_work(loaded: LoadedSettings, now: datetime) -> bool:
    """Tell whether any post may have to be sent, mended or looked up. A run every few minutes asks only this."""
    late = loaded.settings.publishing.late_days
    since = now - timedelta(days=late) if late else None
    with closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store:
        return bool(
            post_store.find(store, ("approved",), since=since, until=now, limit=1)
            or post_store.find(store, (*IN_FLIGHT, "unknown"), limit=1)
        )


@steps.step("publish")
def send_posts(run: PublishRun) -> PublishReport:
    """Send the posts. This step is never retried from outside: it repeats inside what may be repeated, and never a commit."""
    return step.publish(run)


@steps.step("report")
def report_run(report: PublishReport, loaded: LoadedSettings, trial: bool) -> None:
    """Report to Prefect's page, and notify whoever wants it. A scheduled run that did nothing is not reported."""
    if steps.in_flow_run() and (report.outcomes or steps.scheduled_start() is None):
        title = "A trial of publishing" if trial else "What was published"
        steps.publish_markdown("publishing", receipts.markdown(report, loaded.studio), title)
    if not trial:
        notify.notify(loaded, notify.news(report.last))


def flow() -> Flow[..., Any]:
    """Build the same run as a Prefect flow, for deployments."""
    from prefect import flow as prefect_flow

    def run_flow(
        persona: str = "", dry_run: bool = False, rehearse: bool = False, settings: str = ""
    ) -> dict[str, Any]:
        """Publish what is approved and due.

        Args:
            persona: The posts of this persona only; empty: of all.
            dry_run: Write the posts to disk and leave them approved, whatever the settings say.
            rehearse: Go the whole way to a stand-in on this machine, and leave the posts approved.
            settings: The settings file; empty takes settings.toml of the folder the worker runs in.
        """
        from tasks.settings.settings import load_settings

        loaded = load_settings(Path(settings) if settings else None)
        if steps.scheduled_start() and not has_work(loaded, loaded.clock()):
            return receipts.summary(PublishReport())
        report = publish_due(loaded, persona, dry_run=dry_run, to=STAND_IN if rehearse else "")
        return receipts.summary(report)

    return prefect_flow(name="publish", persist_result=False)(run_flow)
