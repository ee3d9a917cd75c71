"""Publish: what is approved and due, to where the settings say; or a trial of it, after which all is as it was."""

from __future__ import annotations

from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from models.system.errors import UserError
from tasks import step as steps
from tasks.posts import post_store
from tasks.posts.states import IN_FLIGHT
from tasks.publish import destinations, notify
from tasks.publish import publish as step
from tasks.publish import report as receipts
from tasks.publish.publish import Outlets, Report, Run
from tasks.publish.rehearsal import Rehearsal, trial
from tasks.settings.settings import Loaded
from tasks.store.store import Store

if TYPE_CHECKING:
    from prefect import Flow

STAND_IN = "stand-in"
PATIENCE = 200.0
"""Seconds that a run stays for an answer: the first two looks at a commit that was not answered."""


def publish(
    loaded: Loaded,
    persona: str = "",
    *,
    dry_run: bool = False,
    to: str = "",
    post: str = "",
    at_once: bool = False,
    patience: float = PATIENCE,
) -> Report:
    """Publish. A dry run writes the posts to disk, and `to` a stand-in rehearses; both leave every post as it is."""
    with closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store, ExitStack() as stack:
        if dry_run or to == STAND_IN:
            store = stack.enter_context(trial(store))
        where: Outlets = destinations.Configured(loaded, dry_run)
        if to == STAND_IN and not dry_run:
            through: Literal["instagram", "graph"] = (
                "graph" if loaded.settings.publishing.publisher == "graph" else "instagram"
            )
            where = Rehearsal(loaded.studio, through, stack, loaded.clock)
        rules = destinations.rules(loaded, "folder" if to == STAND_IN else where.name, at_once)
        one = _one(store, post)
        report = send(Run(store, loaded.studio, where, rules, persona, one, patience=patience, now=loaded.clock))
    tell(report, loaded, trial=dry_run or to == STAND_IN)
    return report


def aimed(loaded: Loaded, to: str) -> Loaded:
    """With another publisher than the settings', for one run."""
    if to in ("", STAND_IN):
        return loaded
    if to not in destinations.PUBLISHERS:
        raise UserError(f"{to!r} is no publisher: the known ones are {', '.join((*destinations.PUBLISHERS, STAND_IN))}")
    if to != "folder" and loaded.settings.publishing.dry_run:
        raise UserError(
            f"publishing.dry_run is on, so nothing goes to {to}: set it to false in settings.toml once you mean it"
        )
    return loaded.with_publisher(to)


def _one(store: Store, post: str) -> str:
    """The whole id of a post that may be named by a part of it."""
    if not post:
        return ""
    found = post_store.get(store, post)
    if found.state != "approved":
        raise UserError(f"post {found.id} is {found.state}: only an approved one can be published")
    return found.id


def is_anything(loaded: Loaded, now: datetime) -> bool:
    """Whether something may have to be sent, mended or looked for. A run every few minutes asks this and no more."""
    late = loaded.settings.publishing.late_days
    since = now - timedelta(days=late) if late else None
    with closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store:
        return bool(
            post_store.find(store, ("approved",), since=since, until=now, limit=1)
            or post_store.find(store, (*IN_FLIGHT, "unknown"), limit=1)
        )


@steps.step("publish")
def send(run: Run) -> Report:
    """Never tried again from outside: what may be done again is, inside, and a commit may not."""
    return step.publish(run)


@steps.step("report")
def tell(report: Report, loaded: Loaded, trial: bool) -> None:
    """To Prefect's page, and to whoever wants to know. A run by schedule that could do nothing is no news."""
    if steps.in_flow_run() and (report.outcomes or steps.scheduled_start() is None):
        title = "A trial of publishing" if trial else "What was published"
        steps.show("publishing", receipts.markdown(report, loaded.studio), title)
    if not trial:
        notify.notify(loaded, notify.news(report.last))


def flow() -> Flow[..., Any]:
    """The same as a Prefect flow, for deployments."""
    from prefect import flow as prefect_flow

    def run(persona: str = "", dry_run: bool = False, rehearse: bool = False, settings: str = "") -> dict[str, Any]:
        """Publish what is approved and due.

        Args:
            persona: The posts of this persona only; empty: of all.
            dry_run: Write the posts to disk and leave them approved, whatever the settings say.
            rehearse: Go the whole way to a stand-in on this machine, and leave the posts approved.
            settings: The settings file; empty takes settings.toml of the folder the worker runs in.
        """
        from tasks.settings.settings import load

        loaded = load(Path(settings) if settings else None)
        if steps.scheduled_start() and not is_anything(loaded, loaded.clock()):
            return receipts.summary(Report())
        report = publish(loaded, persona, dry_run=dry_run, to=STAND_IN if rehearse else "")
        return receipts.summary(report)

    return prefect_flow(name="publish", persist_result=False)(run)
