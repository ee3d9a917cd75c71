"""Table of the flows that Prefect knows. Each flow is also `flows.deployments.NAME`, which is how a run finds it.

A flow is the function `run_flow` of a module in `flows/`: its parameters make the form on Prefect's page, and its docstring
explains them there.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

if TYPE_CHECKING:
    from prefect import Flow

BY_HAND = "by-hand"
"""The deployment of a flow that somebody starts, with any persona."""


SCHEDULED = "scheduled"
"""The deployment of a flow that a schedule starts for all personas together."""


@dataclass(frozen=True)
class DeployedFlow:
    """A flow, and whether a schedule starts it: one for each persona, or one for all of them together."""

    name: str
    scheduled: Literal["", "each", "together"] = ""
    run_name: str = ""
    """Name of its runs on Prefect's page; empty: one that Prefect makes up."""

    @property
    def entrypoint(self) -> str:
        return f"{__name__}.{self.name}"


FLOWS = (
    DeployedFlow("references", run_name="references of {persona}"),
    DeployedFlow("train", run_name="training of {persona}"),
    DeployedFlow("render", run_name="posts of {persona}"),
    DeployedFlow("publish", scheduled="together"),
    DeployedFlow("daily", scheduled="each", run_name="day of {persona}"),
)


def as_flow(function: Callable[..., Any], name: str, run_name: str = "") -> Flow[..., Any]:
    """Build a Prefect flow from a copy of the function, whose annotations may be changed for this flow alone."""
    from prefect import flow

    assert isinstance(function, FunctionType)
    copy = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__)
    copy.__doc__, copy.__annotations__ = function.__doc__, dict(function.__annotations__)
    return flow(name=name, flow_run_name=run_name or None, persist_result=False)(copy)


def flow_for(name: str, personas: tuple[str, ...] = ()) -> Flow[..., Any]:
    """Build a flow whose form offers these personas to choose from; any name if there are none."""
    deployed = next(flow for flow in FLOWS if flow.name == name)
    flow = as_flow(importlib.import_module(f"flows.{name}").run_flow, name, deployed.run_name)
    annotations = flow.fn.__annotations__
    if personas and "persona" in annotations:
        # An empty name stands for all of them where that is what the flow takes by default.
        default = flow.parameters.properties["persona"].get("default")
        choices = personas if default is None else tuple(dict.fromkeys((default, *personas)))
        # Not a Literal: of one name alone Prefect's form makes a field that cannot be filled in.
        annotations["persona"] = Annotated[str, Field(json_schema_extra={"enum": list(choices)})]
    return flow


def __getattr__(name: str) -> Any:
    if not any(flow.name == name for flow in FLOWS):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return flow_for(name)  # which persona there may be is checked where it is looked for
