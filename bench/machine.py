"""Which machine this is, and which code: what makes figures comparable, and what makes them stale."""

from __future__ import annotations

import ast
import hashlib
import os
import platform
import re
import subprocess
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("bench", "models", "tasks", "flows", "board", "tests")
LIBRARIES = (
    "torch",
    "diffusers",
    "transformers",
    "open_clip_torch",
    "numpy",
    "pillow",
    "sqlalchemy",
    "fastapi",
    "prefect",
)


def slug(gpu: str = "") -> str:
    """A short name of the machine, such as amd-epyc-2."""
    words = re.sub(r"\((r|tm)\)|@.*|\bcpu\b|\bprocessor\b", " ", f"{gpu or cpu()} ".lower())
    name = "-".join(re.findall(r"[a-z0-9]+", words)) or "unknown"
    return name if gpu else f"{name}-{cores()}"


def cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> float:
    """GiB of it; 0 where the system does not say."""
    known = hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1) if known else 0.0


def environment() -> dict[str, object]:
    """What the figures were measured on."""
    return {
        "machine": slug(),
        "cpu": cpu(),
        "cores": cores(),
        "threads": int(os.environ.get("OMP_NUM_THREADS") or cores()),
        "memory GiB": memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "commit": commit(),
        "versions": {name: version(name) for name in LIBRARIES},
    }


def version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"


def commit() -> str:
    """The commit that is checked out; empty where this is no checkout."""
    asked = ["git", "-C", str(REPOSITORY), "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def code_of(module: str, arguments: Sequence[str] = ()) -> str:
    """A hash of a benchmark's arguments and of all our code that it imports, however late."""
    digest = hashlib.sha256(" ".join(arguments).encode())
    for path in sorted(sources(module)):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def sources(module: str) -> set[Path]:
    """The module's file and those of ours that it leads to."""
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        path = _file(waiting.pop())
        if path and path not in found:
            found.add(path)
            waiting += _imported(path)
    return found


def _file(module: str) -> Path | None:
    place = REPOSITORY.joinpath(*module.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.exists()), None)


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
        yield from (name for name in names if name.partition(".")[0] in PACKAGES)
