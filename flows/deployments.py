"""Table of the flows that Prefect knows. Each flow is also `flows.deployments.NAME`, which is how a run finds it.

A flow is a module in `flows/` with a function `flow()`. A flow whose module is missing is left out.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.util import find_spec
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

    @property
    def entrypoint(self) -> str:
        return f"{__name__}.{self.name}"

    @property
    def exists(self) -> bool:
        return find_spec(f"flows.{self.name}") is not None


FLOWS = (
    DeployedFlow("references"),
    DeployedFlow("train"),
    DeployedFlow("render"),
    DeployedFlow("publish", scheduled="together"),
    DeployedFlow("daily", scheduled="each"),
)


def deployed_flows() -> list[DeployedFlow]:
    """List the flows whose modules exist."""
    return [flow for flow in FLOWS if flow.exists]


def flow_for(name: str, personas: tuple[str, ...] = ()) -> Flow[..., Any]:
    """Build a flow whose form offers these personas to choose from; any name if there are none."""
    flow: Flow[..., Any] = importlib.import_module(f"flows.{name}").flow()
    annotations = flow.fn.__annotations__
    if personas and "persona" in annotations:
        # An empty name stands for all of them where that is what the flow takes by default.
        default = flow.parameters.properties["persona"].get("default")
        choices = personas if default is None else tuple(dict.fromkeys((default, *personas)))
        # Not a Literal: of one name alone Prefect's form makes a field that cannot be filled in. The function is a new one
        # at each call, so nothing else sees this.
        annotations["persona"] = Annotated[str, Field(json_schema_extra={"enum": list(choices)})]
    return flow


def __getattr__(name: str) -> Any:
    if not any(flow.name == name for flow in FLOWS):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return flow_for(name)  # which persona there may be is checked where it is looked for
