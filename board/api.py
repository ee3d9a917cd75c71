"""The JSON API of the board's script, and of any other program with a session: posts, and what is done with them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from board.context import BoardContext, board_context
from board.post_card import Card, build_card
from board.replays import Standing
from board.thumbs import ID
from models.picture import provenance
from models.system.errors import UserError
from tasks.posts import post_store, review
from tasks.posts.post import Post
from tasks.posts.review import Changes
from tasks.posts.states import State

router = APIRouter(prefix="/api")
MAX_POSTS = 100
PERSONA_PATTERN = r"^[a-z0-9_-]{0,64}$"
"""Of a persona; empty for all."""
PostId = Annotated[str, Path(pattern=r"^[0-9a-z]{4,40}$", examples=["19ecbfe5e8d1"])]
PictureId = Annotated[str, Path(pattern=ID)]
Text = Annotated[str, Field(max_length=10_000)]
Number = Annotated[int, Field(ge=0, le=1_000_000)]


class RequestBody(BaseModel):
    """A request's body. An unknown key is an error and not ignored."""

    model_config = ConfigDict(extra="forbid")


class SeenRevision(RequestBody):
    """The revision that somebody looked at: a decision applies to this one and no other."""

    revision: Annotated[int, Field(ge=1, le=1_000_000_000)]
    hash: Annotated[str, Field(min_length=64, max_length=64)]


class SeenPost(SeenRevision):
    post: Annotated[str, Field(pattern=r"^[0-9a-z]{4,40}$")]


class WithReason(SeenRevision):
    why: Text = ""


class EditRequest(SeenRevision):
    caption: Text | None = None
    hashtags: Annotated[list[Text], Field(max_length=200)] | None = None
    alts: Annotated[list[Text], Field(max_length=20)] | None = None
    when: datetime | None = None
    account: Annotated[str, Field(max_length=200)] | None = None


class RescheduleRequest(SeenRevision):
    when: datetime


class SwapRequest(SeenRevision):
    candidate: Number
    place: Annotated[int, Field(ge=0, le=99)] = 0


class AddRequest(SeenRevision):
    candidate: Number


class TakeOutRequest(SeenRevision):
    place: Annotated[int, Field(ge=0, le=99)]


class ApproveManyRequest(RequestBody):
    posts: Annotated[list[SeenPost], Field(min_length=1, max_length=MAX_POSTS)]


class PictureOut(BaseModel):
    picture: str
    alt: str
    width: int
    height: int
    sha256: str


class CandidateOut(BaseModel):
    number: int
    picture: str
    passed: bool
    reason: str
    shown: bool


class PostOut(BaseModel):
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
    pictures: list[PictureOut]
    problem: str


class FullPostOut(PostOut):
    candidates: list[CandidateOut]
    undo: str


class PostPage(BaseModel):
    posts: list[PostOut]
    count: int


class ApprovalResult(BaseModel):
    done: list[PostOut]
    problems: list[str]


class ReplayOut(BaseModel):
    standing: Standing
    text: str


class ProblemOut(BaseModel):
    problem: str


ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    code: {"model": ProblemOut, "description": what}
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


@router.get("/posts", responses=ERROR_RESPONSES)
def list_posts(
    request: Request,
    state: Annotated[State | None, Query()] = None,
    persona: Annotated[str, Query(pattern=PERSONA_PATTERN)] = "",
    limit: Annotated[int, Query(ge=1, le=MAX_POSTS)] = 30,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> PostPage:
    """List posts, the earliest first."""
    store, states = board_context(request).store, [state] if state else []
    count = sum(post_store.count(store, states, persona=persona).values())
    return PostPage(
        posts=[_post_out(p) for p in post_store.find(store, states, persona=persona, limit=limit, offset=offset)],
        count=count,
    )


@router.get("/posts/{post}", responses=ERROR_RESPONSES)
def get_post(request: Request, post: PostId) -> FullPostOut:
    return _full_post_out(board_context(request), _find_post(board_context(request), post))


@router.post("/posts/{post}/approve", responses=ERROR_RESPONSES)
def approve_post(request: Request, post: PostId, body: SeenRevision) -> FullPostOut:
    return _apply_step(request, post, body, lambda d, seen: review.approve(d.store, seen, d.by))


@router.post("/posts/{post}/reject", responses=ERROR_RESPONSES)
def reject_post(request: Request, post: PostId, body: WithReason) -> FullPostOut:
    return _apply_step(request, post, body, lambda d, seen: review.reject(d.store, seen, d.by, body.why))


@router.post("/posts/{post}/regenerate", responses=ERROR_RESPONSES)
def regenerate_post(request: Request, post: PostId, body: WithReason) -> FullPostOut:
    """New pictures at the next render."""
    return _apply_step(request, post, body, lambda d, seen: review.regenerate(d.store, seen, d.by, body.why))


@router.post("/posts/{post}/undo", responses=ERROR_RESPONSES)
def undo_step(request: Request, post: PostId, body: SeenRevision) -> FullPostOut:
    return _apply_step(request, post, body, lambda d, seen: review.undo(d.store, seen, d.by))


@router.post("/posts/{post}/reopen", responses=ERROR_RESPONSES)
def reopen_post(request: Request, post: PostId, body: SeenRevision) -> FullPostOut:
    """Review what failed once more, as it is."""
    return _apply_step(request, post, body, lambda d, seen: review.reopen(d.store, seen, d.by))


@router.post("/posts/{post}/edit", responses=ERROR_RESPONSES)
def edit_post(request: Request, post: PostId, body: EditRequest) -> FullPostOut:
    changes = Changes(body.caption, body.hashtags, body.alts, body.when, body.account)
    return _apply_step(request, post, body, lambda d, seen: review.edit(d.store, seen, d.by, changes, d.loaded))


@router.post("/posts/{post}/reschedule", responses=ERROR_RESPONSES)
def reschedule_post(request: Request, post: PostId, body: RescheduleRequest) -> FullPostOut:
    changes = Changes(when=body.when)
    return _apply_step(request, post, body, lambda d, seen: review.edit(d.store, seen, d.by, changes, d.loaded))


@router.post("/posts/{post}/swap", responses=ERROR_RESPONSES)
def swap_picture(request: Request, post: PostId, body: SwapRequest) -> FullPostOut:
    """Show a candidate in place of a picture."""
    return _apply_step(
        request, post, body, lambda d, seen: review.swap(d.store, seen, d.by, body.candidate, d.loaded, body.place)
    )


@router.post("/posts/{post}/add", responses=ERROR_RESPONSES)
def add_picture(request: Request, post: PostId, body: AddRequest) -> FullPostOut:
    """Make it an album, or a longer one."""
    return _apply_step(request, post, body, lambda d, seen: review.add(d.store, seen, d.by, body.candidate, d.loaded))


@router.post("/posts/{post}/take-out", responses=ERROR_RESPONSES)
def take_picture_out(request: Request, post: PostId, body: TakeOutRequest) -> FullPostOut:
    """Remove a picture from an album."""
    return _apply_step(request, post, body, lambda d, seen: review.take_out(d.store, seen, d.by, body.place))


@router.post("/approve", responses=ERROR_RESPONSES)
def approve_many(request: Request, body: ApproveManyRequest) -> ApprovalResult:
    """Approve each post by itself: one that cannot be approved does not stop the others."""
    context = board_context(request)
    posts, problems = [], []
    for post in body.posts:
        try:
            posts.append(review.looked_at(context.store, post.post, post.revision, post.hash))
        except UserError as error:
            problems.append(str(error))
    approved, more = review.approve_all(context.store, posts, context.by)
    return ApprovalResult(done=[_post_out(post) for post in approved], problems=[*problems, *more])


@router.post("/pictures/{picture}/replay", responses=ERROR_RESPONSES)
def start_replay(request: Request, picture: PictureId) -> ReplayOut:
    """Make a picture again and compare; the answer to this comes at once, the result to asking again."""
    path = board_context(request).artifacts.picture_path(picture)
    if not path.is_file():
        raise HTTPException(404, "there is no such picture any more")
    provenance.read_picture(path)  # what carries no record is told now, and not in a minute
    status = board_context(request).replays.start_replay(picture, path)
    return ReplayOut(standing=status.standing, text=status.text)


@router.get("/pictures/{picture}/replay", responses=ERROR_RESPONSES)
def get_replay(request: Request, picture: PictureId) -> ReplayOut:
    status = board_context(request).replays.find_status(picture)
    if status is None:
        raise HTTPException(404, "nobody asked to make this picture again")
    return ReplayOut(standing=status.standing, text=status.text)


def _apply_step(
    request: Request, post: str, body: SeenRevision, step: Callable[[BoardContext, Post], Post]
) -> FullPostOut:
    """Apply a step to the post that was looked at."""
    context = board_context(request)
    _find_post(context, post)
    post_seen = review.looked_at(context.store, post, body.revision, body.hash)
    return _full_post_out(context, step(context, post_seen))


def _find_post(context: BoardContext, post: str) -> Post:
    try:
        return post_store.get_post(context.store, post)
    except UserError as error:
        raise HTTPException(404, str(error)) from None


def _post_out(post: Post) -> PostOut:
    return PostOut(**_post_values(post))


def _full_post_out(context: BoardContext, post: Post) -> FullPostOut:
    card: Card = build_card(context, post)
    candidates = [
        CandidateOut(number=e.number, picture=e.picture, passed=e.passed, reason=e.reason, shown=e.shown)
        for e in card.choices
    ]
    return FullPostOut(**_post_values(post), candidates=candidates, undo=card.undo)


def _post_values(post: Post) -> dict[str, Any]:
    content = post.content
    pictures = [
        PictureOut(**{name: getattr(picture, name) for name in PictureOut.model_fields}) for picture in content.pictures
    ]
    facts = {name: getattr(post, name) for name in ("id", "key", "persona", "shot", "state", "revision", "problem")}
    facts |= {name: getattr(content, name) for name in ("hash", "kind", "caption", "account", "when")}
    return facts | {"hashtags": list(content.hashtags), "pictures": pictures}
