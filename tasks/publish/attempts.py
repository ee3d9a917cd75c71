"""Attempts to publish a revision of a post: its upload id, what is prepared, what lookups saw, where it was published."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select, update

from tasks.clock import is_from_a_wrong_clock
from tasks.posts.post import Post, canonical_json
from tasks.publishers.base import ALBUM_SIZES, BeforeCommit, PreparedUpload, Receipt, upload_id_at
from tasks.store.store import Store, utc_text
from tasks.store.tables import ATTEMPT, POST

IDS_PER_POST = ALBUM_SIZES.stop
"""Number of upload ids of one post: its own, and one for each picture of an album."""
UPLOAD_ID_SPREAD = timedelta(hours=1)
"""The time before a post is due from which its upload id is taken."""


@dataclass(frozen=True)
class LookupRecord:
    """One lookup on the account whether a post is published."""

    at: str
    saw: str
    """The evidence, or why the lookup failed."""
    absent: bool
    first: bool = False
    """True if it was made before anything was sent."""


@dataclass(frozen=True)
class PublishAttempt:
    post: str
    revision: int
    publisher: str
    upload_id: str
    progress: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, str] | None = None
    """The ids of the prepared upload; None before it is prepared."""
    before: BeforeCommit | None = None
    looks: tuple[LookupRecord, ...] = ()
    tries: int = 0
    next_at: str = ""
    error: str = ""
    media_id: str = ""
    permalink: str = ""
    published_at: str = ""

    @property
    def prepared(self) -> PreparedUpload:
        """Return what a lookup needs to know, even of an unfinished preparation."""
        return PreparedUpload(self.upload_id, self.progress if self.parts is None else self.parts)

    @property
    def receipt(self) -> Receipt | None:
        return Receipt(self.publisher, self.media_id, self.permalink) if self.published_at else None

    @property
    def looked_first(self) -> bool:
        return any(lookup.first and lookup.absent for lookup in self.looks)

    def due(self, now: datetime, longest: timedelta) -> bool:
        """Tell whether its next step is due. A time further ahead than `longest` was written by a wrong clock."""
        return not utc_text(now) < self.next_at <= utc_text(now + longest)


def get(connection: Connection, post: Post) -> PublishAttempt | None:
    """Return the attempt of this revision."""
    query = select(ATTEMPT).where(ATTEMPT.c.post == post.id, ATTEMPT.c.revision == post.revision)
    row = connection.execute(query).mappings().first()
    return None if row is None else _attempt_from_row(row)


def attempts(store: Store, post: str) -> list[PublishAttempt]:
    """List the attempts of all revisions of a post."""
    query = select(ATTEMPT).where(ATTEMPT.c.post == post).order_by(ATTEMPT.c.revision)
    with store.reading() as connection:
        return [_attempt_from_row(row) for row in connection.execute(query).mappings()]


def published_revision(connection: Connection, post: Post) -> PublishAttempt | None:
    """Return the attempt that published another revision of the same post."""
    query = select(ATTEMPT).where(ATTEMPT.c.post == post.id, ATTEMPT.c.published_at != "")
    row = connection.execute(query.where(ATTEMPT.c.revision != post.revision)).mappings().first()
    return None if row is None else _attempt_from_row(row)


def begin(connection: Connection, post: Post, publisher: str) -> PublishAttempt:
    """Count one more try with the same upload id. With another publisher, nothing is prepared yet."""
    existing = get(connection, post)
    if existing is None:
        attempt = PublishAttempt(post.id, post.revision, publisher, _new_upload_id(connection, post), tries=1)
        connection.execute(insert(ATTEMPT).values(_attempt_row(attempt)))
        return attempt
    fresh: dict[str, Any] = {"publisher": publisher, "progress": {}, "parts": None, "before": None, "looks": ()}
    same = {} if existing.publisher == publisher else fresh
    return change(connection, existing, tries=existing.tries + 1, next_at="", **same)


def change(connection: Connection, attempt: PublishAttempt, **values: Any) -> PublishAttempt:
    changed = PublishAttempt(**{**vars(attempt), **values})
    clauses = (ATTEMPT.c.post == attempt.post, ATTEMPT.c.revision == attempt.revision)
    connection.execute(update(ATTEMPT).where(*clauses).values(_attempt_row(changed)))
    return changed


def clear_lookups(connection: Connection) -> None:
    """Clear the lookups of everything unpublished, so that it is looked up again before it is sent."""
    connection.execute(update(ATTEMPT).where(ATTEMPT.c.published_at == "").values({"looks": "[]", "next_at": ""}))


def other_media(connection: Connection, post: Post) -> Collection[str]:
    """List the ids of the account's media that are known to be other posts."""
    query = select(ATTEMPT.c.media_id).join_from(ATTEMPT, POST)
    clauses = (POST.c.account == post.content.account, ATTEMPT.c.post != post.id, ATTEMPT.c.media_id != "")
    return tuple(connection.scalars(query.where(*clauses)))


def sent_since(connection: Connection, publisher: str, account: str, since: datetime, now: datetime) -> list[datetime]:
    """List when posts went out there, or may have; a stamp of a wrong clock tells nothing."""
    query = select(ATTEMPT.c.published_at, ATTEMPT.c.before, POST.c.state).join_from(ATTEMPT, POST)
    clauses = (ATTEMPT.c.publisher == publisher, POST.c.account == account, ATTEMPT.c.before != "")
    recent = (POST.c.state.in_(("committing", "unknown", "needs a person"))) | (
        ATTEMPT.c.published_at >= utc_text(since)
    )
    times = []
    for published, before, state in connection.execute(query.where(*clauses, recent)):
        if published or state != "published":
            at = published and datetime.fromisoformat(published)
            times.append(at or datetime.fromtimestamp(json.loads(before)["at"], UTC))
    return sorted(sent_at for sent_at in times if sent_at >= since and not is_from_a_wrong_clock(sent_at, now))


def _new_upload_id(connection: Connection, post: Post) -> str:
    """Derive an upload id from the post, so that a restored store recognizes it; never near the id of another post."""
    slots = int(UPLOAD_ID_SPREAD.total_seconds() * 1000) // IDS_PER_POST
    offset = int(hashlib.sha256(f"{post.id} {post.revision}".encode()).hexdigest(), 16) % slots
    start = int(upload_id_at((post.content.when.astimezone(UTC) - UPLOAD_ID_SPREAD).timestamp()))
    for step in range(slots):
        upload_id = start + (offset + step) % slots * IDS_PER_POST
        near = ATTEMPT.c.upload_id.between(str(upload_id - IDS_PER_POST + 1), str(upload_id + IDS_PER_POST - 1))
        query = select(ATTEMPT.c.post).join_from(ATTEMPT, POST).where(POST.c.account == post.content.account, near)
        if connection.execute(query.limit(1)).first() is None:
            return str(upload_id)
    raise AssertionError("an account has no more posts in an hour than that")


def _attempt_row(attempt: PublishAttempt) -> dict[str, Any]:
    row = dict(vars(attempt))
    parts, before = row.pop("parts"), row.pop("before")
    row["progress"] = canonical_json(dict(attempt.progress))
    row["looks"] = canonical_json([vars(lookup) for lookup in attempt.looks])
    row["prepared"] = "" if parts is None else canonical_json(dict(parts))
    row["before"] = "" if before is None else canonical_json({"at": before.at, "media": list(before.media)})
    return row


def _attempt_from_row(row: RowMapping) -> PublishAttempt:
    values = dict(row)
    prepared, before = values.pop("prepared"), values.pop("before")
    before_values = json.loads(before) if before else None
    return PublishAttempt(
        **{
            **values,
            "progress": json.loads(values["progress"]),
            "looks": tuple(LookupRecord(**lookup) for lookup in json.loads(values["looks"])),
            "parts": json.loads(prepared) if prepared else None,
            "before": BeforeCommit(before_values["at"], tuple(before_values["media"])) if before_values else None,
        }
    )
