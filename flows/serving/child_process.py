"""One part of `restage serve` in a process of its own: `python -m flows.serving.child_process server|runner|board HOST PORT`.

It ends when its parent process is gone, for whatever reason, and ends all processes that it started.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading

from flows.serving.supervisor import HOPELESS_EXIT_CODE
from models.system.errors import UserError

RUNS_AT_ONCE = 4
"""Runs at the same time, each in its own process. Those that need the GPU still run one after another."""
POLL_SECONDS = 5.0
"""Seconds between two queries for scheduled runs."""
STOPPING_SECONDS = 5
GRACE_SECONDS = 8.0
"""Seconds that a run has to stop before it is signalled again."""


def main(name: str, host: str, port: int) -> None:
    threading.Thread(target=end_with_parent, daemon=True, name="end with parent").start()
    try:
        {"server": run_server, "runner": run_runner, "board": run_board}[name](host, port)
    except UserError as error:
        print(f"restage: {error}", file=sys.stderr)
        sys.exit(HOPELESS_EXIT_CODE)


def end_with_parent() -> None:
    """End this process when its standard input, a pipe from the parent that stays empty, is closed."""
    while os.read(0, 1):
        pass
    if os.name == "posix" and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def run_server(host: str, port: int) -> None:
    """Serve Prefect's API and its pages."""
    import uvicorn
    from prefect.server.api.server import create_app

    app = create_app(final=True)
    uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=STOPPING_SECONDS)


def run_runner(host: str, port: int) -> None:
    """Register the deployments, then start the runs that are due."""
    asyncio.run(_run_deployments())


async def _run_deployments() -> None:
    from prefect.runner import Runner

    from flows.serving import prefect_server
    from tasks.settings.settings import load_settings

    loaded = load_settings()
    deployments = prefect_server.deployments_for(loaded)
    await prefect_server.prepare_server(deployments)
    worker = Runner(
        name="restage", limit=RUNS_AT_ONCE, query_seconds=POLL_SECONDS, heartbeat_seconds=30, pause_on_shutdown=False
    )
    await prefect_server.delete_stale({await worker.aadd_deployment(deployment) for deployment in deployments})
    running = asyncio.create_task(worker.start())
    while not worker.started and not running.done():
        await asyncio.sleep(0.05)
    stop = asyncio.Event()
    # Prefect's own handler ends the process from inside a signal, sometimes before the runs are told.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([stopped, running], return_when=asyncio.FIRST_COMPLETED)
    if stopped.done():
        # A run that only waits, for the GPU say, ends at the second signal; at this one we have stopped listening.
        asyncio.get_running_loop().call_later(GRACE_SECONDS, os.killpg, 0, signal.SIGTERM)
        await worker.astop()
    await running


def run_board(host: str, port: int) -> None:
    """Serve the review page."""
    from board.serve import serve_board
    from tasks.settings.settings import load_settings

    serve_board(load_settings(), host, port)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
