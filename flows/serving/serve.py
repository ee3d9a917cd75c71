"""Everything that runs all the time, by one command: Prefect's server, what starts the runs, and the review page.

This process only watches over them: it starts again what dies, and ends what it started.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from flows.serving.supervisor import Child, Children
from models.system import file_lock
from models.system.errors import UserError
from tasks.settings.settings import Loaded

LOCK = "serve.lock"
LOGS = "logs"
HOST = "127.0.0.1"
START_SECONDS = 180.0
"""The first start makes Prefect's database, on a slow machine too."""
PORT_SECONDS = 5.0
"""What a killed predecessor left behind needs a moment to notice that it is alone."""
QUIET: Mapping[str, str] = {
    # Nothing is told to anybody, unless its owner has switched that on.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    # Who holds the GPU is remembered on disk. In the server's memory, which Prefect prefers, it would be forgotten when server
    # and run are killed together, and nobody would ever let go of it.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    # A run every ten minutes is fifty thousand a year. What they did stands in the studio; Prefect's rows need not stay.
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(30 * 24 * 3600),
}


@dataclass(frozen=True)
class Places:
    """Where everything listens."""

    api: str
    """Of Prefect's server, with /api at its end."""
    port: int | None
    """Where that server is started here; None where it runs already."""
    board: tuple[str, int] | None

    @property
    def pages(self) -> str:
        return self.api.removesuffix("/api")

    @property
    def review(self) -> str:
        """The review page, as one types it into a browser here; empty where there is none."""
        if not self.board:
            return ""
        from board.serve import address

        return address(*self.board)


def places(loaded: Loaded, port: int | None = None) -> Places:
    """As the settings say; PREFECT_API_URL counts more."""
    elsewhere = os.environ.get("PREFECT_API_URL") or loaded.settings.server.prefect
    here = port or loaded.settings.server.port
    if port and elsewhere:
        raise UserError(f"--port is for a server started here, and {elsewhere} is used: leave one of them out")
    at = (loaded.settings.board.host, loaded.settings.board.port)
    there = importlib.util.find_spec("board.serve") is not None
    return Places(
        elsewhere.rstrip("/") or f"http://{HOST}:{here}/api", None if elsewhere else here, at if there else None
    )


def serve(loaded: Loaded, file: Path, say: Callable[[str], None], port: int | None = None) -> None:
    """Run everything until Ctrl-C (KeyboardInterrupt) or SIGTERM (returns)."""
    where = places(loaded, port)
    said = {"prefect": where.pages, "board": where.review}
    try:
        with file_lock.hold(loaded.studio / LOCK, said), _until_terminated():
            _serve(loaded, file, where, say)
    except file_lock.HeldError as held:
        raise UserError(_taken(loaded, held.said)) from None


def _serve(loaded: Loaded, file: Path, where: Places, say: Callable[[str], None]) -> None:
    check_ports(where)
    parts = Children(environment(loaded, file, where), str(loaded.folder), say)
    try:
        if where.port:
            parts.add(_part("Prefect server", "server", HOST, where.port, log=loaded.studio / LOGS / "prefect.log"))
        wait_for(where, parts)
        say(f"Prefect       {where.pages}")
        parts.add(_part("runner", "runner", HOST, 0, patience=30))
        if where.board:
            parts.add(_part("review page", "board", *where.board))
            say(f"review page   {where.review}")
        say("Ctrl-C stops everything")
        parts.watch()
    finally:
        parts.stop()


def environment(loaded: Loaded, file: Path, where: Places) -> dict[str, str]:
    """What the parts and the runs they start find set. What the user has set stays."""
    ours = {
        **QUIET,
        "PREFECT_HOME": str((loaded.studio / "prefect").resolve()),
    }
    fixed = {"PREFECT_API_URL": where.api, "RESTAGE_SETTINGS": str(file.resolve()), "PYTHONUNBUFFERED": "1"}
    if where.port:
        # Its pages ask where these say that it listens, whatever it was started with.
        fixed |= {"PREFECT_SERVER_API_HOST": HOST, "PREFECT_SERVER_API_PORT": str(where.port)}
    return {**ours, **os.environ, **fixed}


def _part(name: str, kind: str, host: str, port: int, patience: float = 10.0, log: Path | None = None) -> Child:
    # -P: a folder called models beside the settings is no part of this program.
    return Child(
        name, [sys.executable, "-P", "-m", "flows.serving.child_process", kind, host, str(port)], patience, log
    )


def wait_for(where: Places, parts: Children, patience: float = START_SECONDS) -> None:
    """Until the server answers."""
    until = time.monotonic() + patience
    if not where.port and not answers(where.api):
        parts.say(f"waiting for the Prefect server at {where.pages}")
    while not answers(where.api):
        if time.monotonic() > until:
            raise UserError(f"the Prefect server at {where.pages} does not answer: {_remedy(where, parts)}")
        parts.look(time.monotonic())
        time.sleep(0.2)


def answers(api: str, seconds: float = 2.0) -> bool:
    """Whether a Prefect server is there."""
    import httpx

    auth = os.environ.get("PREFECT_API_AUTH_STRING", "").partition(":")
    try:
        with httpx.Client(trust_env=False, timeout=seconds, auth=(auth[0], auth[2]) if auth[0] else None) as client:
            return client.get(f"{api}/health").status_code == 200
    except httpx.HTTPError:
        return False


def _remedy(where: Places, parts: Children) -> str:
    if where.port:
        return f"read what it said in {parts.all[0].log}"
    return "start it, or leave [server] prefect and PREFECT_API_URL empty"


def check_ports(where: Places, patience: float = PORT_SECONDS) -> None:
    """Said before anything is started."""
    wanted = [(HOST, where.port, "[server] port in settings.toml or --port")] if where.port else []
    if where.board:
        wanted.append((*where.board, "[board] port in settings.toml"))
    until = time.monotonic() + patience
    for host, port, knob in wanted:
        while not _is_free(host, port):
            if time.monotonic() > until:
                raise UserError(f"port {port} is in use by another program: stop it, or choose another with {knob}")
            time.sleep(0.1)


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _taken(loaded: Loaded, said: Mapping[str, str]) -> str:
    at = f" at {said['prefect']}" if said.get("prefect") else ""
    who = f" (process {said['pid']})" if said.get("pid") else ""
    return f"restage serve runs already for {loaded.studio}{at}{who}: use that one, or stop it first"


class _TerminatedError(BaseException):
    """SIGTERM: end in good order."""


@contextmanager
def _until_terminated() -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # being told twice must not stop the stopping
        raise _TerminatedError

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except _TerminatedError:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
