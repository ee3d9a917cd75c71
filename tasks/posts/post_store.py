"""Posts in the store: their content, their approvals and their history.

A post's state changes by `change_state` alone, which writes a line of its history in the same transaction. Any change of
what would be published is a new revision; an approval is for one revision and the hash of its content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from models.system.errors import UserError
from tasks.posts.post import (
    Approval,
    ChangedError,
    Post,
    PostCandidate,
    PostContent,
    PostEvent,
    PostPicture,
    canonical_json,
)
from tasks.posts.states import NEXT, State
from tasks.store.store import Store, utc_text
from tasks.store.tables import APPROVAL, CANDIDATE, POST, POST_EVENT, POST_REVISION


def post_id(key: str) -> str:
    """Return an id short enough to type, the same for the same occurrence."""
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def create_post(
    store: Store,
    key: str,
    persona: str,
    shot: str,
    size: str,
    content: PostContent,
    candidates: Sequence[PostCandidate],
    by: str,
    reason: str,
    *,
    prompt: str = "",
    embedding: str = "",
    problem: str = "",
    at: datetime | None = None,
) -> Post:
    """Create a post for an occurrence; if it exists already, return it unchanged.

    With pictures it awaits review, without any it is a draft with its problem. For a draft, use `add_render`.
    """
    state: State = "awaiting review" if content.pictures else "draft"
    now = utc_text(at or store.clock())
    row = {
        "id": post_id(key),
        "key": key,
        "persona": persona,
        "shot": shot,
        "size": size,
        "state": state,
        "revision": 1,
    }
    row |= {"prompt": prompt, "embedding": embedding, "problem": problem, "created_at": now, "changed_at": now}
    with store.writing() as connection:
        existing = _select_posts(connection, POST.c.key == key)
        if existing:
            return existing[0]
        connection.execute(insert(POST).values(row | _content_columns(content)))
        _insert_revision(connection, row["id"], 1, content)
        _add_candidates(connection, row["id"], candidates)
        _insert_event(connection, row["id"], "", state, 1, by, reason, now)
        return _select_post(connection, str(row["id"]))


def add_render(
    store: Store,
    post: Post,
    content: PostContent,
    candidates: Sequence[PostCandidate],
    by: str,
    reason: str,
    *,
    prompt: str = "",
    embedding: str = "",
    problem: str = "",
    at: datetime | None = None,
) -> Post:
    """Add a render to a draft: more candidates, and a picture to review if one of them is good enough."""
    changes = {"prompt": prompt, "embedding": embedding, "problem": problem} | _content_columns(content)
    state: State = "awaiting review" if content.pictures else "draft"
    with store.writing() as connection:
        numbers = {candidate.number for candidate in _select_candidates(connection, post.id)}
        _add_candidates(connection, post.id, [candidate for candidate in candidates if candidate.number not in numbers])
        return change_state(
            connection, post, state, by, reason, at=at or store.clock(), revision=post.revision + 1, **changes
        )


def get_post(store: Store, post: str) -> Post:
    """Return one post by its id, the beginning of its id, or its occurrence."""
    with store.reading() as connection:
        posts = _select_posts(connection, (POST.c.id == post) | (POST.c.key == post))
        if not posts and len(post) >= 4 and post.isalnum():
            posts = _select_posts(connection, POST.c.id.startswith(post, autoescape=True))
    if len(posts) != 1:
        raise UserError(f"{'several posts begin' if posts else 'there is no post'} with {post!r}: see restage review")
    return posts[0]


def find_by_key(store: Store, key: str) -> Post | None:
    with store.reading() as connection:
        return next(iter(_select_posts(connection, POST.c.key == key)), None)


def find(
    store: Store,
    states: Sequence[State] = (),
    *,
    persona: str = "",
    account: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    newest_first: bool = False,
    limit: int | None = None,
    offset: int = 0,
) -> list[Post]:
    """Find posts by state, persona, account and due time; the earliest first."""
    order = [POST.c.due_at, POST.c.id]
    query = select(POST).where(*_filter_clauses(states, persona, account, since, until))
    query = (
        query.order_by(*([column.desc() for column in order] if newest_first else order)).limit(limit).offset(offset)
    )
    with store.reading() as connection:
        return [_post_from_row(row) for row in connection.execute(query).mappings()]


def count(store: Store, states: Sequence[State] = (), *, persona: str = "", account: str = "") -> dict[State, int]:
    """Count the posts in each state."""
    query = select(POST.c.state, func.count()).where(*_filter_clauses(states, persona, account, None, None))
    with store.reading() as connection:
        return {row[0]: row[1] for row in connection.execute(query.group_by(POST.c.state))}


def candidates(store: Store, post: str) -> list[PostCandidate]:
    with store.reading() as connection:
        return list(_select_candidates(connection, post))


def likenesses(store: Store, states: Sequence[State], *, but: str = "") -> list[tuple[Post, str]]:
    """List the perceptual hashes of the pictures that posts in these states show, with the post; `but` leaves one out."""
    query = select(CANDIDATE.c.post, CANDIDATE.c.picture, CANDIDATE.c.likeness).join_from(CANDIDATE, POST)
    with store.reading() as connection:
        posts = {post.id: post for post in _select_posts(connection, POST.c.state.in_(states), POST.c.id != but)}
        rows = connection.execute(query.where(POST.c.state.in_(states))).all()
    shown_pairs = {
        (post.id, content_picture.picture) for post in posts.values() for content_picture in post.content.pictures
    }
    return [(posts[post], likeness) for post, picture, likeness in rows if (post, picture) in shown_pairs]


def history(store: Store, post: str) -> list[PostEvent]:
    """List the events of a post, the oldest first."""
    query = select(POST_EVENT).where(POST_EVENT.c.post == post).order_by(POST_EVENT.c.number)
    with store.reading() as connection:
        rows = connection.execute(query).mappings()
        return [
            PostEvent(by=row["by_whom"], **{k: v for k, v in row.items() if k not in ("post", "by_whom")})
            for row in rows
        ]


def approval(store: Store, post: Post) -> Approval | None:
    """Return the approval of this revision; None where there is none."""
    with store.reading() as connection:
        return approved(connection, post)


def approved(connection: Connection, post: Post) -> Approval | None:
    query = select(APPROVAL).where(APPROVAL.c.post == post.id, APPROVAL.c.revision == post.revision)
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    content = PostContent.from_dict(json.loads(row["content"]))
    return Approval(row["revision"], row["hash"], content, row["by_whom"], row["at"])


def revisions(store: Store, post: str) -> dict[int, PostContent]:
    """Return the content of each revision of a post."""
    query = select(POST_REVISION.c.revision, POST_REVISION.c.content).where(POST_REVISION.c.post == post)
    with store.reading() as connection:
        rows = connection.execute(query.order_by(POST_REVISION.c.revision)).all()
    return {revision: PostContent.from_dict(json.loads(content)) for revision, content in rows}


def with_picture(store: Store, picture: str) -> list[Post]:
    """Find the posts that show a picture, or have it among their candidates."""
    among = select(CANDIDATE.c.post).where(CANDIDATE.c.picture == picture)
    with store.reading() as connection:
        return _select_posts(
            connection, POST.c.id.in_(among) | POST.c.pictures.contains(f'"{picture}"', autoescape=True)
        )


def last_published(store: Store, persona: str) -> dict[str, datetime]:
    """Return for each shot when its last published post was due."""
    query = select(POST.c.shot, func.max(POST.c.due_at)).where(POST.c.persona == persona, POST.c.state == "published")
    with store.reading() as connection:
        return {shot: datetime.fromisoformat(at) for shot, at in connection.execute(query.group_by(POST.c.shot))}


def approve(store: Store, post: Post, by: str, reason: str = "", at: datetime | None = None) -> Post:
    """Approve exactly this revision with this content, and store both."""
    now = at or store.clock()
    with store.writing() as connection:
        stored = current(connection, post)
        if stored.content.hash != post.content.hash:
            raise ChangedError(f"post {post.id} is not what you looked at any more: look at it again")
        if not stored.content.pictures:
            raise UserError(f"post {post.id} has no picture yet: choose one of its candidates, or render it again")
        frozen = {
            "hash": stored.content.hash,
            "content": canonical_json(stored.content.as_dict()),
            "by_whom": by,
            "at": utc_text(now),
        }
        existing = approved(connection, stored)
        if existing is None:
            connection.execute(insert(APPROVAL).values({"post": post.id, "revision": post.revision} | frozen))
        return change_state(connection, stored, "approved", by, reason, at=now, problem="")


def edit(store: Store, post: Post, content: PostContent, by: str, reason: str, at: datetime | None = None) -> Post:
    """Store other content as a new revision, which has to be approved again."""
    if content.hash == post.content.hash:
        return post
    to: State = "awaiting review" if content.pictures else "draft"
    changes = {"problem": "" if content.pictures else post.problem} | _content_columns(content)
    with store.writing() as connection:
        return change_state(
            connection, post, to, by, reason, at=at or store.clock(), revision=post.revision + 1, **changes
        )


def change(
    store: Store, post: Post, to: State, by: str, reason: str, at: datetime | None = None, problem: str = ""
) -> Post:
    """Change only the state of a post, in a transaction of its own."""
    with store.writing() as connection:
        return change_state(connection, post, to, by, reason, at=at or store.clock(), problem=problem)


def change_state(
    connection: Connection, post: Post, to: State, by: str, reason: str, *, at: datetime, **changes: Any
) -> Post:
    """Change the state and these columns, and write the event; refuse if the post has changed since it was read."""
    stored = current(connection, post)
    if to not in NEXT[stored.state] and not (to == stored.state and to in ("draft", "awaiting review")):
        raise UserError(f"post {post.id} is {stored.state} and cannot become {to}: see restage review {post.id}")
    now = utc_text(at)
    same = (POST.c.id == post.id, POST.c.state == stored.state, POST.c.revision == stored.revision)
    result = connection.execute(update(POST).where(*same).values({"state": to, "changed_at": now} | changes))
    assert result.rowcount == 1, "writers come one after another"
    revision = changes.get("revision", stored.revision)
    _insert_event(connection, post.id, stored.state, to, revision, by, reason, now)
    moved = _select_post(connection, post.id)
    if revision != stored.revision:
        _insert_revision(connection, post.id, revision, moved.content)
    return moved


def current(connection: Connection, post: Post) -> Post:
    """Return the stored post; raise `ChangedError` if its state or revision has changed."""
    stored = _select_post(connection, post.id)
    if (stored.state, stored.revision) != (post.state, post.revision):
        difference = f"is {stored.state} by now" if stored.state != post.state else "has been changed meanwhile"
        raise ChangedError(f"post {post.id} {difference}: look at it again")
    return stored


def note(connection: Connection, post: Post, by: str, reason: str, at: datetime) -> None:
    """Write an event to its history without changing its state."""
    _insert_event(connection, post.id, post.state, post.state, post.revision, by, reason, utc_text(at))


def find_in(connection: Connection, states: Sequence[State] = (), *, account: str = "", post: str = "") -> list[Post]:
    """Find posts within this transaction, the earliest first."""
    only = [POST.c.id == post] if post else []
    return _select_posts(connection, *_filter_clauses(states, "", account, None, None), *only)


def _filter_clauses(
    states: Sequence[State], persona: str, account: str, since: datetime | None, until: datetime | None
) -> Iterator[Any]:
    if states:
        yield POST.c.state.in_(states)
    if persona:
        yield POST.c.persona == persona
    if account:
        yield POST.c.account == account
    if since:
        yield POST.c.due_at >= utc_text(since)
    if until:
        yield POST.c.due_at <= utc_text(until)


def _select_posts(connection: Connection, *where: Any) -> list[Post]:
    return [
        _post_from_row(row) for row in connection.execute(select(POST).where(*where).order_by(POST.c.due_at)).mappings()
    ]


def _select_post(connection: Connection, post: str) -> Post:
    posts = _select_posts(connection, POST.c.id == post)
    if not posts:
        raise UserError(f"there is no post {post}: see restage review")
    return posts[0]


def _post_from_row(row: RowMapping) -> Post:
    values: dict[str, Any] = dict(row)
    content = PostContent(
        kind=values.pop("kind"),
        pictures=tuple(PostPicture(**picture) for picture in json.loads(values.pop("pictures"))),
        caption=values.pop("caption"),
        hashtags=tuple(json.loads(values.pop("hashtags"))),
        account=values.pop("account"),
        when=datetime.fromisoformat(values.pop("due_at")).astimezone(ZoneInfo(values.pop("zone"))),
        ai_label=bool(values.pop("ai_label")),
    )
    return Post(content=content, **values)


def _content_columns(content: PostContent) -> dict[str, Any]:
    values = content.as_dict()
    values["due_at"] = values.pop("when")
    return values | {
        "pictures": canonical_json(values["pictures"]),
        "hashtags": canonical_json(values["hashtags"]),
        "ai_label": int(content.ai_label),
    }


def _add_candidates(connection: Connection, post: Any, candidates: Sequence[PostCandidate]) -> None:
    rows = [
        asdict(candidate)
        | {"post": post, "passed": int(candidate.passed), "scores": canonical_json(dict(candidate.scores))}
        for candidate in candidates
    ]
    if rows:
        connection.execute(insert(CANDIDATE), rows)


def _select_candidates(connection: Connection, post: str) -> Iterator[PostCandidate]:
    query = select(CANDIDATE).where(CANDIDATE.c.post == post).order_by(CANDIDATE.c.number)
    for row in connection.execute(query).mappings():
        values = {name: value for name, value in row.items() if name != "post"}
        yield PostCandidate(**values | {"passed": bool(row["passed"]), "scores": json.loads(row["scores"])})


def _insert_revision(connection: Connection, post: Any, revision: int, content: PostContent) -> None:
    row = {"post": post, "revision": revision, "content": canonical_json(content.as_dict())}
    connection.execute(insert(POST_REVISION).values(row))


def _insert_event(
    connection: Connection, post: Any, was: str, state: State, revision: int, by: str, reason: str, now: str
) -> None:
    last = connection.scalar(select(func.max(POST_EVENT.c.number)).where(POST_EVENT.c.post == post)) or 0
    row = {"post": post, "number": last + 1, "at": now, "by_whom": by, "was": was, "state": state}
    connection.execute(insert(POST_EVENT).values(row | {"revision": revision, "why": reason}))
