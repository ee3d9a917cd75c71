"""A request as the stand-in's endpoints see it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl

from tasks.publishers.stand_in.faults import Answer
from tasks.publishers.stand_in.state import State


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    base: str
    """The server's own address."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """What the endpoint's pattern found in the path."""
    fetched: bytes | None = None
    """The picture at the address that a container is to be made of."""

    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(errors="replace"), keep_blank_values=True))

    def signed(self) -> dict[str, Any]:
        """The JSON inside a body that the app has signed."""
        text = parse_qs(self.body.decode(errors="replace")).get("signed_body", [""])[0]
        found = json.loads(text.partition(".")[2] or "{}")
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class Endpoint:
    """A name to speak of it, the method and pattern it answers to, and what it does."""

    name: str
    method: str
    pattern: str
    serve: Callable[[State, Request], Answer]
    graph: bool = False


def as_json(status: int, values: Mapping[str, Any], headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    return Answer(status, json.dumps(values).encode(), headers)
