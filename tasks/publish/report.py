"""What a run of publishing did, for people, for scripts and for Prefect's page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from models.picture.reading import DAMAGE
from tasks.publish.claimed_account import Outcome
from tasks.publish.publish import Report, Waiting

SHOWN = 12
"""Posts with a picture on Prefect's page, which keeps them in its database."""
SIDE = 200


def lines(report: Report) -> Iterator[str]:
    for each in report.last:
        yield f"{each.post.state}: post {each.post.id} ({each.post.persona}, {each.post.shot}): {_says(each)}"
    for wait in report.waiting:
        yield f"waiting: {_waits(wait)}"
    if not report.last and not report.waiting:
        yield "nothing is approved and due"


def summary(report: Report) -> dict[str, Any]:
    return {
        "posts": [_plain(each) for each in report.last],
        "waiting": [
            {
                "account": each.account,
                "post": each.post.id if each.post else "",
                "why": each.why,
                "until": each.until.isoformat() if each.until else "",
            }
            for each in report.waiting
        ],
    }


def markdown(report: Report, studio: Path) -> str:
    parts = ["# Publishing", ""]
    for number, each in enumerate(report.last):
        link = each.receipt.permalink if each.receipt else ""
        parts += [f"## {each.post.state}: {each.post.persona}, {each.post.shot}", ""]
        if number < SHOWN and each.post.content.pictures:
            first = each.post.content.pictures[0]
            parts += [f"![{_text(first.alt)}]({_picture(studio / first.file)})", ""]
        parts += [f"> {_text(each.post.content.text)}", ""]
        parts += [f"[{link}]({link})" if link.startswith("https://") else _text(_says(each)), ""]
    parts += [f"- {_text(_waits(each))}" for each in report.waiting]
    if not report.last and not report.waiting:
        parts.append("Nothing is approved and due.")
    return "\n".join(parts)


def _plain(outcome: Outcome) -> dict[str, Any]:
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


def _says(outcome: Outcome) -> str:
    return outcome.says


def _waits(wait: Waiting) -> str:
    when = f" (until {wait.until.astimezone():%Y-%m-%d %H:%M})" if wait.until else ""
    return f"{wait.account}: {wait.why}{when}"


def _text(text: str) -> str:
    """On one line, and as it reads: nothing in a caption becomes markup."""
    line = " ".join(text.split())
    return "".join(f"\\{each}" if each in "\\`*_{}[]<>#!|" else each for each in line)


def _picture(file: Path) -> str:
    """Small, as an address that holds the picture itself."""
    try:
        with Image.open(file) as image:
            image.thumbnail((SIDE, SIDE))
            buffer = io.BytesIO()
            image.convert("RGB").save(buffer, "JPEG", quality=80)
    except (OSError, *DAMAGE):
        return ""
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
