"""How far the publication of a post's revision is: its upload id, what is prepared, what was seen, where it ended up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select, update

from tasks.clock import is_from_a_wrong_clock
from tasks.posts.post import Post, plain
from tasks.publishers.base import ALBUM, Before, Prepared, Receipt, upload_id_at
from tasks.store.store import Store, instant
from tasks.store.tables import ATTEMPT, POST

ROOM = ALBUM.stop
"""Upload ids that belong to one post: its own, and one for each picture of an album."""
SPREAD = timedelta(hours=1)
"""Before a post is due, within which its upload id lies."""


@dataclass(frozen=True)
class Look:
    """Somebody looked whether a post is out."""

    at: str
    saw: str
    """What there was to see, or why nothing could be seen."""
    absent: bool
    first: bool = False
    """Before anything was sent."""


@dataclass(frozen=True)
class Attempt:
    post: str
    revision: int
    publisher: str
    upload_id: str
    progress: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, str] | None = None
    """Of what is prepared; None before."""
    before: Before | None = None
    looks: tuple[Look, ...] = ()
    tries: int = 0
    next_at: str = ""
    error: str = ""
    media_id: str = ""
    permalink: str = ""
    published_at: str = ""

    @property
    def prepared(self) -> Prepared:
        """What a look needs to know, even of a preparation that was never finished."""
        return Prepared(self.upload_id, self.progress if self.parts is None else self.parts)

    @property
    def receipt(self) -> Receipt | None:
        return Receipt(self.publisher, self.media_id, self.permalink) if self.published_at else None

    @property
    def looked_first(self) -> bool:
        return any(each.first and each.absent for each in self.looks)

    def due(self, now: datetime, longest: timedelta) -> bool:
        """Whether its time has come. One that lies further ahead than `longest` was written by a clock that was wrong."""
        return not instant(now) < self.next_at <= instant(now + longest)


def get(connection: Connection, post: Post) -> Attempt | None:
    """That of this revision."""
    query = select(ATTEMPT).where(ATTEMPT.c.post == post.id, ATTEMPT.c.revision == post.revision)
    row = connection.execute(query).mappings().first()
    return None if row is None else _attempt(row)


def attempts(store: Store, post: str) -> list[Attempt]:
    """Those of all revisions of a post."""
    query = select(ATTEMPT).where(ATTEMPT.c.post == post).order_by(ATTEMPT.c.revision)
    with store.reading() as connection:
        return [_attempt(row) for row in connection.execute(query).mappings()]


def out_already(connection: Connection, post: Post) -> Attempt | None:
    """The publication of another revision of the same post."""
    query = select(ATTEMPT).where(ATTEMPT.c.post == post.id, ATTEMPT.c.published_at != "")
    row = connection.execute(query.where(ATTEMPT.c.revision != post.revision)).mappings().first()
    return None if row is None else _attempt(row)


def begin(connection: Connection, post: Post, publisher: str) -> Attempt:
    """One more try, of which the upload id is the first one's. Another publisher starts with nothing prepared."""
    there = get(connection, post)
    if there is None:
        made = Attempt(post.id, post.revision, publisher, _mint(connection, post), tries=1)
        connection.execute(insert(ATTEMPT).values(_row(made)))
        return made
    fresh: dict[str, Any] = {"publisher": publisher, "progress": {}, "parts": None, "before": None, "looks": ()}
    same = {} if there.publisher == publisher else fresh
    return change(connection, there, tries=there.tries + 1, next_at="", **same)


def change(connection: Connection, attempt: Attempt, **values: Any) -> Attempt:
    made = Attempt(**{**vars(attempt), **values})
    own = (ATTEMPT.c.post == attempt.post, ATTEMPT.c.revision == attempt.revision)
    connection.execute(update(ATTEMPT).where(*own).values(_row(made)))
    return made


def forget_looks(connection: Connection) -> None:
    """Let whatever is not out be looked for again before it is sent."""
    connection.execute(update(ATTEMPT).where(ATTEMPT.c.published_at == "").values({"looks": "[]", "next_at": ""}))


def media_of_others(connection: Connection, post: Post) -> Collection[str]:
    """The media of the account that are known to be other posts."""
    query = select(ATTEMPT.c.media_id).join_from(ATTEMPT, POST)
    where = (POST.c.account == post.content.account, ATTEMPT.c.post != post.id, ATTEMPT.c.media_id != "")
    return tuple(connection.scalars(query.where(*where)))


def sent_since(connection: Connection, publisher: str, account: str, since: datetime, now: datetime) -> list[datetime]:
    """List when posts went out there, or may have; a stamp of a wrong clock tells nothing."""
    query = select(ATTEMPT.c.published_at, ATTEMPT.c.before, POST.c.state).join_from(ATTEMPT, POST)
    where = (ATTEMPT.c.publisher == publisher, POST.c.account == account, ATTEMPT.c.before != "")
    recent = (POST.c.state.in_(("committing", "unknown", "needs a person"))) | (
        ATTEMPT.c.published_at >= instant(since)
    )
    found = []
    for published, before, state in connection.execute(query.where(*where, recent)):
        if published or state != "published":
            at = published and datetime.fromisoformat(published)
            found.append(at or datetime.fromtimestamp(json.loads(before)["at"], UTC))
    return sorted(each for each in found if each >= since and not is_from_a_wrong_clock(each, now))


def _mint(connection: Connection, post: Post) -> str:
    """Derived, so that a store that has forgotten a post still recognizes it; never within reach of another post's."""
    slots = int(SPREAD.total_seconds() * 1000) // ROOM
    offset = int(hashlib.sha256(f"{post.id} {post.revision}".encode()).hexdigest(), 16) % slots
    start = int(upload_id_at((post.content.when.astimezone(UTC) - SPREAD).timestamp()))
    for step in range(slots):
        wanted = start + (offset + step) % slots * ROOM
        near = ATTEMPT.c.upload_id.between(str(wanted - ROOM + 1), str(wanted + ROOM - 1))
        query = select(ATTEMPT.c.post).join_from(ATTEMPT, POST).where(POST.c.account == post.content.account, near)
        if connection.execute(query.limit(1)).first() is None:
            return str(wanted)
    raise AssertionError("an account has no more posts in an hour than that")


def _row(attempt: Attempt) -> dict[str, Any]:
    row = dict(vars(attempt))
    parts, before = row.pop("parts"), row.pop("before")
    row["progress"] = plain(dict(attempt.progress))
    row["looks"] = plain([vars(each) for each in attempt.looks])
    row["prepared"] = "" if parts is None else plain(dict(parts))
    row["before"] = "" if before is None else plain({"at": before.at, "media": list(before.media)})
    return row


def _attempt(row: RowMapping) -> Attempt:
    values = dict(row)
    prepared, before = values.pop("prepared"), values.pop("before")
    told = json.loads(before) if before else None
    return Attempt(
        **{
            **values,
            "progress": json.loads(values["progress"]),
            "looks": tuple(Look(**each) for each in json.loads(values["looks"])),
            "parts": json.loads(prepared) if prepared else None,
            "before": Before(told["at"], tuple(told["media"])) if told else None,
        }
    )
