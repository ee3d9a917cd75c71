"""What the page's script asks for, and any other program with a session: posts as JSON, and all that is done with them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from board.context import Desk, desk
from board.post_card import Card, card
from board.replays import Standing
from board.thumbs import ID
from models.picture import provenance
from models.system.errors import UserError
from tasks.posts import post_store, review
from tasks.posts.post import Post
from tasks.posts.review import Changes
from tasks.posts.states import State

router = APIRouter(prefix="/api")
MOST = 100
NAME = r"^[a-z0-9_-]{0,64}$"
"""Of a persona; empty for all."""
PostId = Annotated[str, Path(pattern=r"^[0-9a-z]{4,40}$", examples=["19ecbfe5e8d1"])]
PictureId = Annotated[str, Path(pattern=ID)]
Text = Annotated[str, Field(max_length=10_000)]
Number = Annotated[int, Field(ge=0, le=1_000_000)]


class Said(BaseModel):
    """What somebody sends. A misspelled key is a mistake and not ignored."""

    model_config = ConfigDict(extra="forbid")


class Seen(Said):
    """What one looked at: whatever is decided is decided about this and no other."""

    revision: Annotated[int, Field(ge=1, le=1_000_000_000)]
    hash: Annotated[str, Field(min_length=64, max_length=64)]


class SeenPost(Seen):
    post: Annotated[str, Field(pattern=r"^[0-9a-z]{4,40}$")]


class Reasoned(Seen):
    why: Text = ""


class Edited(Seen):
    caption: Text | None = None
    hashtags: Annotated[list[Text], Field(max_length=200)] | None = None
    alts: Annotated[list[Text], Field(max_length=20)] | None = None
    when: datetime | None = None
    account: Annotated[str, Field(max_length=200)] | None = None


class Rescheduled(Seen):
    when: datetime


class Swapped(Seen):
    candidate: Number
    place: Annotated[int, Field(ge=0, le=99)] = 0


class Added(Seen):
    candidate: Number


class TakenOut(Seen):
    place: Annotated[int, Field(ge=0, le=99)]


class Many(Said):
    posts: Annotated[list[SeenPost], Field(min_length=1, max_length=MOST)]


class PictureShown(BaseModel):
    picture: str
    alt: str
    width: int
    height: int
    sha256: str


class CandidateShown(BaseModel):
    number: int
    picture: str
    passed: bool
    reason: str
    shown: bool


class PostShown(BaseModel):
    id: str
    key: str
    persona: str
    shot: str
    state: State
    revision: int
    hash: str
    kind: str
    caption: str
    hashtags: list[str]
    account: str
    when: datetime
    pictures: list[PictureShown]
    problem: str


class PostInFull(PostShown):
    candidates: list[CandidateShown]
    undo: str


class Page(BaseModel):
    posts: list[PostShown]
    count: int


class Outcome(BaseModel):
    done: list[PostShown]
    problems: list[str]


class ReplayShown(BaseModel):
    standing: Standing
    text: str


class Problem(BaseModel):
    problem: str


REFUSED: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem, "description": what}
    for code, what in {
        400: "What is wrong, and what to do about it.",
        401: "Nobody is logged in.",
        403: "It did not come from the board's own page.",
        404: "There is no such thing.",
        409: "It is not what was looked at any more.",
        413: "Too much at once.",
        422: "It cannot be read, or cannot be done.",
        503: "The store does not answer now.",
    }.items()
}


@router.get("/posts", responses=REFUSED)
def listed(
    request: Request,
    state: Annotated[State | None, Query()] = None,
    persona: Annotated[str, Query(pattern=NAME)] = "",
    limit: Annotated[int, Query(ge=1, le=MOST)] = 30,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> Page:
    """The earliest first."""
    store, states = desk(request).store, [state] if state else []
    count = sum(post_store.count(store, states, persona=persona).values())
    return Page(
        posts=[_shown(p) for p in post_store.find(store, states, persona=persona, limit=limit, offset=offset)],
        count=count,
    )


@router.get("/posts/{post}", responses=REFUSED)
def one(request: Request, post: PostId) -> PostInFull:
    return _in_full(desk(request), _known(desk(request), post))


@router.post("/posts/{post}/approve", responses=REFUSED)
def approve(request: Request, post: PostId, said: Seen) -> PostInFull:
    return _done(request, post, said, lambda d, seen: review.approve(d.store, seen, d.by))


@router.post("/posts/{post}/reject", responses=REFUSED)
def reject(request: Request, post: PostId, said: Reasoned) -> PostInFull:
    return _done(request, post, said, lambda d, seen: review.reject(d.store, seen, d.by, said.why))


@router.post("/posts/{post}/regenerate", responses=REFUSED)
def regenerate(request: Request, post: PostId, said: Reasoned) -> PostInFull:
    """New pictures at the next render."""
    return _done(request, post, said, lambda d, seen: review.regenerate(d.store, seen, d.by, said.why))


@router.post("/posts/{post}/undo", responses=REFUSED)
def undo(request: Request, post: PostId, said: Seen) -> PostInFull:
    return _done(request, post, said, lambda d, seen: review.undo(d.store, seen, d.by))


@router.post("/posts/{post}/reopen", responses=REFUSED)
def reopen(request: Request, post: PostId, said: Seen) -> PostInFull:
    """Review what failed once more, as it is."""
    return _done(request, post, said, lambda d, seen: review.reopen(d.store, seen, d.by))


@router.post("/posts/{post}/edit", responses=REFUSED)
def edit(request: Request, post: PostId, said: Edited) -> PostInFull:
    changes = Changes(said.caption, said.hashtags, said.alts, said.when, said.account)
    return _done(request, post, said, lambda d, seen: review.edit(d.store, seen, d.by, changes, d.loaded))


@router.post("/posts/{post}/reschedule", responses=REFUSED)
def reschedule(request: Request, post: PostId, said: Rescheduled) -> PostInFull:
    changes = Changes(when=said.when)
    return _done(request, post, said, lambda d, seen: review.edit(d.store, seen, d.by, changes, d.loaded))


@router.post("/posts/{post}/swap", responses=REFUSED)
def swap(request: Request, post: PostId, said: Swapped) -> PostInFull:
    """Show a candidate in place of a picture."""
    return _done(
        request, post, said, lambda d, seen: review.swap(d.store, seen, d.by, said.candidate, d.loaded, said.place)
    )


@router.post("/posts/{post}/add", responses=REFUSED)
def add(request: Request, post: PostId, said: Added) -> PostInFull:
    """Make it an album, or a longer one."""
    return _done(request, post, said, lambda d, seen: review.add(d.store, seen, d.by, said.candidate, d.loaded))


@router.post("/posts/{post}/take-out", responses=REFUSED)
def take_out(request: Request, post: PostId, said: TakenOut) -> PostInFull:
    """A picture less in an album."""
    return _done(request, post, said, lambda d, seen: review.take_out(d.store, seen, d.by, said.place))


@router.post("/approve", responses=REFUSED)
def approve_many(request: Request, said: Many) -> Outcome:
    """Each by itself: what cannot be approved keeps no other from it."""
    here = desk(request)
    wanted, problems = [], []
    for each in said.posts:
        try:
            wanted.append(review.looked_at(here.store, each.post, each.revision, each.hash))
        except UserError as error:
            problems.append(str(error))
    done, more = review.approve_all(here.store, wanted, here.by)
    return Outcome(done=[_shown(each) for each in done], problems=[*problems, *more])


@router.post("/pictures/{picture}/replay", responses=REFUSED)
def replay(request: Request, picture: PictureId) -> ReplayShown:
    """Make a picture again and compare; the answer to this comes at once, the result to asking again."""
    path = desk(request).artifacts.picture(picture)
    if not path.is_file():
        raise HTTPException(404, "there is no such picture any more")
    provenance.read(path)  # what carries no record is told now, and not in a minute
    found = desk(request).replays.start(picture, path)
    return ReplayShown(standing=found.standing, text=found.text)


@router.get("/pictures/{picture}/replay", responses=REFUSED)
def replayed(request: Request, picture: PictureId) -> ReplayShown:
    found = desk(request).replays.outcome(picture)
    if found is None:
        raise HTTPException(404, "nobody asked to make this picture again")
    return ReplayShown(standing=found.standing, text=found.text)


def _done(request: Request, post: str, said: Seen, step: Callable[[Desk, Post], Post]) -> PostInFull:
    """Do a step with the post that was looked at."""
    here = desk(request)
    _known(here, post)
    seen = review.looked_at(here.store, post, said.revision, said.hash)
    return _in_full(here, step(here, seen))


def _known(desk: Desk, post: str) -> Post:
    try:
        return post_store.get(desk.store, post)
    except UserError as error:
        raise HTTPException(404, str(error)) from None


def _shown(post: Post) -> PostShown:
    return PostShown(**_facts(post))


def _in_full(desk: Desk, post: Post) -> PostInFull:
    found: Card = card(desk, post)
    shown = [
        CandidateShown(number=e.number, picture=e.picture, passed=e.passed, reason=e.reason, shown=e.shown)
        for e in found.choices
    ]
    return PostInFull(**_facts(post), candidates=shown, undo=found.undo)


def _facts(post: Post) -> dict[str, Any]:
    content = post.content
    pictures = [
        PictureShown(**{name: getattr(each, name) for name in PictureShown.model_fields}) for each in content.pictures
    ]
    facts = {name: getattr(post, name) for name in ("id", "key", "persona", "shot", "state", "revision", "problem")}
    facts |= {name: getattr(content, name) for name in ("hash", "kind", "caption", "account", "when")}
    return facts | {"hashtags": list(content.hashtags), "pictures": pictures}
