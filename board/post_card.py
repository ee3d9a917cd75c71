"""A post as the pages and the API show it: what it would say and show, why, and what can be done with it now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from board.context import Desk
from tasks.calendar.wording import LONGEST_ALT, LONGEST_CAPTION, MOST_HASHTAGS
from tasks.posts import post_store, review
from tasks.posts.post import Candidate, Event, Post
from tasks.posts.states import State
from tasks.publishers.base import ALBUM
from tasks.render.gates import best_first

BARS = {"identity": "Like the references", "prompt": "As the prompt asks", "detail": "Fine detail"}
"""The scores that run from 0 to 1, or nearly."""
LIMITS = {"caption": LONGEST_CAPTION, "alt": LONGEST_ALT, "hashtags": MOST_HASHTAGS}
WAITS: tuple[State, ...] = ("needs a person", "unknown", "failed")
SAID: dict[State, str] = {
    "draft": "Draft",
    "awaiting review": "Awaiting review",
    "approved": "Approved",
    "rejected": "Rejected",
    "preparing": "On its way",
    "uploaded": "On its way",
    "committing": "On its way",
    "published": "Published",
    "unknown": "Unknown",
    "failed": "Failed",
    "needs a person": "Needs a person",
}


@dataclass(frozen=True)
class Bar:
    name: str
    value: float
    shown: str


@dataclass(frozen=True)
class Choice:
    """A candidate, as somebody may take it."""

    number: int
    picture: str
    passed: bool
    shown: bool
    reason: str
    bars: tuple[Bar, ...]
    more: tuple[tuple[str, str], ...]
    """The other numbers."""


@dataclass(frozen=True)
class Reference:
    id: str
    what: str


@dataclass(frozen=True)
class Card:
    post: Post
    hash: str
    state: str
    choices: tuple[Choice, ...]
    """The shown one first, then those that passed, the best first, then the dropped ones."""
    references: tuple[Reference, ...]
    events: tuple[Event, ...]
    undo: str
    """What undo would take back; empty where nothing can be."""
    editable: bool
    album: bool
    """Whether there is room for a further picture."""

    @property
    def chosen(self) -> Choice | None:
        return next((each for each in self.choices if each.shown), None)

    @property
    def others(self) -> list[Choice]:
        return [each for each in self.choices if not each.shown]

    @property
    def when(self) -> str:
        return day_and_time(self.post.content.when)

    @property
    def pending(self) -> bool:
        """Whether a draft waits for the next render, as somebody asked."""
        return self.post.state == "draft" and not self.post.problem


def card(desk: Desk, post: Post) -> Card:
    events = post_store.history(desk.store, post.id)
    shown = {each.picture for each in post.content.pictures}
    found = post_store.candidates(desk.store, post.id)
    content = post.content
    return Card(
        post=post,
        hash=content.hash,
        state=SAID[post.state],
        choices=tuple(_choice(each, shown) for each in _in_order(found, shown)),
        references=_references(desk, post.persona),
        events=tuple(events),
        undo=review.undoable(post, events),
        editable=post.state in review.EDITABLE,
        album=content.kind != "story" and bool(shown) and len(content.pictures) + 1 in ALBUM,
    )


def day_and_time(when: datetime) -> str:
    return f"{when:%A}, {day_only(when)}, {when:%H:%M}"


def day_short(when: datetime) -> str:
    return f"{when:%a} {when.day} {when:%b, %H:%M}"


def day_only(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def _in_order(found: Sequence[Candidate], shown: set[str]) -> list[Candidate]:
    first = [each for each in found if each.picture in shown]
    passed = [each for each in best_first(found) if each.picture not in shown]
    dropped = [each for each in found if not each.passed and each.picture not in shown]
    return [*first, *passed, *sorted(dropped, key=lambda each: -each.scores.get("identity", 0.0))]


def _choice(found: Candidate, shown: set[str]) -> Choice:
    bars = tuple(_bar(BARS[name], found.scores[name]) for name in BARS if name in found.scores)
    more = tuple((name, f"{value:.2f}") for name, value in found.scores.items() if name not in BARS)
    return Choice(found.number, found.picture, found.passed, found.picture in shown, found.reason, bars, more)


def _bar(name: str, value: float) -> Bar:
    return Bar(name, min(1.0, max(0.0, value)), f"{value:.2f}")


def _references(desk: Desk, persona: str) -> tuple[Reference, ...]:
    found = desk.references(persona)
    if found is None:
        return ()
    return tuple(Reference(each.candidate.id, each.candidate.prompt) for each in found.choice.chosen)
