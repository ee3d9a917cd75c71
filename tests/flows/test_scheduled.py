"""Runs that a schedule starts: silent where there is nothing to do, and the newest one only after an outage."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.deployments import flow_for
from tasks.posts import post_store
from tasks.settings.settings import load_settings
from tasks.store.store import Store
from tests.flows.test_daily import SHOT, place, shots, states  # noqa: F401
from tests.support.approved import approved

YESTERDAY = timedelta(days=1)


@pytest.fixture
def client(prefect: None) -> Any:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as made:
        yield made


def run(client: Any, flow: Any, late: timedelta | None, **parameters: Any) -> tuple[Any, list[str]]:
    """By schedule and so late, or by hand; what it returns, and what it shows on Prefect's page."""
    from prefect import flow as prefect_flow
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
    from prefect.context import FlowRunContext

    @prefect_flow(name="started", persist_result=False)
    def started() -> tuple[Any, Any]:
        context = FlowRunContext.get()
        assert context is not None
        assert context.flow_run is not None
        if late is not None:
            context.flow_run.auto_scheduled = True
            context.flow_run.expected_start_time = datetime.now(UTC) - late
        return flow.fn(**parameters), context.flow_run.id

    returned, number = started()
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[number]))
    return returned, [each.key for each in client.read_artifacts(artifact_filter=wanted)]


def test_publish_shows_nothing_where_nothing_went_out(client: Any, place: Path) -> None:  # noqa: F811
    assert run(client, flow_for("publish"), None)[1] == ["publishing"], "who asks gets an answer"
    assert run(client, flow_for("publish"), timedelta(0))[1] == []
    known = load_settings(place / "settings.toml")
    with closing(Store.open("", known.studio)) as store:
        early = approved(store, known.studio, 1, when=datetime.now(UTC) + YESTERDAY)
    assert run(client, flow_for("publish"), timedelta(0))[1] == []
    assert states(place) == ["approved"]
    with closing(Store.open("", known.studio)) as store:
        approved(store, known.studio, 2)
    said, shown = run(client, flow_for("publish"), timedelta(0))
    assert shown == ["publishing"]
    assert said
    with closing(Store.open("", known.studio)) as store:
        assert post_store.get_post(store, early.id).state == "approved"
    assert sorted(states(place)) == ["approved", "published"]


def test_a_daily_run_that_comes_a_day_late_leaves_it_to_the_next(client: Any, place: Path) -> None:  # noqa: F811
    known = load_settings(place / "settings.toml")
    with closing(Store.open("", known.studio)) as store:
        approved(store, known.studio, 1)
    said, shown = run(client, flow_for("daily"), YESTERDAY + timedelta(hours=1), persona="pip")
    assert "a later run is due as well" in said
    assert (shown, states(place)) == ([], ["approved"])
    run(client, flow_for("daily"), None, persona="pip")
    assert states(place) == ["published"]


def test_what_waits_for_review_is_one_click_away(client: Any, place: Path) -> None:  # noqa: F811
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    shots(place, SHOT)
    run(client, flow_for("daily"), None, persona="pip")
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["daily-pip"]))
    newest = max(client.read_artifacts(artifact_filter=wanted), key=lambda each: each.created)
    assert "[The review page](http://127.0.0.1:8420/)" in newest.data
