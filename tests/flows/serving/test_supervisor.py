"""Processes that are started again when they die, and that end when we do."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.serving.supervisor import HOPELESS_EXIT_CODE, MAX_DEATHS, SupervisedProcess, Supervisor
from models.system.errors import UserError

# Starts a child of its own, as the runner does, and ends with us, as every part does.
PART = """
import subprocess, sys, time
from pathlib import Path
from flows.serving.child_process import end_with_parent
import threading
threading.Thread(target=end_with_parent, daemon=True).start()
own = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdin=subprocess.DEVNULL)
Path(sys.argv[1]).write_text(str(own.pid))
time.sleep(60)
"""
PARENT = """
import os, sys, time
from flows.serving.supervisor import SupervisedProcess, Supervisor
children = Supervisor(os.environ, ".", print)
children.start_process(SupervisedProcess("part", [sys.executable, "-c", sys.argv[1], sys.argv[2]]))
print(children.processes[0].process.pid, flush=True)
time.sleep(60)
"""


def soon(true: Callable[[], bool]) -> bool:
    until = time.monotonic() + 30
    while not true() and time.monotonic() < until:
        time.sleep(0.05)
    return true()


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # Without anybody who waits for it a dead process keeps its number.
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def children(said: list[str], tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(os.environ, str(tmp_path), said.append)
    yield made
    made.stop_all()


def written(path: Path) -> int:
    assert soon(lambda: path.exists() and path.read_text() != "")
    return int(path.read_text())


def part(path: Path) -> SupervisedProcess:
    return SupervisedProcess("part", [sys.executable, "-c", PART, str(path)], patience=1)


def test_what_dies_is_started_again_and_takes_its_own_along(
    children: Supervisor, said: list[str], tmp_path: Path
) -> None:
    child = children.start_process(part(tmp_path / "pid"))
    own = written(tmp_path / "pid")
    assert child.process is not None
    first = child.process
    first.send_signal(signal.SIGKILL)
    first.wait()
    children.restart_dead(now=100.0)
    assert said == ["the part ended unexpectedly (code -9) and is started again"]
    assert soon(lambda: is_gone(own))
    children.restart_dead(now=100.5)
    assert child.process is None, "it waits a little first"
    children.restart_dead(now=102.0)
    assert child.process is not None
    assert child.process.pid != first.pid


def test_what_keeps_dying_is_given_up(children: Supervisor, tmp_path: Path) -> None:
    child = SupervisedProcess(
        "board", [sys.executable, "-c", "raise SystemExit(3)"], log=tmp_path / "logs" / "board.log"
    )
    children.start_process(child)
    with pytest.raises(UserError, match=f"the board ended {MAX_DEATHS} times in a row: read .*board.log"):
        for second in range(100):
            if child.process is not None:
                child.process.wait()
            children.restart_dead(now=float(second))
    assert len(child.deaths) == MAX_DEATHS


def test_what_has_said_what_to_mend_is_not_started_again(children: Supervisor) -> None:
    child = children.start_process(
        SupervisedProcess("board", [sys.executable, "-c", f"raise SystemExit({HOPELESS_EXIT_CODE})"])
    )
    assert child.process is not None
    child.process.wait()
    with pytest.raises(UserError, match="the board cannot run: read what it said above"):
        children.restart_dead(now=1.0)


def test_old_deaths_are_forgotten(children: Supervisor) -> None:
    child = children.start_process(SupervisedProcess("board", [sys.executable, "-c", "pass"]))
    for number in range(3 * MAX_DEATHS):
        if child.process is not None:
            child.process.wait()
        children.restart_dead(now=500.0 * number)
    assert len(child.deaths) <= 1


def test_stopping_ends_what_does_not_want_to_end(children: Supervisor, tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    log = tmp_path / "deaf.log"
    child = children.start_process(SupervisedProcess("deaf", [sys.executable, "-c", deaf], patience=0.2, log=log))
    children.start_process(part(tmp_path / "pid"))
    own = written(tmp_path / "pid")
    assert soon(lambda: log.read_text() != "")
    children.stop_all()
    assert child.process is None
    assert soon(lambda: is_gone(own))


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_killed_we_leave_nothing_running(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, PART, str(tmp_path / "pid")], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    own = written(tmp_path / "pid")
    parent.kill()
    parent.wait()
    assert soon(lambda: is_gone(child) and is_gone(own))


def test_a_log_is_begun_anew_once_it_is_large(children: Supervisor, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"old\n" * 3_000_000)
    child = children.start_process(SupervisedProcess("a", [sys.executable, "-c", "print('new')"], log=log))
    assert child.process is not None
    child.process.wait()
    assert log.read_text() == "new\n"
    assert (tmp_path / "a.log.1").read_bytes().startswith(b"old")
