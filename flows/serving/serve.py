"""Run everything by one command: Prefect's server, the runner of flows, and the review page.

This process only supervises them: it restarts those that die, and ends those that it started.
"""

from __future__ import annotations

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

from board.serve import board_address
from flows.serving.supervisor import SupervisedProcess, Supervisor
from models.system import file_lock
from models.system.errors import UserError
from tasks.settings.settings import LoadedSettings

LOCK_FILE = "serve.lock"
LOGS_FOLDER = "logs"
HOST = "127.0.0.1"
START_SECONDS = 180.0
"""Long enough for the first start, which creates Prefect's database, on a slow machine."""
PORT_SECONDS = 5.0
"""Children of a killed predecessor need a moment to notice that it is gone."""
PREFECT_DEFAULTS: Mapping[str, str] = {
    # No telemetry unless the owner has switched it on.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    # Leases of the GPU are stored on disk. In the server's memory, Prefect's default, they would be lost when server and run
    # are killed together, and the GPU would never be released.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    # A run every ten minutes is fifty thousand a year. The studio records what they did; Prefect's rows need not stay.
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(30 * 24 * 3600),
}


@dataclass(frozen=True)
class ServerAddresses:
    """Addresses that the servers listen on."""

    api: str
    """Address of Prefect's API, with /api at its end."""
    port: int | None
    """Port of the server started here; None if it runs elsewhere."""
    board: tuple[str, int]
    """Host and port of the review page."""

    @property
    def prefect_url(self) -> str:
        return self.api.removesuffix("/api")

    @property
    def review_url(self) -> str:
        """Address of the review page for a browser on this machine."""
        return board_address(*self.board)


def find_addresses(loaded: LoadedSettings, port: int | None = None) -> ServerAddresses:
    """Read the addresses from the settings; PREFECT_API_URL takes precedence."""
    elsewhere = os.environ.get("PREFECT_API_URL") or loaded.settings.server.prefect
    local_port = port or loaded.settings.server.port
    if port and elsewhere:
        raise UserError(f"--port is for a server started here, and {elsewhere} is used: leave one of them out")
    return ServerAddresses(
        elsewhere.rstrip("/") or f"http://{HOST}:{local_port}/api",
        None if elsewhere else local_port,
        (loaded.settings.board.host, loaded.settings.board.port),
    )


def serve_everything(loaded: LoadedSettings, file: Path, say: Callable[[str], None], port: int | None = None) -> None:
    """Run everything until Ctrl-C (KeyboardInterrupt) or SIGTERM (returns)."""
    addresses = find_addresses(loaded, port)
    lock_values = {"prefect": addresses.prefect_url, "board": addresses.review_url}
    try:
        with file_lock.hold_lock(loaded.studio / LOCK_FILE, lock_values), _until_terminated():
            _run_parts(loaded, file, addresses, say)
    except file_lock.LockHeldError as error:
        raise UserError(_already_running_message(loaded, error.holder)) from None


def _run_parts(loaded: LoadedSettings, file: Path, addresses: ServerAddresses, say: Callable[[str], None]) -> None:
    check_ports(addresses)
    parts = Supervisor(child_environment(loaded, file, addresses), str(loaded.folder), say)
    try:
        if addresses.port:
            parts.start_process(
                _new_part(
                    "Prefect server", "server", HOST, addresses.port, log=loaded.studio / LOGS_FOLDER / "prefect.log"
                )
            )
        wait_for_server(addresses, parts)
        say(f"Prefect       {addresses.prefect_url}")
        parts.start_process(_new_part("runner", "runner", HOST, 0, patience=30))
        parts.start_process(_new_part("review page", "board", *addresses.board))
        say(f"review page   {addresses.review_url}")
        say("Ctrl-C stops everything")
        parts.watch_forever()
    finally:
        parts.stop_all()


def child_environment(loaded: LoadedSettings, file: Path, addresses: ServerAddresses) -> dict[str, str]:
    """Return the environment of the parts and their runs. Variables that the user has set are kept."""
    ours = {
        **PREFECT_DEFAULTS,
        "PREFECT_HOME": str((loaded.studio / "prefect").resolve()),
    }
    fixed = {"PREFECT_API_URL": addresses.api, "RESTAGE_SETTINGS": str(file.resolve()), "PYTHONUNBUFFERED": "1"}
    if addresses.port:
        # Prefect's pages send their requests to this address, whatever the server was started with.
        fixed |= {"PREFECT_SERVER_API_HOST": HOST, "PREFECT_SERVER_API_PORT": str(addresses.port)}
    return {**ours, **os.environ, **fixed}


def _new_part(
    name: str, kind: str, host: str, port: int, patience: float = 10.0, log: Path | None = None
) -> SupervisedProcess:
    # -P: a folder called models beside the settings must not be imported.
    return SupervisedProcess(
        name, [sys.executable, "-P", "-m", "flows.serving.child_process", kind, host, str(port)], patience, log
    )


def wait_for_server(addresses: ServerAddresses, parts: Supervisor, patience: float = START_SECONDS) -> None:
    """Wait until the server answers."""
    until = time.monotonic() + patience
    if not addresses.port and not is_reachable(addresses.api):
        parts.say(f"waiting for the Prefect server at {addresses.prefect_url}")
    while not is_reachable(addresses.api):
        if time.monotonic() > until:
            raise UserError(
                f"the Prefect server at {addresses.prefect_url} does not answer: {_remedy_for(addresses, parts)}"
            )
        parts.restart_dead(time.monotonic())
        time.sleep(0.2)


def is_reachable(api: str, seconds: float = 2.0) -> bool:
    """Tell whether a Prefect server answers."""
    import httpx

    auth = os.environ.get("PREFECT_API_AUTH_STRING", "").partition(":")
    try:
        with httpx.Client(trust_env=False, timeout=seconds, auth=(auth[0], auth[2]) if auth[0] else None) as client:
            return client.get(f"{api}/health").status_code == 200
    except httpx.HTTPError:
        return False


def _remedy_for(addresses: ServerAddresses, parts: Supervisor) -> str:
    if addresses.port:
        return f"read what it said in {parts.processes[0].log}"
    return "start it, or leave [server] prefect and PREFECT_API_URL empty"


def check_ports(addresses: ServerAddresses, patience: float = PORT_SECONDS) -> None:
    """Check that the ports are free before anything is started."""
    ports = [(*addresses.board, "[board] port in settings.toml")]
    if addresses.port:
        ports.insert(0, (HOST, addresses.port, "[server] port in settings.toml or --port"))
    until = time.monotonic() + patience
    for host, port, setting in ports:
        while not _is_free(host, port):
            if time.monotonic() > until:
                raise UserError(f"port {port} is in use by another program: stop it, or choose another with {setting}")
            time.sleep(0.1)


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _already_running_message(loaded: LoadedSettings, lock_values: Mapping[str, str]) -> str:
    address = f" at {lock_values['prefect']}" if lock_values.get("prefect") else ""
    process = f" (process {lock_values['pid']})" if lock_values.get("pid") else ""
    return f"restage serve runs already for {loaded.studio}{address}{process}: use that one, or stop it first"


class _TerminatedError(BaseException):
    """Raised on SIGTERM, to end in good order."""


@contextmanager
def _until_terminated() -> Iterator[None]:
    def handle_sigterm(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second signal must not interrupt the shutdown
        raise _TerminatedError

    before = signal.signal(signal.SIGTERM, handle_sigterm)
    try:
        yield
    except _TerminatedError:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
