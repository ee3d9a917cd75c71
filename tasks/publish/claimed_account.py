"""A publisher's turn at an account: the claim that is held, the rules it goes by, and what it hands over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection

from tasks.clock import Clock, system_clock
from tasks.posts import post_store
from tasks.posts.post import Content, Post
from tasks.posts.states import IN_FLIGHT
from tasks.publish import accounts
from tasks.publish.accounts import Claim
from tasks.publish.pacing import Pace
from tasks.publishers.base import Parcel, Picture, Publisher, Receipt
from tasks.publishers.disclosure import Wanted
from tasks.store.store import Store

BY = "restage"


@dataclass(frozen=True)
class Rules:
    """What the settings say of publishing."""

    pace: Pace = field(default_factory=Pace)
    wanted: Wanted = field(default_factory=Wanted)
    tries: int = 5
    """How often a post is tried before it counts as failed."""
    looks: tuple[float, ...] = (30.0, 120.0, 600.0, 3600.0)
    """Seconds before each look at a commit that was never answered. Absent at all of them, it is a person's to judge."""
    resend: bool = False
    """Send again then, without a person."""


@dataclass(frozen=True)
class Outcome:
    """What became of a post."""

    post: Post
    says: str
    receipt: Receipt | None = None
    person: bool = False
    """Somebody has to act before anything more goes to its account."""


@dataclass(frozen=True)
class Turn:
    store: Store
    studio: Path
    publisher: Publisher
    held: Claim
    rules: Rules = field(default_factory=Rules)
    now: Clock = system_clock

    @contextmanager
    def writing(self, post: Post | None = None) -> Iterator[Connection]:
        """Write as long as the claim is held; see `claims.while_held`."""
        with self.store.writing() as connection:
            accounts.while_held(connection, self.held, self.now(), post.id if post else None)
            yield connection


def parcel(post: Post, content: Content, studio: Path) -> Parcel:
    """What was approved, as a publisher takes it."""
    return Parcel(
        post_id=post.id,
        account=content.account,
        persona=post.persona,
        shot=post.shot,
        kind=content.kind,
        pictures=tuple(Picture(studio / each.file, each.sha256) for each in content.pictures),
        caption=content.text,
        alts=tuple(each.alt for each in content.pictures),
        ai_label=content.ai_label,
        when=content.when,
    )


def is_in_flight(post: Post) -> bool:
    return post.state in IN_FLIGHT


def reread(store: Store, post: Post) -> Post:
    """As it is by now, whatever happened to it."""
    with store.reading() as connection:
        return post_store.within(connection, post=post.id)[0]
