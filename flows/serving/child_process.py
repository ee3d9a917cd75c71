"""One part of `restage serve` in a process of its own: `python -m flows.serving.child_process server|runner|board HOST PORT`.

It ends when the process that started it is gone, however that ended, and takes along whatever it started itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading

from flows.serving.supervisor import HOPELESS
from models.system.errors import UserError

RUNS_AT_ONCE = 4
"""Runs in processes of their own; those that need the GPU still come one after another."""
LOOK_SECONDS = 5.0
"""How often scheduled runs are asked for."""
STOPPING_SECONDS = 5
GRACE_SECONDS = 8.0
"""What a run has to put down its work before it is told again."""


def main(name: str, host: str, port: int) -> None:
    threading.Thread(target=end_with_parent, daemon=True, name="end with parent").start()
    try:
        {"server": server, "runner": runner, "board": board}[name](host, port)
    except UserError as error:
        print(f"restage: {error}", file=sys.stderr)
        sys.exit(HOPELESS)


def end_with_parent() -> None:
    """Standard input is a pipe from the parent, in which nothing ever stands."""
    while os.read(0, 1):
        pass
    if os.name == "posix" and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def server(host: str, port: int) -> None:
    """Prefect's server and its pages."""
    import uvicorn
    from prefect.server.api.server import create_app

    app = create_app(final=True)
    uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=STOPPING_SECONDS)


def runner(host: str, port: int) -> None:
    """What starts the runs: registers the deployments, then looks for runs that are due."""
    asyncio.run(_run())


async def _run() -> None:
    from prefect.runner import Runner

    from flows.serving import prefect_server
    from tasks.settings.settings import load

    loaded = load()
    wanted = prefect_server.wanted(loaded)
    await prefect_server.prepare(wanted)
    worker = Runner(
        name="restage", limit=RUNS_AT_ONCE, query_seconds=LOOK_SECONDS, heartbeat_seconds=30, pause_on_shutdown=False
    )
    await prefect_server.forget({await worker.aadd_deployment(each) for each in wanted})
    running = asyncio.create_task(worker.start())
    while not worker.started and not running.done():
        await asyncio.sleep(0.05)
    stop = asyncio.Event()
    # Prefect's own handler ends the process from inside a signal, sometimes before the runs are told.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    told = asyncio.create_task(stop.wait())
    await asyncio.wait([told, running], return_when=asyncio.FIRST_COMPLETED)
    if told.done():
        # A run that only waits, for the GPU say, ends at the second signal; at this one we have stopped listening.
        asyncio.get_running_loop().call_later(GRACE_SECONDS, os.killpg, 0, signal.SIGTERM)
        await worker.astop()
    await running


def board(host: str, port: int) -> None:
    """The review page."""
    from board.serve import run
    from tasks.settings.settings import load

    run(load(), host, port)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
