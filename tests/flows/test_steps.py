"""Steps: plain calls outside a flow run, tasks inside one."""

import subprocess
import sys

import pytest

from models.system.errors import UserError
from tasks import step


def counting(error: Exception | None, retries: int = 1) -> tuple[list[int], object]:
    """A step that fails the first time, and the times it was called."""
    calls: list[int] = []

    @step.step("counted", retries=retries)
    def counted(number: int) -> int:
        calls.append(number)
        if error and len(calls) == 1:
            raise error
        return number + 1

    return calls, counted


def test_outside_a_flow_run_a_step_is_its_function() -> None:
    calls, counted = counting(None)
    assert counted(1) == 2  # type: ignore[operator]
    assert calls == [1]
    assert not step.in_flow_run()


def test_outside_a_flow_run_nothing_is_tried_again() -> None:
    calls, counted = counting(ValueError("no"))
    with pytest.raises(ValueError):
        counted(1)  # type: ignore[operator]
    assert calls == [1]


def test_a_command_does_not_import_prefect() -> None:
    code = "import sys, flows.cli, flows.references; sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def run(counted: object) -> int:
    from prefect import flow
    from prefect.logging import disable_run_logger

    @flow
    def short() -> int:
        assert step.in_flow_run()
        return counted(1)  # type: ignore[operator]

    with disable_run_logger():
        return short()


@pytest.mark.slow
def test_in_a_flow_run_it_is_tried_again_where_that_can_help(prefect: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "RETRY_SECONDS", 0)
    calls, counted = counting(OSError("busy"))
    assert run(counted) == 2
    assert calls == [1, 1]


def test_whatever_a_persona_is_called_its_page_is_shown(prefect: None) -> None:
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    @flow
    def short() -> None:
        step.publish_markdown("day-My_fox", "# Here", "The day of My_fox")
        step.publish_markdown("!", "# Here", "What has no name at all stops nothing")

    short()
    with get_client(sync_client=True) as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["day-my-fox"]))
        assert [each.data for each in client.read_artifacts(artifact_filter=wanted)] == ["# Here"]


@pytest.mark.slow
def test_a_users_mistake_is_not_tried_again(prefect: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "RETRY_SECONDS", 0)
    calls, counted = counting(UserError("the prompt is empty"))
    with pytest.raises(UserError, match="the prompt is empty"):
        run(counted)
    assert calls == [1]


@pytest.mark.slow
def test_a_step_on_the_gpu_waits_for_its_slot(prefect: None) -> None:
    """Where the limit exists it is held while the step runs; where it does not, nothing waits."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

    taken: list[int] = []

    @step.step("drawn", gpu=True)
    def drawn(number: int) -> int:
        with get_client(sync_client=True) as client:
            taken.append(client.read_global_concurrency_limit_by_name(step.GPU_LIMIT).active_slots)
        return number

    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=step.GPU_LIMIT, limit=1, active=True))
        assert run(drawn) == 1
        assert taken == [1]
        assert client.read_global_concurrency_limit_by_name(step.GPU_LIMIT).active_slots == 0
