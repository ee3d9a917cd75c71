"""The reports that steps write into the studio, listed by name and read by id."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

REPORT_KINDS = {
    "references": ("references", "report.html", "How the references were chosen"),
    "training": ("trainings", "report.html", "How the word was learned"),
    "render": ("renders", "render.html", "What was rendered"),
    "grid": ("grids", "grid.html", "What a knob does"),
}
"""By kind, the folder in the studio, the file, and what it is."""
MAX_REPORTS = 200
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox; frame-ancestors 'self'"
"""A report is a page that something else wrote: it may have its own style and pictures, and do nothing."""


@dataclass(frozen=True)
class ReportFile:
    id: str
    kind: str
    persona: str
    what: str
    path: Path
    at: datetime


def list_reports(studio: Path) -> list[ReportFile]:
    """List the reports, the newest first."""
    newest_first = sorted(_scan_reports(studio), key=lambda report: report.at, reverse=True)
    return newest_first[:MAX_REPORTS]


def find_report(studio: Path, report_id: str) -> ReportFile | None:
    return next((report for report in _scan_reports(studio) if report.id == report_id), None)


def _scan_reports(studio: Path) -> Iterator[ReportFile]:
    for kind, (folder, name, title) in REPORT_KINDS.items():
        for path in (studio / folder).glob(f"*/*/{name}"):
            try:
                at = datetime.fromtimestamp(path.stat().st_mtime).astimezone()
            except OSError:
                continue  # gone since the folder was listed
            inside = path.relative_to(studio).as_posix()
            yield ReportFile(hashlib.sha256(inside.encode()).hexdigest()[:16], kind, path.parts[-3], title, path, at)
