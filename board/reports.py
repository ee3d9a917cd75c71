"""The reports that steps leave in the studio, found by name and handed out by id."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

WHERE = {
    "references": ("references", "report.html", "How the references were chosen"),
    "training": ("trainings", "report.html", "How the word was learned"),
    "render": ("renders", "render.html", "What was rendered"),
    "grid": ("grids", "grid.html", "What a knob does"),
}
"""By kind, the folder in the studio, the file, and what it is."""
MOST = 200
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox; frame-ancestors 'self'"
"""A report is a page that something else wrote: it may have its own style and pictures, and do nothing."""


@dataclass(frozen=True)
class Report:
    id: str
    kind: str
    persona: str
    what: str
    path: Path
    at: datetime


def reports(studio: Path) -> list[Report]:
    """The newest first."""
    found = sorted(_found(studio), key=lambda each: each.at, reverse=True)
    return found[:MOST]


def report(studio: Path, wanted: str) -> Report | None:
    return next((each for each in _found(studio) if each.id == wanted), None)


def _found(studio: Path) -> Iterator[Report]:
    for kind, (folder, name, what) in WHERE.items():
        for path in (studio / folder).glob(f"*/*/{name}"):
            try:
                at = datetime.fromtimestamp(path.stat().st_mtime).astimezone()
            except OSError:
                continue  # gone since the folder was listed
            inside = path.relative_to(studio).as_posix()
            yield Report(hashlib.sha256(inside.encode()).hexdigest()[:16], kind, path.parts[-3], what, path, at)
