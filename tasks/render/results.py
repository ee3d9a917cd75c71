"""The jobs and results of a render, and the texts that its steps share."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from models.sdxl.prompt_syntax import parse_prompt
from tasks.calendar.due import DueShot
from tasks.persona.persona import Persona, with_article
from tasks.posts.post import Post, PostCandidate, canonical_json

FOLDER = "renders"


@dataclass(frozen=True)
class RenderJob:
    """An occurrence to render a post for, or a draft that needs another picture."""

    due: DueShot
    post: Post | None = None
    """The draft."""
    known: tuple[PostCandidate, ...] = ()
    """Its candidates so far; new ones have other seeds."""

    @property
    def first(self) -> int:
        """Return the number of the first new candidate."""
        return max((candidate.number for candidate in self.known), default=-1) + 1


@dataclass(frozen=True)
class RenderedPost:
    """A post of a render, with all its candidates."""

    post: Post
    candidates: Sequence[PostCandidate]
    fresh: bool
    """True if this run made it; else it existed already."""

    @property
    def chosen(self) -> PostCandidate | None:
        picture_ids = {picture.picture for picture in self.post.content.pictures}
        return next((candidate for candidate in self.candidates if candidate.picture in picture_ids), None)

    @property
    def failed(self) -> bool:
        return self.post.state == "draft" and bool(self.post.problem)


@dataclass(frozen=True)
class RenderResult:
    """The results of one run."""

    persona: str
    token: str
    posts: Sequence[RenderedPost]
    """In order of the time they are due."""
    problems: Sequence[str] = ()
    """About shots that could not be rendered, one sentence each."""
    notes: Sequence[str] = ()
    references: Sequence[str] = field(default=())
    """The reference pictures they were compared with, as paths from the studio."""

    @property
    def id(self) -> str:
        """Return the id of the page: equal for the same posts, pictures and problems."""
        posts = [
            [rendered.post.key, rendered.post.state, [candidate.picture for candidate in rendered.candidates]]
            for rendered in self.posts
        ]
        return hashlib.sha256(canonical_json([posts, list(self.problems)]).encode()).hexdigest()[:16]

    @property
    def failures(self) -> list[str]:
        """List why the run ends with 1: shots in error, and shots of which no candidate passed now."""
        return [
            *self.problems,
            *(failure_message(rendered) for rendered in self.posts if rendered.fresh and rendered.failed),
        ]

    def place(self, studio: Path) -> Path:
        return studio / FOLDER / self.persona / self.id

    def counts(self) -> dict[str, int]:
        return dict(Counter(rendered.post.state for rendered in self.posts))


def failure_message(rendered: RenderedPost) -> str:
    """Say in one sentence what is wrong with a post without a picture."""
    post = rendered.post
    return f"{post.key}: {post.problem}: choose one with restage review {post.id}, or run restage render {post.persona} --again"


def plain_prompt(prompt: str, persona: Persona) -> str:
    """Return a prompt in plain words: without weights, and with the class word in place of the token."""
    spans = parse_prompt(prompt.replace(persona.token, with_article(persona.class_word)))
    return " ".join("".join(span.text or " " for span in spans).split())
