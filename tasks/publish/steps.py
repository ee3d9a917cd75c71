"""Steps of the publish flow: send what is approved and due, and report it; and whether there is anything to do."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta

from models.system.errors import UserError
from tasks import step
from tasks.posts import post_store
from tasks.posts.states import IN_FLIGHT
from tasks.publish import notify, publish
from tasks.publish import report as publish_report
from tasks.publish.publish import PublishReport, PublishRun
from tasks.settings.settings import LoadedSettings
from tasks.store.store import Store


def approved_post_id(store: Store, post: str) -> str:
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


@step.step("publish")
def send_posts(run: PublishRun) -> PublishReport:
    """Send the posts. This step is never retried from outside: it repeats inside what may be repeated, and never a commit."""
    return publish.publish(run)


@step.step("report")
def report_run(report: PublishReport, loaded: LoadedSettings, trial: bool) -> None:
    """Report to Prefect's page, and notify whoever wants it. A scheduled run that did nothing is not reported."""
    if step.in_flow_run() and (report.outcomes or step.scheduled_start() is None):
        title = "A trial of publishing" if trial else "What was published"
        step.publish_markdown("publishing", publish_report.markdown(report, loaded.studio), title)
    if not trial:
        notify.notify(loaded, notify.news(report.last))
