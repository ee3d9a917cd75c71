"""Replays asked for on the board: one at a time, each in a process of its own, which frees its memory at the end."""

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
from tasks.settings.sections import SecretSettings
from tasks.settings.settings import LoadedSettings

Standing = Literal["running", "equal", "unequal", "failed"]
MAX_SECONDS = 1800.0  # seconds
MAX_STATUSES = 100


@dataclass(frozen=True)
class ReplayStatus:
    standing: Standing
    text: str


class Replays:
    def __init__(self, loaded: LoadedSettings) -> None:
        self._loaded = loaded
        self._statuses: dict[str, ReplayStatus] = {}
        self._lock = Lock()

    def find_status(self, picture: str) -> ReplayStatus | None:
        with self._lock:
            return self._statuses.get(picture)

    def start_replay(self, picture: str, path: Path) -> ReplayStatus:
        """Begin to make a picture again; one that is running goes on."""
        with self._lock:
            busy = next((other for other, status in self._statuses.items() if status.standing == "running"), "")
            if busy and busy != picture:
                raise UserError(f"picture {busy[:8]} is being made again now: wait until that is done")
            if not busy:
                while len(self._statuses) >= MAX_STATUSES:
                    del self._statuses[next(iter(self._statuses))]
                self._statuses[picture] = ReplayStatus("running", "It is being made again …")
                Thread(target=self._run_replay, args=(picture, path), daemon=True).start()
            return self._statuses[picture]

    def _run_replay(self, picture: str, path: Path) -> None:
        try:
            outcome = _run_in_process(path, self._loaded)
        except Exception as error:  # whatever it is, the page must not wait for ever
            outcome = ReplayStatus("failed", f"It could not be made again ({type(error).__name__}).")
        with self._lock:
            self._statuses[picture] = outcome


def _run_in_process(path: Path, loaded: LoadedSettings) -> ReplayStatus:
    without = loaded.settings.model_copy(update={"secrets": SecretSettings()})  # it has no need of them
    payload = pickle.dumps((path, replace(loaded, settings=without)))
    command = [sys.executable, "-m", "board.replays"]
    try:
        run = subprocess.run(
            command, input=payload, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=MAX_SECONDS
        )
    except subprocess.TimeoutExpired:
        return ReplayStatus("failed", f"It took longer than {MAX_SECONDS / 60:.0f} minutes, so it was stopped.")
    lines = run.stdout.decode(errors="replace").splitlines()
    if run.returncode or not lines:
        return ReplayStatus(
            "failed", "It could not be made again: its process ended early, perhaps for want of memory."
        )
    return ReplayStatus(**json.loads(lines[-1]))


def main() -> None:
    """Run the replay in the other process."""
    from tasks.pictures.replay import replay_picture

    path, loaded = pickle.load(sys.stdin.buffer)
    try:
        result = replay_picture(path, loaded)
        outcome = ReplayStatus("equal" if result.identical_pixels else "unequal", str(result))
    except UserError as error:
        outcome = ReplayStatus("failed", str(error))
    print(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main()
