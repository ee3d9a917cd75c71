"""Steps of a flow: Prefect tasks inside a flow run, plain calls outside of one, so that a command needs no server.

Prefect is imported only where a flow runs, because that takes seconds.
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
SETTLE = 0.1
"""Seconds in which Prefect's server writes down what the flow just did. Asked for a slot meanwhile, its SQLite says that it
is locked, and Prefect's client asks again after two seconds."""
GPU = "gpu"
"""The global concurrency limit that keeps two flows from using one GPU at once."""


def in_flow_run() -> bool:
    """Whether a Prefect flow is what calls."""
    if "prefect" not in sys.modules:
        return False
    from prefect.context import FlowRunContext

    return FlowRunContext.get() is not None


def scheduled_start() -> datetime | None:
    """When this run should have started, if a schedule starts it and not a person."""
    if not in_flow_run():
        return None
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    run = context.flow_run if context else None
    return run.expected_start_time if run and run.auto_scheduled else None


def step(name: str, retries: int = 0, gpu: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a step: in a flow run a task with that name, tried again where trying again can help."""

    def around(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if not in_flow_run():
                return function(*args, **kwargs)
            from prefect import task
            from prefect.cache_policies import NO_CACHE

            def work() -> R:  # takes nothing: Prefect would walk through all that it is given, pictures included
                return function(*args, **kwargs)

            known = task(
                name=name,
                retries=retries,
                retry_delay_seconds=RETRY_SECONDS,
                retry_condition_fn=_may_help,
                cache_policy=NO_CACHE,
                persist_result=False,
            )(work)
            with _slot(gpu):
                return known()

        return call

    return around


def _may_help(task: Any, run: Any, state: Any) -> bool:
    """A mistake in a file is there the second time as well."""
    return not isinstance(state.data if isinstance(state.data, BaseException) else _error_of(state), UserError)


def _error_of(state: Any) -> BaseException | None:
    try:
        state.result(raise_on_failure=True)
    except BaseException as error:
        return error
    return None


@contextmanager
def _slot(wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    from prefect.concurrency.sync import concurrency

    time.sleep(SETTLE)
    # A killed run holds its place no longer than this.
    with concurrency(GPU, occupy=1, strict=False, lease_duration=LEASE_SECONDS):
        yield


def show(key: str, markdown: str, description: str) -> None:
    """In a flow run, an artifact for Prefect's page; nothing elsewhere. Without it the run has done its work all the same."""
    if in_flow_run():
        from prefect.artifacts import create_markdown_artifact

        key = re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")  # Prefect takes nothing else
        try:
            create_markdown_artifact(key=key, markdown=markdown, description=description)
        except Exception as error:
            LOG.warning("%s could not be shown on Prefect's page: %s", description, error)
