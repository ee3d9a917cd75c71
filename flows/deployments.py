"""The flows that Prefect knows: one table, and each flow as `flows.deployments.NAME`, which is how a run finds it.

A flow is a module in `flows/` with a function `flow()`. One without its module is left out.
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
class Known:
    """A flow, and whether a schedule starts it: each persona's own, or one for all of them together."""

    name: str
    scheduled: Literal["", "each", "together"] = ""

    @property
    def entrypoint(self) -> str:
        return f"{__name__}.{self.name}"

    @property
    def is_there(self) -> bool:
        return find_spec(f"flows.{self.name}") is not None


TABLE = (
    Known("references"),
    Known("train"),
    Known("render"),
    Known("publish", scheduled="together"),
    Known("daily", scheduled="each"),
)


def known() -> list[Known]:
    """The flows that are there."""
    return [each for each in TABLE if each.is_there]


def flow(name: str, personas: tuple[str, ...] = ()) -> Flow[..., Any]:
    """A flow whose form lets choose among these personas; any name where there are none."""
    made: Flow[..., Any] = importlib.import_module(f"flows.{name}").flow()
    words = made.fn.__annotations__
    if personas and "persona" in words:
        # An empty name stands for all of them where that is what the flow takes by default.
        default = made.parameters.properties["persona"].get("default")
        choices = personas if default is None else tuple(dict.fromkeys((default, *personas)))
        # Not a Literal: of one name alone Prefect's form makes a field that cannot be filled in. The function is a new one
        # at each call, so nothing else sees this.
        words["persona"] = Annotated[str, Field(json_schema_extra={"enum": list(choices)})]
    return made


def __getattr__(name: str) -> Any:
    if not any(each.name == name for each in TABLE):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return flow(name)  # which persona there may be is checked where it is looked for
