"""Multi-process training, as `accelerate launch` starts it: the leading process and its decisions for all."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")


def process_count() -> int:
    """Return how many processes were started together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_leader() -> bool:
    """Tell whether this process is the one that writes, prints and decides; a single process always is."""
    return process_count() == 1 or int(os.environ.get("RANK", "0")) == 0


def local_rank() -> int:
    """Return the number of this process among those of its machine, which is also the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def join_processes() -> None:
    """Connect to the other processes, if there are any."""
    if process_count() > 1:
        from accelerate import PartialState

        PartialState()


def broadcast_decision(decision: T) -> T:
    """Return the leading process's decision to every process; the others' decisions are ignored."""
    if process_count() == 1:
        return decision
    from accelerate.utils import broadcast_object_list

    [agreed] = broadcast_object_list([decision])
    return agreed
