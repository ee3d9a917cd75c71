"""The stand-in's server: on this machine only, a thread a request, a journal of what came, faults on command."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tasks.publishers.stand_in import graph_api, instagram_app, instagram_login
from tasks.publishers.stand_in.faults import Answer, Fault, Faults, wrong
from tasks.publishers.stand_in.request import Endpoint, Request, as_json
from tasks.publishers.stand_in.state import Account, Medium, State

HOST = "127.0.0.1"
ENDPOINTS = (*instagram_app.ENDPOINTS, *instagram_login.ENDPOINTS, *graph_api.ENDPOINTS)
MOST_BYTES = 64_000_000
LATE = ("drop", "slow", "truncated")  # faults that have no answer of their own


@dataclass(frozen=True)
class Entry:
    """A line of the journal: sizes and names, and nothing of what was sent."""

    endpoint: str
    method: str
    path: str
    received: int
    status: int
    """0 where no answer went back."""
    fault: str = ""
    accepted: bool = True


class StandIn:
    """`with StandIn() as server:` and clients can publish to `server.address`.

    With a folder, what was published outlives the server: another one of the same folder goes on from there.
    """

    def __init__(self, accounts: Sequence[Account] = (Account(),), folder: Path | None = None, port: int = 0) -> None:
        self.state = State({each.name: each for each in accounts}, folder)
        self.state.load()
        self.faults = Faults()
        self.journal: list[Entry] = []
        self.endpoints: tuple[Endpoint, ...] = ENDPOINTS
        self.lock = threading.RLock()
        self.stopping = threading.Event()
        self._server = _Server((HOST, port), _Handler)
        self._server.stand_in = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.005,), daemon=True)

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self._server.server_address[1]}"

    @property
    def published(self) -> list[Medium]:
        with self.lock:
            return list(self.state.published)

    def commits(self) -> int:
        """How many commits came, answered or not, accepted or not."""
        with self.lock:
            return sum(each.endpoint in instagram_app.COMMITS for each in self.journal)

    def fail(self, endpoint: str, kind: Any, **more: Any) -> None:
        """Let an endpoint go wrong; see `Fault`."""
        self.faults.add(Fault(endpoint, kind, **more))

    def session(self, account: str) -> dict[str, Any]:
        """A session as a login would leave it, to rehearse without one."""
        with self.lock:
            known = self.state.accounts[account]
            return {"authorization_data": {"ds_user_id": known.user_id, "sessionid": self.state.open_session(known)}}

    def start(self) -> StandIn:
        self._thread.start()
        return self

    def stop(self) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def __enter__(self) -> StandIn:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def answer(self, request: Request) -> tuple[Answer | None, Fault | None, Endpoint | None]:
        """What to send back; no answer where the connection is to be dropped."""
        found = _endpoint(self.endpoints, request)
        if found is None:
            return as_json(404, {"message": "no such endpoint", "status": "fail"}), None, None
        endpoint, parts = found
        fault = self.faults.take(endpoint.name)
        answer = None
        if fault is None or fault.accepts:
            answer = self._serve(endpoint, replace(request, parts=parts))
        if fault is None:
            return answer, None, endpoint
        if fault.kind in LATE:
            return answer or as_json(200, {"status": "ok"}), fault, endpoint
        return wrong(fault.kind, endpoint.graph), fault, endpoint

    def _serve(self, endpoint: Endpoint, request: Request) -> Answer:
        if endpoint.name == "container":  # fetched before the lock is taken, since it may lie on this very server
            request = replace(request, fetched=graph_api.fetched(request.form().get("image_url", "")))
        with self.lock:
            answer = endpoint.serve(self.state, request)
            if request.method != "GET":
                self.state.save()
            return answer

    def note(self, request: Request, endpoint: str, status: int, fault: Fault | None) -> None:
        accepted = fault is None or fault.accepts
        with self.lock:
            kind = fault.kind if fault else ""
            path = request.path
            self.journal.append(Entry(endpoint, request.method, path, len(request.body), status, kind, accepted))

    def control(self, request: Request) -> Answer:
        """What a rehearsal in another process asks and commands."""
        told = json.loads(request.body or b"{}")
        with self.lock:
            if request.path == "/_/faults" and request.method == "POST":
                self.faults.add(Fault(**told))
            elif request.path == "/_/faults" and request.method == "DELETE":
                self.faults.clear()
            elif request.path == "/_/clock" and request.method == "POST":
                self.state.skew = float(told["skew"])
            elif request.path == "/_/session" and request.method == "POST":
                return as_json(200, self.session(told["account"]))
            elif request.path == "/_/published":
                return as_json(200, {"published": [asdict(each) for each in self.state.published]})
            elif request.path == "/_/journal":
                return as_json(200, {"journal": [asdict(each) for each in self.journal]})
            else:
                return as_json(404, {"message": "no such command"})
        return as_json(200, {"status": "ok"})


class _Server(ThreadingHTTPServer):
    stand_in: StandIn
    daemon_threads = True
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = 60
    disable_nagle_algorithm = True  # head and body of an answer are sent apart, and would wait for each other

    def _handle(self) -> None:
        stand_in = self.server.stand_in
        request = self._read(stand_in)
        if request is None:
            return
        if request.path.startswith("/_/"):
            self._send(_safely(lambda: stand_in.control(request)))
            return
        answer, fault, endpoint = stand_in.answer(request)
        name = endpoint.name if endpoint else "unknown"
        silent = fault is not None and fault.kind == "drop"
        if fault is not None and fault.kind == "slow":
            stand_in.stopping.wait(fault.seconds)
            silent = not fault.accepts
        stand_in.note(request, name, 0 if silent or answer is None else answer.status, fault)
        if silent or answer is None:
            self._hang_up()
        else:
            self._send(answer, torn=fault is not None and fault.kind == "truncated")

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815

    def _read(self, stand_in: StandIn) -> Request | None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > MOST_BYTES:
            self._hang_up()
            return None
        body = self.rfile.read(length)
        if len(body) < length:  # the client hung up in the middle of it
            self.close_connection = True
            return None
        parts = urlsplit(self.path)
        headers: Mapping[str, str] = {name.lower(): value for name, value in self.headers.items()}
        return Request(self.command, parts.path, dict(parse_qsl(parts.query)), headers, body, stand_in.address)

    def _send(self, answer: Answer, torn: bool = False) -> None:
        try:
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body[: len(answer.body) // 2] if torn else answer.body)
            self.wfile.flush()
        except OSError:  # the client has given up waiting
            self.close_connection = True
            return
        if torn:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):  # the client was quicker
            self.connection.shutdown(socket.SHUT_RDWR)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(self.server.stand_in.state.now() if timestamp is None else timestamp)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: requests hold secrets, and the journal has what is worth keeping."""


def _endpoint(known: Sequence[Endpoint], request: Request) -> tuple[Endpoint, dict[str, str]] | None:
    for each in known:
        found = re.fullmatch(each.pattern, request.path) if each.method == request.method else None
        if found:
            return each, {key: value for key, value in found.groupdict().items() if value is not None}
    return None


def _safely(ask: Any) -> Answer:
    try:
        return ask()
    except (TypeError, ValueError, KeyError) as error:
        return as_json(400, {"message": f"that is no command ({error})"})
