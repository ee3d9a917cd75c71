"""The states of a post, and which state may follow which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

State = Literal[
    "draft",
    "awaiting review",
    "approved",
    "rejected",
    "preparing",
    "uploaded",
    "committing",
    "published",
    "unknown",
    "failed",
    "needs a person",
]

NEXT: Mapping[State, tuple[State, ...]] = {
    "draft": ("awaiting review", "rejected"),
    "awaiting review": ("approved", "rejected", "draft"),
    "approved": ("awaiting review", "rejected", "preparing", "published"),
    "rejected": ("awaiting review", "draft"),
    # Until the commit nobody has seen anything of it, so it may go back and be tried again.
    "preparing": ("uploaded", "approved", "failed", "needs a person", "unknown", "published"),
    "uploaded": ("committing", "preparing", "approved", "failed", "needs a person", "unknown", "published"),
    # From the commit on, only an answer or evidence decides; no answer is `unknown`.
    "committing": ("published", "unknown", "failed", "approved", "needs a person"),
    "unknown": ("published", "needs a person", "failed", "approved"),
    "needs a person": ("published", "approved", "rejected", "awaiting review"),
    "failed": ("awaiting review", "approved", "rejected", "published"),
    "published": (),
}
"""`approved` after `committing` is for a commit that surely never left or was surely refused; see `tasks.publish.deliver`.

`published` may follow before a commit too: on evidence that the post is out already, or by a receipt that came late.
"""

OPEN: tuple[State, ...] = ("draft", "awaiting review", "approved")
"""States in which a person may still change what would be published."""
IN_FLIGHT: tuple[State, ...] = ("preparing", "uploaded", "committing")
SETTLED: tuple[State, ...] = ("published", "rejected")
PICTURE_IN_USE: tuple[State, ...] = (
    "awaiting review",
    "approved",
    "preparing",
    "uploaded",
    "committing",
    "published",
    "unknown",
    "needs a person",
    "failed",
)
"""States in which its picture counts as used, so that no other post should look the same."""
