"""Steps of a flow: Prefect tasks inside a flow run, plain calls outside of one, so that a command needs no server.

Prefect is imported only where a flow runs, because the import takes seconds.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from models.system.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")
LOG = logging.getLogger("restage.steps")
RETRY_SECONDS = 5
LEASE_SECONDS = 120
SETTLE_SECONDS = 0.1
"""Seconds in which Prefect's server stores what the flow just did. A request for a slot in that time finds its SQLite locked,
and Prefect's client retries only after two seconds."""
GPU_LIMIT = "gpu"
"""The global concurrency limit that keeps two flows from using one GPU at once."""


def in_flow_run() -> bool:
    """Tell whether this code runs inside a Prefect flow run."""
    if "prefect" not in sys.modules:
        return False
    from prefect.context import FlowRunContext

    return FlowRunContext.get() is not None


def scheduled_start() -> datetime | None:
    """Return when this run should have started, or None if a person started it."""
    if not in_flow_run():
        return None
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    run = context.flow_run if context else None
    return run.expected_start_time if run and run.auto_scheduled else None


def step(name: str, retries: int = 0, gpu: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a step: a Prefect task with that name in a flow run, retried where retrying can help."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def run_step(*args: P.args, **kwargs: P.kwargs) -> R:
            if not in_flow_run():
                return function(*args, **kwargs)
            from prefect import task
            from prefect.cache_policies import NO_CACHE

            def run_function() -> R:  # without arguments: Prefect would inspect all of them, pictures included
                return function(*args, **kwargs)

            prefect_task = task(
                name=name,
                retries=retries,
                retry_delay_seconds=RETRY_SECONDS,
                retry_condition_fn=_is_retryable,
                cache_policy=NO_CACHE,
                persist_result=False,
            )(run_function)
            with _gpu_slot(gpu):
                return prefect_task()

        return run_step

    return decorate


def _is_retryable(task: Any, run: Any, state: Any) -> bool:
    """Tell whether a retry can help. It cannot fix a user's mistake."""
    return not isinstance(state.data if isinstance(state.data, BaseException) else _error_of(state), UserError)


def _error_of(state: Any) -> BaseException | None:
    try:
        state.result(raise_on_failure=True)
    except BaseException as error:
        return error
    return None


@contextmanager
def _gpu_slot(gpu: bool) -> Iterator[None]:
    if not gpu:
        yield
        return
    from prefect.concurrency.sync import concurrency

    time.sleep(SETTLE_SECONDS)
    # A killed run holds the GPU no longer than this.
    with concurrency(GPU_LIMIT, occupy=1, strict=False, lease_duration=LEASE_SECONDS):
        yield


def publish_markdown(key: str, markdown: str, description: str) -> None:
    """Show a text on Prefect's page in a flow run, and do nothing elsewhere. A failure is only logged."""
    if in_flow_run():
        from prefect.artifacts import create_markdown_artifact

        key = re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")  # Prefect allows no other characters
        try:
            create_markdown_artifact(key=key, markdown=markdown, description=description)
        except Exception as error:
            LOG.warning("%s could not be shown on Prefect's page: %s", description, error)
