"""Supervise child processes: restart them when they die, and end them when this process ends, for whatever reason.

Each child has its own process group, so that its own children end with it. Its standard input is a pipe that closes when
this process ends: a child that sees that (`flows.serving.child_process`) ends its whole group.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from models.system.errors import UserError

CHECK_SECONDS = 0.2
MAX_LOG_BYTES = 10_000_000
MAX_DEATHS = 5
HOPELESS_EXIT_CODE = 78
"""Exit code of a child that has told the user what to fix: restarting it cannot help."""
FORGET_DEATH_SECONDS = 120.0
"""Seconds after which a death is forgotten."""
MAX_WAIT_SECONDS = 10.0


@dataclass
class SupervisedProcess:
    """One child process: how it is started, and how often it has died lately."""

    name: str
    command: Sequence[str]
    patience: float = 10.0
    """Seconds that it may take to end by itself."""
    log: Path | None = None
    """File for its output; without one it writes to our own output."""
    process: subprocess.Popen[bytes] | None = None
    deaths: list[float] = field(default_factory=list)
    due: float = 0.0
    """Time from which it may be started again."""

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self, env: Mapping[str, str], cwd: str) -> None:
        with self._open_log() as output:
            self.process = subprocess.Popen(
                self.command,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=os.name == "posix",
            )

    def _open_log(self) -> AbstractContextManager[IO[bytes] | None]:
        """Open the log. A log that has grown large is moved aside, and a new one begins."""
        if not self.log:
            return nullcontext()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > MAX_LOG_BYTES:
            self.log.replace(self.log.with_name(f"{self.log.name}.1"))
        return self.log.open("ab")

    def send_signal(self, number: int) -> None:
        """Send a signal to the child itself, which knows how to end its own children."""
        if self.process is not None and self.is_alive:
            self.process.send_signal(number)

    def kill_group(self) -> None:
        """Kill the child and everything that it started."""
        if self.process is None:
            return
        if sys.platform == "win32":
            self.process.kill()
        else:
            with suppress(ProcessLookupError, PermissionError):  # no process of the group is left
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()
        self.process = None


class Supervisor:
    """The child processes in order: each may depend on those before it."""

    def __init__(self, env: Mapping[str, str], cwd: str, say: Callable[[str], None]) -> None:
        self.env, self.cwd, self.say = env, cwd, say
        self.processes: list[SupervisedProcess] = []

    def start_process(self, child: SupervisedProcess) -> SupervisedProcess:
        child.start(self.env, self.cwd)
        self.processes.append(child)
        return child

    def watch_forever(self) -> None:
        """Restart dead processes for ever, and give up on one that keeps dying."""
        while True:
            self.restart_dead(time.monotonic())
            time.sleep(CHECK_SECONDS)

    def restart_dead(self, now: float) -> None:
        for child in self.processes:
            if child.process is not None and not child.is_alive:
                self._handle_exit(child, now)
            elif child.process is None and now >= child.due:
                child.start(self.env, self.cwd)

    def _handle_exit(self, child: SupervisedProcess, now: float) -> None:
        assert child.process is not None
        code = child.process.returncode
        child.kill_group()  # processes that it left behind would hold its port, its GPU or its files
        if code == HOPELESS_EXIT_CODE:
            raise UserError(f"the {child.name} cannot run: read {child.log or 'what it said above'}")
        child.deaths = [death for death in child.deaths if now - death < FORGET_DEATH_SECONDS] + [now]
        if len(child.deaths) >= MAX_DEATHS:
            raise UserError(
                f"the {child.name} ended {MAX_DEATHS} times in a row: read {child.log or 'what it said above'}"
            )
        child.due = now + min(MAX_WAIT_SECONDS, 2.0 ** len(child.deaths) / 2)
        self.say(f"the {child.name} ended unexpectedly (code {code}) and is started again")

    def stop_all(self) -> None:
        """End the processes, the last first. One that takes too long is killed; a second Ctrl-C kills all of them."""
        try:
            for child in reversed(self.processes):
                child.send_signal(signal.SIGTERM)
                until = time.monotonic() + child.patience
                while child.is_alive and time.monotonic() < until:
                    time.sleep(CHECK_SECONDS / 4)
                child.kill_group()
        finally:
            for child in reversed(self.processes):
                child.kill_group()
            self.processes.clear()
