"""Publish what is approved and due, to where the settings say; or rehearse it, and leave every post as it was.

`publish_due` does all of it, for the command and for Prefect (`run_flow`). Its steps are in `tasks.publish.steps`.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Literal

from tasks import step
from tasks.publish import destinations, steps
from tasks.publish import report as receipts
from tasks.publish.destinations import STAND_IN
from tasks.publish.publish import Destinations, PublishReport, PublishRun
from tasks.publish.rehearsal import StandInDestinations, trial
from tasks.settings.settings import LoadedSettings, load_settings
from tasks.store.store import Store

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
            publisher: Literal["instagram", "graph"] = (
                "graph" if loaded.settings.publishing.publisher == "graph" else "instagram"
            )
            targets = StandInDestinations(loaded.studio, publisher, stack, loaded.clock)
        rules = destinations.rules(loaded, "folder" if to == STAND_IN else targets.name, at_once)
        post_id = steps.approved_post_id(store, post)
        report = steps.send_posts(
            PublishRun(store, loaded.studio, targets, rules, persona, post_id, patience=patience, now=loaded.clock)
        )
    steps.report_run(report, loaded, trial=dry_run or to == STAND_IN)
    return report


def run_flow(persona: str = "", dry_run: bool = False, rehearse: bool = False, settings: str = "") -> dict[str, Any]:
    """Publish what is approved and due.

    Args:
        persona: The posts of this persona only; empty: of all.
        dry_run: Write the posts to disk and leave them approved, whatever the settings say.
        rehearse: Go the whole way to a stand-in on this machine, and leave the posts approved.
        settings: The settings file; empty takes settings.toml of the folder the worker runs in.
    """
    loaded = load_settings(Path(settings) if settings else None)
    if step.scheduled_start() and not steps.has_work(loaded, loaded.clock()):
        return receipts.summary(PublishReport())
    report = publish_due(loaded, persona, dry_run=dry_run, to=STAND_IN if rehearse else "")
    return receipts.summary(report)
