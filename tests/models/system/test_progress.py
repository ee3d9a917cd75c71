"""One calm bar: live in a terminal, rare plain lines elsewhere."""

import io
import os
import pty
import subprocess
import sys
from contextlib import suppress

import pytest

from models.system import progress

STEPS = """
import time
from models.system.progress import show_progress
with show_progress("training", 40, "steps") as advance:
    for _ in range(40):
        time.sleep(0.02)
        advance(1)
print("end")
"""


def test_in_a_log_it_says_rarely_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(0, 10_000, 4))  # each look at the clock is four seconds later
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(now)))
    with progress.show_progress("rendering", 20, "steps") as advance:
        for _ in range(10):
            advance(2)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "rendering: 8/20 steps, 0:24 left",
        "rendering: 16/20 steps, 0:08 left",
        "rendering: 20/20 steps in 0:44",
    ]


def test_a_stop_halfway_does_not_claim_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    with suppress(KeyboardInterrupt), progress.show_progress("rendering", 20, "steps") as advance:
        advance(5)
        raise KeyboardInterrupt
    assert "20/20" not in capsys.readouterr().err


def test_nothing_to_do_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.show_progress("rendering", 0) as advance:
        advance(0)
    assert capsys.readouterr().err == ""


def test_in_a_terminal_one_line_is_drawn_over_and_over() -> None:
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen([sys.executable, "-c", STEPS], stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    screen = io.BytesIO()
    with suppress(OSError):  # the terminal's end
        while part := os.read(master, 4096):
            screen.write(part)
    assert process.wait() == 0
    text = screen.getvalue().decode()
    assert "training" in text
    assert "40/40" in text
    assert "left" in text
    assert text.count("\n") <= 3  # the bar, then the line printed after it
