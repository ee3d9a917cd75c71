"""Several processes at one training, as `accelerate launch` starts them: who leads, and what it decides for all."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")


def count() -> int:
    """How many were started together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def leads() -> bool:
    """Whether this is the one that writes, shows and decides; alone, it always is."""
    return count() == 1 or int(os.environ.get("RANK", "0")) == 0


def local() -> int:
    """The number of this process among those of its machine, which is that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def join() -> None:
    """Meet the others, if there are any."""
    if count() > 1:
        from accelerate import PartialState

        PartialState()


def agreed(decision: T) -> T:
    """What the leading process decided; the others' own opinion is not asked."""
    if count() == 1:
        return decision
    from accelerate.utils import broadcast_object_list

    [found] = broadcast_object_list([decision])
    return found
