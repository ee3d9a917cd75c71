"""A post as the pages and the API show it: what it would say and show, why, and what can be done with it now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from board.context import BoardContext
from tasks.calendar.wording import MAX_ALT_LENGTH, MAX_CAPTION_LENGTH, MAX_HASHTAGS
from tasks.posts import post_store, review
from tasks.posts.post import Post, PostCandidate, PostEvent
from tasks.posts.states import State
from tasks.publishers import place_rules
from tasks.render.gates import best_first

BARS = {"identity": "Like the references", "prompt": "As the prompt asks", "detail": "Fine detail"}
"""The scores that run from 0 to 1, or nearly."""
LIMITS = {"caption": MAX_CAPTION_LENGTH, "alt": MAX_ALT_LENGTH, "hashtags": MAX_HASHTAGS}
WAITS: tuple[State, ...] = ("needs a person", "unknown", "failed")
STATE_LABELS: dict[State, str] = {
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
class ScoreBar:
    name: str
    value: float
    shown: str


@dataclass(frozen=True)
class CandidateView:
    """A candidate, as a person may choose it."""

    number: int
    picture: str
    passed: bool
    shown: bool
    reason: str
    bars: tuple[ScoreBar, ...]
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
    choices: tuple[CandidateView, ...]
    """The shown one first, then those that passed, the best first, then the dropped ones."""
    references: tuple[Reference, ...]
    events: tuple[PostEvent, ...]
    undo: str
    """What undo would take back; empty where nothing can be."""
    editable: bool
    album: bool
    """Whether there is room for a further picture."""

    @property
    def chosen(self) -> CandidateView | None:
        return next((choice for choice in self.choices if choice.shown), None)

    @property
    def others(self) -> list[CandidateView]:
        return [choice for choice in self.choices if not choice.shown]

    @property
    def when(self) -> str:
        return day_and_time(self.post.content.when)

    @property
    def pending(self) -> bool:
        """Tell whether a draft waits for the next render, because somebody asked for one."""
        return self.post.state == "draft" and not self.post.problem


def build_card(context: BoardContext, post: Post) -> Card:
    events = post_store.history(context.store, post.id)
    shown_ids = {candidate.picture for candidate in post.content.pictures}
    candidates = post_store.candidates(context.store, post.id)
    content = post.content
    album_sizes = place_rules(context.loaded).album_sizes
    return Card(
        post=post,
        hash=content.hash,
        state=STATE_LABELS[post.state],
        choices=tuple(_candidate_view(candidate, shown_ids) for candidate in _in_order(candidates, shown_ids)),
        references=_persona_references(context, post.persona),
        events=tuple(events),
        undo=review.undoable(post, events),
        editable=post.state in review.EDITABLE,
        album=content.kind != "story" and bool(shown_ids) and len(content.pictures) + 1 in album_sizes,
    )


def day_and_time(when: datetime) -> str:
    return f"{when:%A}, {day_only(when)}, {when:%H:%M}"


def day_short(when: datetime) -> str:
    return f"{when:%a} {when.day} {when:%b, %H:%M}"


def day_only(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def _in_order(candidates: Sequence[PostCandidate], shown_ids: set[str]) -> list[PostCandidate]:
    first = [candidate for candidate in candidates if candidate.picture in shown_ids]
    passed = [candidate for candidate in best_first(candidates) if candidate.picture not in shown_ids]
    dropped = [candidate for candidate in candidates if not candidate.passed and candidate.picture not in shown_ids]
    return [*first, *passed, *sorted(dropped, key=lambda candidate: -candidate.scores.get("identity", 0.0))]


def _candidate_view(candidate: PostCandidate, shown_ids: set[str]) -> CandidateView:
    bars = tuple(_score_bar(BARS[name], candidate.scores[name]) for name in BARS if name in candidate.scores)
    more = tuple((name, f"{value:.2f}") for name, value in candidate.scores.items() if name not in BARS)
    return CandidateView(
        candidate.number,
        candidate.picture,
        candidate.passed,
        candidate.picture in shown_ids,
        candidate.reason,
        bars,
        more,
    )


def _score_bar(name: str, value: float) -> ScoreBar:
    return ScoreBar(name, min(1.0, max(0.0, value)), f"{value:.2f}")


def _persona_references(context: BoardContext, persona: str) -> tuple[Reference, ...]:
    reference_set = context.current_references(persona)
    if reference_set is None:
        return ()
    return tuple(Reference(verdict.candidate.id, verdict.candidate.prompt) for verdict in reference_set.choice.chosen)
