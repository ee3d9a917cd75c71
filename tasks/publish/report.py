"""Report on a publishing run, for people, for scripts and for Prefect's page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from models.picture.reading import DAMAGE_ERRORS
from tasks.publish.claimed_account import PublishOutcome
from tasks.publish.publish import Postponed, PublishReport

MAX_PICTURES = 12
"""Maximum posts with a picture on Prefect's page, which keeps them in its database."""
THUMBNAIL_SIDE = 200


def lines(report: PublishReport) -> Iterator[str]:
    for outcome in report.last:
        post = outcome.post
        yield f"{post.state}: post {post.id} ({post.persona}, {post.shot}): {_outcome_text(outcome)}"
    for wait in report.waiting:
        yield f"waiting: {_postponed_text(wait)}"
    if not report.last and not report.waiting:
        yield "nothing is approved and due"


def summary(report: PublishReport) -> dict[str, Any]:
    return {
        "posts": [_outcome_values(outcome) for outcome in report.last],
        "waiting": [
            {
                "account": wait.account,
                "post": wait.post.id if wait.post else "",
                "why": wait.why,
                "until": wait.until.isoformat() if wait.until else "",
            }
            for wait in report.waiting
        ],
    }


def markdown(report: PublishReport, studio: Path) -> str:
    parts = ["# Publishing", ""]
    for number, outcome in enumerate(report.last):
        link = outcome.receipt.permalink if outcome.receipt else ""
        parts += [f"## {outcome.post.state}: {outcome.post.persona}, {outcome.post.shot}", ""]
        if number < MAX_PICTURES and outcome.post.content.pictures:
            first = outcome.post.content.pictures[0]
            parts += [f"![{_escape_text(first.alt)}]({_thumbnail_uri(studio / first.file)})", ""]
        parts += [f"> {_escape_text(outcome.post.content.text)}", ""]
        parts += [f"[{link}]({link})" if link.startswith("https://") else _escape_text(_outcome_text(outcome)), ""]
    parts += [f"- {_escape_text(_postponed_text(wait))}" for wait in report.waiting]
    if not report.last and not report.waiting:
        parts.append("Nothing is approved and due.")
    return "\n".join(parts)


def _outcome_values(outcome: PublishOutcome) -> dict[str, Any]:
    receipt = outcome.receipt
    return {
        "post": outcome.post.id,
        "key": outcome.post.key,
        "state": outcome.post.state,
        "account": outcome.post.content.account,
        "publisher": receipt.publisher if receipt else "",
        "media_id": receipt.media_id if receipt else "",
        "permalink": receipt.permalink if receipt else "",
        "says": outcome.says,
    }


def _outcome_text(outcome: PublishOutcome) -> str:
    return outcome.says


def _postponed_text(wait: Postponed) -> str:
    suffix = f" (until {wait.until.astimezone():%Y-%m-%d %H:%M})" if wait.until else ""
    return f"{wait.account}: {wait.why}{suffix}"


def _escape_text(text: str) -> str:
    """Escape a text for one line of Markdown: nothing in a caption becomes markup."""
    line = " ".join(text.split())
    return "".join(f"\\{character}" if character in "\\`*_{}[]<>#!|" else character for character in line)


def _thumbnail_uri(file: Path) -> str:
    """Return a thumbnail as a data URI."""
    try:
        with Image.open(file) as image:
            image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
            buffer = io.BytesIO()
            image.convert("RGB").save(buffer, "JPEG", quality=80)
    except (OSError, *DAMAGE_ERRORS):
        return ""
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
