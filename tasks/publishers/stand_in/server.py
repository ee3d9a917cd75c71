"""Run the stand-in's server: on this machine only, with a thread for each request, a journal, and faults on command."""

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
from tasks.publishers.stand_in.faults import Answer, Fault, Faults, fault_answer
from tasks.publishers.stand_in.request import Endpoint, Request, as_json
from tasks.publishers.stand_in.state import Account, Medium, State

HOST = "127.0.0.1"
ENDPOINTS = (*instagram_app.ENDPOINTS, *instagram_login.ENDPOINTS, *graph_api.ENDPOINTS)
MAX_BODY_BYTES = 64_000_000
LATE_FAULTS = ("drop", "slow", "truncated")  # faults without an answer of their own


@dataclass(frozen=True)
class JournalEntry:
    """A line of the journal: sizes and names, nothing of the content."""

    endpoint: str
    method: str
    path: str
    received: int
    status: int
    """0 if no answer was sent."""
    fault: str = ""
    accepted: bool = True


class StandIn:
    """A server for `with StandIn() as server:`, to which clients can publish at `server.address`.

    With a folder, the posts are saved: another server with the same folder continues from there.
    """

    def __init__(self, accounts: Sequence[Account] = (Account(),), folder: Path | None = None, port: int = 0) -> None:
        self.state = State({account.name: account for account in accounts}, folder)
        self.state.load_state()
        self.faults = Faults()
        self.journal: list[JournalEntry] = []
        self.endpoints: tuple[Endpoint, ...] = ENDPOINTS
        self.lock = threading.RLock()
        self.stopping = threading.Event()
        self._server = _StandInServer((HOST, port), _Handler)
        self._server.stand_in = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.005,), daemon=True)

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self._server.server_address[1]}"

    @property
    def published(self) -> list[Medium]:
        with self.lock:
            return list(self.state.published)

    def count_commits(self) -> int:
        """Count the commits that arrived, answered or not, accepted or not."""
        with self.lock:
            return sum(entry.endpoint in instagram_app.COMMIT_ENDPOINTS for entry in self.journal)

    def add_fault(self, endpoint: str, kind: Any, **more: Any) -> None:
        """Add a fault to an endpoint; see `Fault`."""
        self.faults.add_fault(Fault(endpoint, kind, **more))

    def new_session(self, account: str) -> dict[str, Any]:
        """Return the settings of a new session as a login would, for rehearsals without a login."""
        with self.lock:
            owner = self.state.accounts[account]
            return {"authorization_data": {"ds_user_id": owner.user_id, "sessionid": self.state.open_session(owner)}}

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

    def answer_request(self, request: Request) -> tuple[Answer | None, Fault | None, Endpoint | None]:
        """Return the answer to send, with the fault and the endpoint; no answer if the connection is to be dropped."""
        match = _find_endpoint(self.endpoints, request)
        if match is None:
            return as_json(404, {"message": "no such endpoint", "status": "fail"}), None, None
        endpoint, parts = match
        fault = self.faults.take_fault(endpoint.name)
        answer = None
        if fault is None or fault.accepts:
            answer = self._serve_endpoint(endpoint, replace(request, parts=parts))
        if fault is None:
            return answer, None, endpoint
        if fault.kind in LATE_FAULTS:
            return answer or as_json(200, {"status": "ok"}), fault, endpoint
        return fault_answer(fault.kind, endpoint.graph), fault, endpoint

    def _serve_endpoint(self, endpoint: Endpoint, request: Request) -> Answer:
        if endpoint.name == "container":  # fetched before the lock is taken, since this server itself may hold it
            request = replace(request, fetched=graph_api.fetch_picture(request.form_fields().get("image_url", "")))
        with self.lock:
            answer = endpoint.serve(self.state, request)
            if request.method != "GET":
                self.state.save_state()
            return answer

    def record_request(self, request: Request, endpoint: str, status: int, fault: Fault | None) -> None:
        accepted = fault is None or fault.accepts
        with self.lock:
            kind = fault.kind if fault else ""
            path = request.path
            self.journal.append(JournalEntry(endpoint, request.method, path, len(request.body), status, kind, accepted))

    def handle_control(self, request: Request) -> Answer:
        """Carry out a command or a query of a rehearsal in another process."""
        command = json.loads(request.body or b"{}")
        with self.lock:
            if request.path == "/_/faults" and request.method == "POST":
                self.faults.add_fault(Fault(**command))
            elif request.path == "/_/faults" and request.method == "DELETE":
                self.faults.clear_faults()
            elif request.path == "/_/clock" and request.method == "POST":
                self.state.skew = float(command["skew"])
            elif request.path == "/_/session" and request.method == "POST":
                return as_json(200, self.new_session(command["account"]))
            elif request.path == "/_/published":
                return as_json(200, {"published": [asdict(medium) for medium in self.state.published]})
            elif request.path == "/_/journal":
                return as_json(200, {"journal": [asdict(entry) for entry in self.journal]})
            else:
                return as_json(404, {"message": "no such command"})
        return as_json(200, {"status": "ok"})


class _StandInServer(ThreadingHTTPServer):
    stand_in: StandIn
    daemon_threads = True
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _StandInServer
    timeout = 60
    disable_nagle_algorithm = True  # head and body of an answer are sent separately, and would wait for each other

    def _handle_request(self) -> None:
        stand_in = self.server.stand_in
        request = self._read_request(stand_in)
        if request is None:
            return
        if request.path.startswith("/_/"):
            self._send_answer(_control_answer(lambda: stand_in.handle_control(request)))
            return
        answer, fault, endpoint = stand_in.answer_request(request)
        name = endpoint.name if endpoint else "unknown"
        silent = fault is not None and fault.kind == "drop"
        if fault is not None and fault.kind == "slow":
            stand_in.stopping.wait(fault.seconds)
            silent = not fault.accepts
        stand_in.record_request(request, name, 0 if silent or answer is None else answer.status, fault)
        if silent or answer is None:
            self._hang_up()
        else:
            self._send_answer(answer, torn=fault is not None and fault.kind == "truncated")

    do_GET = do_POST = do_PUT = do_DELETE = _handle_request  # noqa: N815

    def _read_request(self, stand_in: StandIn) -> Request | None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY_BYTES:
            self._hang_up()
            return None
        body = self.rfile.read(length)
        if len(body) < length:  # the client hung up in the middle of it
            self.close_connection = True
            return None
        parts = urlsplit(self.path)
        headers: Mapping[str, str] = {name.lower(): value for name, value in self.headers.items()}
        return Request(self.command, parts.path, dict(parse_qsl(parts.query)), headers, body, stand_in.address)

    def _send_answer(self, answer: Answer, torn: bool = False) -> None:
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
        return super().date_time_string(self.server.stand_in.state.current_time() if timestamp is None else timestamp)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: requests hold secrets, and the journal has what matters."""


def _find_endpoint(endpoints: Sequence[Endpoint], request: Request) -> tuple[Endpoint, dict[str, str]] | None:
    for endpoint in endpoints:
        match = re.fullmatch(endpoint.pattern, request.path) if endpoint.method == request.method else None
        if match:
            return endpoint, {key: value for key, value in match.groupdict().items() if value is not None}
    return None


def _control_answer(ask: Any) -> Answer:
    try:
        return ask()
    except (TypeError, ValueError, KeyError) as error:
        return as_json(400, {"message": f"that is no command ({error})"})
