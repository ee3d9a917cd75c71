"""Ways for an answer to go wrong, on command."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Literal, get_args

from models.system.errors import UserError

FaultKind = Literal[
    "drop", "408", "429", "500", "empty", "object", "html", "truncated", "slow", "challenge", "login", "feedback"
]
FAULTS: tuple[str, ...] = get_args(FaultKind)
HTML = b"<!DOCTYPE html><html><body><h1>Sorry, something went wrong.</h1></body></html>"


@dataclass(frozen=True)
class Fault:
    """What happens to a request at an endpoint, instead of what it asks for."""

    endpoint: str
    kind: FaultKind
    accepts: bool = False
    """Whether what was asked for is done all the same, before the answer goes wrong."""
    times: int | None = 1
    """How often it happens; None is always."""
    seconds: float = 30.0
    """How long a slow answer takes."""
    after: int = 0
    """So many requests go well first."""

    def __post_init__(self) -> None:
        if self.kind not in FAULTS:
            raise UserError(f"{self.kind!r} is no fault of the stand-in: the known ones are {', '.join(FAULTS)}")


@dataclass(frozen=True)
class Answer:
    """What is sent back: a status and a body."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    kind: str = "application/json; charset=utf-8"


class Faults:
    """The faults in force, by endpoint."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: list[Fault] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._known.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._known.clear()

    def take(self, endpoint: str) -> Fault | None:
        """The fault that this request meets, which is then used up by one."""
        with self._lock:
            for place, fault in enumerate(self._known):
                if fault.endpoint not in (endpoint, "*"):
                    continue
                if fault.after:
                    self._known[place] = replace(fault, after=fault.after - 1)
                    return None
                if fault.times is not None:
                    left = fault.times - 1
                    self._known[place : place + 1] = [replace(fault, times=left)] if left else []
                return fault
        return None


PHONE = {
    "408": (408, b""),
    "429": (429, b'{"message":"Please wait a few minutes before you try again.","status":"fail"}'),
    "500": (500, HTML),
    "empty": (200, b""),
    "object": (200, b"{}"),
    "html": (200, HTML),
    "challenge": (
        400,
        b'{"message":"challenge_required","challenge":{"url":"https://i.instagram.com/challenge/1/a/",'
        b'"api_path":"/challenge/1/a/"},"status":"fail"}',
    ),
    "login": (403, b'{"message":"login_required","logout_reason":8,"status":"fail"}'),
    "feedback": (
        400,
        b'{"message":"feedback_required","spam":true,"feedback_title":"Try Again Later",'
        b'"feedback_message":"We restrict certain activity to protect our community.","status":"fail"}',
    ),
}
GRAPH = PHONE | {
    "429": (429, b'{"error":{"message":"Application request limit reached","code":4}}'),
    "500": (500, b'{"error":{"message":"An unknown error has occurred.","code":1,"is_transient":true}}'),
    "challenge": (400, b'{"error":{"message":"The user is checkpointed.","code":190,"error_subcode":459}}'),
    "login": (400, b'{"error":{"message":"Session has expired.","code":190,"error_subcode":463}}'),
    "feedback": (
        400,
        b'{"error":{"message":"We restrict certain activity.","code":4,"error_subcode":2207051}}',
    ),
}


def wrong(kind: str, graph: bool) -> Answer:
    """The answer of a fault that has one of its own."""
    status, body = (GRAPH if graph else PHONE)[kind]
    return Answer(status, body, kind="text/html" if body == HTML else "application/json; charset=utf-8")
