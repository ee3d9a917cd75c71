"""A render: the posts that are to get a picture, and what came of each. The words that its steps share."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from models.sdxl.prompt_syntax import parse
from tasks.calendar.due import Due
from tasks.persona.persona import Persona, article
from tasks.posts.post import Candidate, Post, plain

FOLDER = "renders"


@dataclass(frozen=True)
class Job:
    """An occurrence that is to become a post, or a draft that is to get another picture."""

    due: Due
    post: Post | None = None
    """The draft."""
    known: tuple[Candidate, ...] = ()
    """Its candidates so far; new ones have other seeds."""

    @property
    def first(self) -> int:
        """The number of the first new candidate."""
        return max((each.number for each in self.known), default=-1) + 1


@dataclass(frozen=True)
class Rendered:
    """A post of a render, with all its candidates."""

    post: Post
    candidates: Sequence[Candidate]
    fresh: bool
    """Whether this run made it; else it was there already."""

    @property
    def chosen(self) -> Candidate | None:
        shown = {each.picture for each in self.post.content.pictures}
        return next((each for each in self.candidates if each.picture in shown), None)

    @property
    def failed(self) -> bool:
        return self.post.state == "draft" and bool(self.post.problem)


@dataclass(frozen=True)
class Render:
    """All that came of one run."""

    persona: str
    token: str
    posts: Sequence[Rendered]
    """In order of the time they are due."""
    problems: Sequence[str] = ()
    """About shots that could not be rendered, one sentence each."""
    notes: Sequence[str] = ()
    references: Sequence[str] = field(default=())
    """The pictures that they were compared with, from the studio."""

    @property
    def id(self) -> str:
        """The same posts with the same pictures and the same problems have the same page."""
        posts = [[each.post.key, each.post.state, [one.picture for one in each.candidates]] for each in self.posts]
        return hashlib.sha256(plain([posts, list(self.problems)]).encode()).hexdigest()[:16]

    @property
    def failures(self) -> list[str]:
        """What a run has to end with 1 for: shots in error, and shots of which no candidate passed just now."""
        return [*self.problems, *(said(each) for each in self.posts if each.fresh and each.failed)]

    def place(self, studio: Path) -> Path:
        return studio / FOLDER / self.persona / self.id

    def counts(self) -> dict[str, int]:
        return dict(Counter(each.post.state for each in self.posts))


def said(rendered: Rendered) -> str:
    """About a post without a picture, in one sentence."""
    post = rendered.post
    return f"{post.key}: {post.problem}: choose one with restage review {post.id}, or run restage render {post.persona} --again"


def in_words(prompt: str, persona: Persona) -> str:
    """A prompt in ordinary words: without weights, and with the class word for the token."""
    spans = parse(prompt.replace(persona.token, article(persona.class_word)))
    return " ".join("".join(span.text or " " for span in spans).split())
