"""Replays asked for on the board: one at a time, each in a process of its own, which takes its memory with it."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock, Thread
from typing import Literal

from models.system.errors import UserError
from tasks.settings.sections import Secrets
from tasks.settings.settings import Loaded

Standing = Literal["running", "equal", "unequal", "failed"]
LONGEST = 1800.0  # seconds
MOST_KEPT = 100


@dataclass(frozen=True)
class Outcome:
    standing: Standing
    text: str


class Replays:
    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._known: dict[str, Outcome] = {}
        self._lock = Lock()

    def outcome(self, picture: str) -> Outcome | None:
        with self._lock:
            return self._known.get(picture)

    def start(self, picture: str, path: Path) -> Outcome:
        """Begin to make a picture again; what runs already goes on."""
        with self._lock:
            busy = next((each for each, found in self._known.items() if found.standing == "running"), "")
            if busy and busy != picture:
                raise UserError(f"picture {busy[:8]} is being made again now: wait until that is done")
            if not busy:
                while len(self._known) >= MOST_KEPT:
                    del self._known[next(iter(self._known))]
                self._known[picture] = Outcome("running", "It is being made again …")
                Thread(target=self._run, args=(picture, path), daemon=True).start()
            return self._known[picture]

    def _run(self, picture: str, path: Path) -> None:
        try:
            outcome = _apart(path, self._loaded)
        except Exception as error:  # whatever it is, the page must not wait for ever
            outcome = Outcome("failed", f"It could not be made again ({type(error).__name__}).")
        with self._lock:
            self._known[picture] = outcome


def _apart(path: Path, loaded: Loaded) -> Outcome:
    without = loaded.settings.model_copy(update={"secrets": Secrets()})  # it has no need of them
    said = pickle.dumps((path, replace(loaded, settings=without)))
    command = [sys.executable, "-m", "board.replays"]
    try:
        run = subprocess.run(command, input=said, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        return Outcome("failed", f"It took longer than {LONGEST / 60:.0f} minutes, so it was stopped.")
    lines = run.stdout.decode(errors="replace").splitlines()
    if run.returncode or not lines:
        return Outcome("failed", "It could not be made again: its process ended early, perhaps for want of memory.")
    return Outcome(**json.loads(lines[-1]))


def main() -> None:
    """In the other process."""
    from tasks.pictures.replay import replay

    path, loaded = pickle.load(sys.stdin.buffer)
    try:
        found = replay(path, loaded)
        outcome = Outcome("equal" if found.identical_pixels else "unequal", str(found))
    except UserError as error:
        outcome = Outcome("failed", str(error))
    print(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main()
