"""Runs parts one after another and keeps what they found in one file, so that a run that was stopped goes on."""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import machine
from bench.parts import Part
from models.system.files import write_file

RESULTS = machine.REPOSITORY / "bench" / "results"
LIMIT = 1500.0
"""Seconds that a part may take before it is ended, unless it is a long one."""


@dataclass
class Gathered:
    """All results of one machine, as a file that is whole at any time."""

    path: Path
    found: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Gathered:
        return cls(path, json.loads(path.read_text()) if path.exists() else {"environment": {}, "parts": {}})

    def stale(self, part: Part) -> bool:
        known = self.found["parts"].get(part.name, {}).get("measured", {})
        return known.get("code") != machine.code_of(part.module, part.arguments)

    def keep(self, part: Part, result: dict[str, Any], measured: dict[str, Any]) -> None:
        slim = {name: value for name, value in result.items() if name not in part.leave_out}
        if self.path.exists():
            self.found = json.loads(self.path.read_text())  # another run may have kept something meanwhile
        self.found["environment"] = machine.environment()
        self.found["parts"][part.name] = {"measured": measured, "result": slim}
        write_file(self.path, (json.dumps(self.found, indent=1, ensure_ascii=False) + "\n").encode())


def gather(
    parts: Sequence[Part], to: Gathered, fresh: bool, say: Callable[[str], None], results: Path = RESULTS
) -> bool:
    """Run what is not known yet, a line for each part; whether all went well."""
    fine = True
    for part in parts:
        if importlib.util.find_spec(part.module) is None:
            say(f"{part.name:20} is not here")
        elif not fresh and not to.stale(part):
            say(f"{part.name:20} known already")
        else:
            problem = _one(part, to, results)
            took = to.found["parts"].get(part.name, {}).get("measured", {}).get("seconds", 0.0)
            say(f"{part.name:20} {'FAILED: ' + problem if problem else f'{took:5.0f} s'}")
            fine = fine and not problem
    return fine


def _one(part: Part, to: Gathered, results: Path) -> str:
    """Run one part to its end; what went wrong, if anything."""
    out, code = results / part.file, machine.code_of(part.module, part.arguments)
    out.parent.mkdir(parents=True, exist_ok=True)
    before = out.stat().st_mtime_ns if out.exists() else 0
    busy, clock, cpu = busy_cores(), time.monotonic(), _children()
    with (results / f"{part.name}.log").open("w") as log:
        try:
            status = subprocess.run(
                [sys.executable, "-m", part.module, *part.arguments, "--out", str(out if not part.out else out.parent)],
                cwd=machine.REPOSITORY, stdout=log, stderr=subprocess.STDOUT, timeout=None if part.long else LIMIT,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"took longer than {LIMIT:.0f} s"
    if status or not out.exists() or out.stat().st_mtime_ns == before:
        return f"ended with {status}, see {log.name}"
    measured = {
        "at": datetime.now(UTC).isoformat(timespec="minutes"),
        "seconds": round(time.monotonic() - clock, 1),
        "cpu seconds": round(_children() - cpu, 1),
        "busy cores before": busy,
        "command": part.command,
        "code": code,
    }
    to.keep(part, json.loads(out.read_text()), measured)
    return ""


def take_in(parts: Sequence[Part], to: Gathered, results: Path = RESULTS) -> list[str]:
    """Results that earlier runs left, where nothing newer is known. Which code made them is not known any more."""
    taken = []
    for part in parts:
        out = results / part.file
        known = to.found["parts"].get(part.name, {}).get("measured", {})
        if not out.exists() or known.get("code"):
            continue
        at = datetime.fromtimestamp(out.stat().st_mtime, UTC).isoformat(timespec="minutes")
        to.keep(part, json.loads(out.read_text()), {"at": at, "command": f"python -m {part.module}", "code": ""})
        taken.append(part.name)
    return taken


def busy_cores() -> float:
    """What else this machine does: the mean number of processes that wanted a core in the last minute."""
    return round(os.getloadavg()[0], 1)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
