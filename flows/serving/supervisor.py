"""Processes that live as long as we do: started again when they die, ended when we end, whatever ends us.

Each has its own process group, so that its own children end with it, and its standard input is a pipe that ends when we
do: a child that sees that (`flows.serving.child_process`) takes its whole group down.
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

LOOK = 0.2
LARGEST_LOG = 10_000_000
MOST_DEATHS = 5
HOPELESS = 78
"""The code with which a part ends that has told the user what to mend: starting it again cannot help."""
QUIET = 120.0
"""Seconds after which a death is forgotten."""
LONGEST_WAIT = 10.0


@dataclass
class Child:
    """One part: how it is started, and how often it has died lately."""

    name: str
    command: Sequence[str]
    patience: float = 10.0
    """Seconds it may take to end by itself."""
    log: Path | None = None
    """Where what it says goes; where we say ours if there is none."""
    process: subprocess.Popen[bytes] | None = None
    deaths: list[float] = field(default_factory=list)
    due: float = 0.0
    """When it may be started again."""

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self, env: Mapping[str, str], cwd: str) -> None:
        with self._output() as output:
            self.process = subprocess.Popen(
                self.command,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=os.name == "posix",
            )

    def _output(self) -> AbstractContextManager[IO[bytes] | None]:
        """Its log, begun anew once it has grown large; the one before stays beside it."""
        if not self.log:
            return nullcontext()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LARGEST_LOG:
            self.log.replace(self.log.with_name(f"{self.log.name}.1"))
        return self.log.open("ab")

    def signal(self, number: int) -> None:
        """To the part itself, which knows how to end its own."""
        if self.process is not None and self.alive:
            self.process.send_signal(number)

    def kill(self) -> None:
        """The part and all that it started."""
        if self.process is None:
            return
        if sys.platform == "win32":
            self.process.kill()
        else:
            with suppress(ProcessLookupError, PermissionError):  # nobody of the group is left
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()
        self.process = None


class Children:
    """The parts in order: each may use those before it."""

    def __init__(self, env: Mapping[str, str], cwd: str, say: Callable[[str], None]) -> None:
        self.env, self.cwd, self.say = env, cwd, say
        self.all: list[Child] = []

    def add(self, child: Child) -> Child:
        child.start(self.env, self.cwd)
        self.all.append(child)
        return child

    def watch(self) -> None:
        """For ever: start again what dies, give up on what keeps dying."""
        while True:
            self.look(time.monotonic())
            time.sleep(LOOK)

    def look(self, now: float) -> None:
        for child in self.all:
            if child.process is not None and not child.alive:
                self._bury(child, now)
            elif child.process is None and now >= child.due:
                child.start(self.env, self.cwd)

    def _bury(self, child: Child, now: float) -> None:
        assert child.process is not None
        code = child.process.returncode
        child.kill()  # what it left behind would hold its port, its GPU or its files
        if code == HOPELESS:
            raise UserError(f"the {child.name} cannot run: read {child.log or 'what it said above'}")
        child.deaths = [each for each in child.deaths if now - each < QUIET] + [now]
        if len(child.deaths) >= MOST_DEATHS:
            raise UserError(
                f"the {child.name} ended {MOST_DEATHS} times in a row: read {child.log or 'what it said above'}"
            )
        child.due = now + min(LONGEST_WAIT, 2.0 ** len(child.deaths) / 2)
        self.say(f"the {child.name} ended unexpectedly (code {code}) and is started again")

    def stop(self) -> None:
        """End them, the last first; whoever takes too long, or a second Ctrl-C, ends them at once."""
        try:
            for child in reversed(self.all):
                child.signal(signal.SIGTERM)
                until = time.monotonic() + child.patience
                while child.alive and time.monotonic() < until:
                    time.sleep(LOOK / 4)
                child.kill()
        finally:
            for child in reversed(self.all):
                child.kill()
            self.all.clear()
