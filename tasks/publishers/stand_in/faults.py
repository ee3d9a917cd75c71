"""Make answers go wrong, on command."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Literal, get_args

from models.system.errors import UserError

FaultKind = Literal[
    "drop", "408", "429", "500", "empty", "object", "html", "truncated", "slow", "challenge", "login", "feedback"
]
FAULTS: tuple[str, ...] = get_args(FaultKind)
ERROR_PAGE = b"<!DOCTYPE html><html><body><h1>Sorry, something went wrong.</h1></body></html>"


@dataclass(frozen=True)
class Fault:
    """A fault that a request to an endpoint meets."""

    endpoint: str
    kind: FaultKind
    accepts: bool = False
    """True if the request is carried out all the same, before the answer goes wrong."""
    times: int | None = 1
    """How often it happens; None means always."""
    seconds: float = 30.0
    """The duration of a slow answer."""
    after: int = 0
    """The number of requests that succeed first."""

    def __post_init__(self) -> None:
        if self.kind not in FAULTS:
            raise UserError(f"{self.kind!r} is no fault of the stand-in: the known ones are {', '.join(FAULTS)}")


@dataclass(frozen=True)
class Answer:
    """An answer to send back: its status, body and headers."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    kind: str = "application/json; charset=utf-8"


class Faults:
    """The faults in force, by endpoint."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: list[Fault] = []

    def add_fault(self, fault: Fault) -> None:
        with self._lock:
            self._active.append(fault)

    def clear_faults(self) -> None:
        with self._lock:
            self._active.clear()

    def take_fault(self, endpoint: str) -> Fault | None:
        """Return the fault that a request to the endpoint meets, and reduce its count by one."""
        with self._lock:
            for index, fault in enumerate(self._active):
                if fault.endpoint not in (endpoint, "*"):
                    continue
                if fault.after:
                    self._active[index] = replace(fault, after=fault.after - 1)
                    return None
                if fault.times is not None:
                    remaining = fault.times - 1
                    self._active[index : index + 1] = [replace(fault, times=remaining)] if remaining else []
                return fault
        return None


APP_FAULTS = {
    "408": (408, b""),
    "429": (429, b'{"message":"Please wait a few minutes before you try again.","status":"fail"}'),
    "500": (500, ERROR_PAGE),
    "empty": (200, b""),
    "object": (200, b"{}"),
    "html": (200, ERROR_PAGE),
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
GRAPH_FAULTS = APP_FAULTS | {
    "429": (429, b'{"error":{"message":"Application request limit reached","code":4}}'),
    "500": (500, b'{"error":{"message":"An unknown error has occurred.","code":1,"is_transient":true}}'),
    "challenge": (400, b'{"error":{"message":"The user is checkpointed.","code":190,"error_subcode":459}}'),
    "login": (400, b'{"error":{"message":"Session has expired.","code":190,"error_subcode":463}}'),
    "feedback": (
        400,
        b'{"error":{"message":"We restrict certain activity.","code":4,"error_subcode":2207051}}',
    ),
}


def fault_answer(kind: str, graph: bool) -> Answer:
    """Return the answer of a fault that has its own."""
    status, body = (GRAPH_FAULTS if graph else APP_FAULTS)[kind]
    return Answer(status, body, kind="text/html" if body == ERROR_PAGE else "application/json; charset=utf-8")
