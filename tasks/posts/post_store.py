"""Posts in the store: what each would say and show, who approved it, and all that happened to it.

A post's state changes by `move` alone, which writes a line of its history in the same transaction. Whatever would go out
differently is a new revision, and an approval is for one revision and the hash of its content.
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
from tasks.posts.post import Approval, Candidate, ChangedError, Content, Event, Post, Shown, plain
from tasks.posts.states import NEXT, State
from tasks.store.store import Store, instant
from tasks.store.tables import APPROVAL, CANDIDATE, POST, POST_EVENT, POST_REVISION


def post_id(key: str) -> str:
    """Short enough to type, and the same for the same occurrence."""
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def enqueue(
    store: Store,
    key: str,
    persona: str,
    shot: str,
    size: str,
    content: Content,
    candidates: Sequence[Candidate],
    by: str,
    why: str,
    *,
    prompt: str = "",
    embedding: str = "",
    problem: str = "",
    at: datetime | None = None,
) -> Post:
    """A post for an occurrence; one that is there already stays as it is and is what comes back.

    With pictures it awaits review, without any it is a draft with its problem. What was rendered for a draft goes to `fill`.
    """
    state: State = "awaiting review" if content.pictures else "draft"
    now = instant(at or store.clock())
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
        known = _find(connection, POST.c.key == key)
        if known:
            return known[0]
        connection.execute(insert(POST).values(row | _columns(content)))
        _keep(connection, row["id"], 1, content)
        _add_candidates(connection, row["id"], candidates)
        _tell(connection, row["id"], "", state, 1, by, why, now)
        return _one(connection, str(row["id"]))


def fill(
    store: Store,
    post: Post,
    content: Content,
    candidates: Sequence[Candidate],
    by: str,
    why: str,
    *,
    prompt: str = "",
    embedding: str = "",
    problem: str = "",
    at: datetime | None = None,
) -> Post:
    """Give a draft what was rendered for it: more candidates, and a picture to review if one of them is good enough."""
    changes = {"prompt": prompt, "embedding": embedding, "problem": problem} | _columns(content)
    state: State = "awaiting review" if content.pictures else "draft"
    with store.writing() as connection:
        known = {each.number for each in _candidates(connection, post.id)}
        _add_candidates(connection, post.id, [each for each in candidates if each.number not in known])
        return move(connection, post, state, by, why, at=at or store.clock(), revision=post.revision + 1, **changes)


def get(store: Store, post: str) -> Post:
    """One post by its id or the beginning of it, or by its occurrence."""
    with store.reading() as connection:
        found = _find(connection, (POST.c.id == post) | (POST.c.key == post))
        if not found and len(post) >= 4 and post.isalnum():
            found = _find(connection, POST.c.id.startswith(post, autoescape=True))
    if len(found) != 1:
        raise UserError(f"{'several posts begin' if found else 'there is no post'} with {post!r}: see restage review")
    return found[0]


def by_key(store: Store, key: str) -> Post | None:
    with store.reading() as connection:
        return next(iter(_find(connection, POST.c.key == key)), None)


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
    """Posts by state, persona, account and the time they are due; the earliest first."""
    order = [POST.c.due_at, POST.c.id]
    query = select(POST).where(*_where(states, persona, account, since, until))
    query = query.order_by(*([each.desc() for each in order] if newest_first else order)).limit(limit).offset(offset)
    with store.reading() as connection:
        return [_post(row) for row in connection.execute(query).mappings()]


def count(store: Store, states: Sequence[State] = (), *, persona: str = "", account: str = "") -> dict[State, int]:
    """How many there are in each state."""
    query = select(POST.c.state, func.count()).where(*_where(states, persona, account, None, None))
    with store.reading() as connection:
        return {row[0]: row[1] for row in connection.execute(query.group_by(POST.c.state))}


def candidates(store: Store, post: str) -> list[Candidate]:
    with store.reading() as connection:
        return list(_candidates(connection, post))


def likenesses(store: Store, states: Sequence[State], *, but: str = "") -> list[tuple[Post, str]]:
    """The perceptual hashes of the pictures that posts in these states show, each with its post; `but` leaves one out."""
    query = select(CANDIDATE.c.post, CANDIDATE.c.picture, CANDIDATE.c.likeness).join_from(CANDIDATE, POST)
    with store.reading() as connection:
        shown = {post.id: post for post in _find(connection, POST.c.state.in_(states), POST.c.id != but)}
        rows = connection.execute(query.where(POST.c.state.in_(states))).all()
    used = {(post.id, each.picture) for post in shown.values() for each in post.content.pictures}
    return [(shown[post], likeness) for post, picture, likeness in rows if (post, picture) in used]


def history(store: Store, post: str) -> list[Event]:
    """All that happened to a post, the oldest first."""
    query = select(POST_EVENT).where(POST_EVENT.c.post == post).order_by(POST_EVENT.c.number)
    with store.reading() as connection:
        rows = connection.execute(query).mappings()
        return [
            Event(by=row["by_whom"], **{k: v for k, v in row.items() if k not in ("post", "by_whom")}) for row in rows
        ]


def approval(store: Store, post: Post) -> Approval | None:
    """What was approved of this revision; None where nothing was."""
    with store.reading() as connection:
        return approved(connection, post)


def approved(connection: Connection, post: Post) -> Approval | None:
    query = select(APPROVAL).where(APPROVAL.c.post == post.id, APPROVAL.c.revision == post.revision)
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    content = Content.from_dict(json.loads(row["content"]))
    return Approval(row["revision"], row["hash"], content, row["by_whom"], row["at"])


def revisions(store: Store, post: str) -> dict[int, Content]:
    """What would have gone out at each revision of a post."""
    query = select(POST_REVISION.c.revision, POST_REVISION.c.content).where(POST_REVISION.c.post == post)
    with store.reading() as connection:
        rows = connection.execute(query.order_by(POST_REVISION.c.revision)).all()
    return {revision: Content.from_dict(json.loads(content)) for revision, content in rows}


def with_picture(store: Store, picture: str) -> list[Post]:
    """The posts that show a picture, or have it among their candidates."""
    among = select(CANDIDATE.c.post).where(CANDIDATE.c.picture == picture)
    with store.reading() as connection:
        return _find(connection, POST.c.id.in_(among) | POST.c.pictures.contains(f'"{picture}"', autoescape=True))


def last_published(store: Store, persona: str) -> dict[str, datetime]:
    """By shot, when it was due that was published last."""
    query = select(POST.c.shot, func.max(POST.c.due_at)).where(POST.c.persona == persona, POST.c.state == "published")
    with store.reading() as connection:
        return {shot: datetime.fromisoformat(at) for shot, at in connection.execute(query.group_by(POST.c.shot))}


def approve(store: Store, post: Post, by: str, why: str = "", at: datetime | None = None) -> Post:
    """Freeze exactly what was looked at: this revision with this content, and no other."""
    now = at or store.clock()
    with store.writing() as connection:
        there = current(connection, post)
        if there.content.hash != post.content.hash:
            raise ChangedError(f"post {post.id} is not what you looked at any more: look at it again")
        if not there.content.pictures:
            raise UserError(f"post {post.id} has no picture yet: choose one of its candidates, or render it again")
        frozen = {
            "hash": there.content.hash,
            "content": plain(there.content.as_dict()),
            "by_whom": by,
            "at": instant(now),
        }
        held = approved(connection, there)
        if held is None:
            connection.execute(insert(APPROVAL).values({"post": post.id, "revision": post.revision} | frozen))
        return move(connection, there, "approved", by, why, at=now, problem="")


def edit(store: Store, post: Post, content: Content, by: str, why: str, at: datetime | None = None) -> Post:
    """Let something else go out: a new revision, which has to be approved again."""
    if content.hash == post.content.hash:
        return post
    to: State = "awaiting review" if content.pictures else "draft"
    changes = {"problem": "" if content.pictures else post.problem} | _columns(content)
    with store.writing() as connection:
        return move(connection, post, to, by, why, at=at or store.clock(), revision=post.revision + 1, **changes)


def change(
    store: Store, post: Post, to: State, by: str, why: str, at: datetime | None = None, problem: str = ""
) -> Post:
    """Move a post on, where nothing but its state changes."""
    with store.writing() as connection:
        return move(connection, post, to, by, why, at=at or store.clock(), problem=problem)


def move(connection: Connection, post: Post, to: State, by: str, why: str, *, at: datetime, **changes: Any) -> Post:
    """Into the next state with these columns changed, and a line in its history; refused where it is not what it was."""
    there = current(connection, post)
    if to not in NEXT[there.state] and not (to == there.state and to in ("draft", "awaiting review")):
        raise UserError(f"post {post.id} is {there.state} and cannot become {to}: see restage review {post.id}")
    now = instant(at)
    same = (POST.c.id == post.id, POST.c.state == there.state, POST.c.revision == there.revision)
    done = connection.execute(update(POST).where(*same).values({"state": to, "changed_at": now} | changes))
    assert done.rowcount == 1, "writers come one after another"
    revision = changes.get("revision", there.revision)
    _tell(connection, post.id, there.state, to, revision, by, why, now)
    moved = _one(connection, post.id)
    if revision != there.revision:
        _keep(connection, post.id, revision, moved.content)
    return moved


def current(connection: Connection, post: Post) -> Post:
    """The post as it is now, if it still is where it was looked at."""
    there = _one(connection, post.id)
    if (there.state, there.revision) != (post.state, post.revision):
        said = f"is {there.state} by now" if there.state != post.state else "has been changed meanwhile"
        raise ChangedError(f"post {post.id} {said}: look at it again")
    return there


def note(connection: Connection, post: Post, by: str, why: str, at: datetime) -> None:
    """A line in its history, where its state stays."""
    _tell(connection, post.id, post.state, post.state, post.revision, by, why, instant(at))


def within(connection: Connection, states: Sequence[State] = (), *, account: str = "", post: str = "") -> list[Post]:
    """Posts as this transaction sees them, the earliest first."""
    only = [POST.c.id == post] if post else []
    return _find(connection, *_where(states, "", account, None, None), *only)


def _where(
    states: Sequence[State], persona: str, account: str, since: datetime | None, until: datetime | None
) -> Iterator[Any]:
    if states:
        yield POST.c.state.in_(states)
    if persona:
        yield POST.c.persona == persona
    if account:
        yield POST.c.account == account
    if since:
        yield POST.c.due_at >= instant(since)
    if until:
        yield POST.c.due_at <= instant(until)


def _find(connection: Connection, *where: Any) -> list[Post]:
    return [_post(row) for row in connection.execute(select(POST).where(*where).order_by(POST.c.due_at)).mappings()]


def _one(connection: Connection, post: str) -> Post:
    found = _find(connection, POST.c.id == post)
    if not found:
        raise UserError(f"there is no post {post}: see restage review")
    return found[0]


def _post(row: RowMapping) -> Post:
    values: dict[str, Any] = dict(row)
    content = Content(
        kind=values.pop("kind"),
        pictures=tuple(Shown(**each) for each in json.loads(values.pop("pictures"))),
        caption=values.pop("caption"),
        hashtags=tuple(json.loads(values.pop("hashtags"))),
        account=values.pop("account"),
        when=datetime.fromisoformat(values.pop("due_at")).astimezone(ZoneInfo(values.pop("zone"))),
        ai_label=bool(values.pop("ai_label")),
    )
    return Post(content=content, **values)


def _columns(content: Content) -> dict[str, Any]:
    said = content.as_dict()
    said["due_at"] = said.pop("when")
    return said | {
        "pictures": plain(said["pictures"]),
        "hashtags": plain(said["hashtags"]),
        "ai_label": int(content.ai_label),
    }


def _add_candidates(connection: Connection, post: Any, candidates: Sequence[Candidate]) -> None:
    rows = [
        asdict(each) | {"post": post, "passed": int(each.passed), "scores": plain(dict(each.scores))}
        for each in candidates
    ]
    if rows:
        connection.execute(insert(CANDIDATE), rows)


def _candidates(connection: Connection, post: str) -> Iterator[Candidate]:
    query = select(CANDIDATE).where(CANDIDATE.c.post == post).order_by(CANDIDATE.c.number)
    for row in connection.execute(query).mappings():
        values = {name: value for name, value in row.items() if name != "post"}
        yield Candidate(**values | {"passed": bool(row["passed"]), "scores": json.loads(row["scores"])})


def _keep(connection: Connection, post: Any, revision: int, content: Content) -> None:
    row = {"post": post, "revision": revision, "content": plain(content.as_dict())}
    connection.execute(insert(POST_REVISION).values(row))


def _tell(
    connection: Connection, post: Any, was: str, state: State, revision: int, by: str, why: str, now: str
) -> None:
    last = connection.scalar(select(func.max(POST_EVENT.c.number)).where(POST_EVENT.c.post == post)) or 0
    row = {"post": post, "number": last + 1, "at": now, "by_whom": by, "was": was, "state": state}
    connection.execute(insert(POST_EVENT).values(row | {"revision": revision, "why": why}))
