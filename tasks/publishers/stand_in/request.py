"""Define the requests and endpoints of the stand-in."""

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
    """The named groups of the endpoint's pattern in the path."""
    fetched: bytes | None = None
    """The picture for a new container, fetched from its address."""

    def form_fields(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(errors="replace"), keep_blank_values=True))

    def signed_object(self) -> dict[str, Any]:
        """Return the JSON object inside a body that the app has signed."""
        text = parse_qs(self.body.decode(errors="replace")).get("signed_body", [""])[0]
        content = json.loads(text.partition(".")[2] or "{}")
        return content if isinstance(content, dict) else {}


@dataclass(frozen=True)
class Endpoint:
    """An endpoint: its name in faults and journal, its method and path pattern, and the function that serves it."""

    name: str
    method: str
    pattern: str
    serve: Callable[[State, Request], Answer]
    graph: bool = False


def as_json(status: int, values: Mapping[str, Any], headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    return Answer(status, json.dumps(values).encode(), headers)
