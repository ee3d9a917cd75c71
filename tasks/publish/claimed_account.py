"""An account while one run publishes to it: its lease, the rules, and the post as publishers take it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection

from tasks.clock import Clock, system_clock
from tasks.posts import post_store
from tasks.posts.post import Post, PostContent
from tasks.publish import accounts
from tasks.publish.accounts import AccountLease
from tasks.publish.pacing import PacingRules
from tasks.publishers.base import ApprovedPicture, ApprovedPost, Publisher, Receipt
from tasks.publishers.disclosure import DisclosureRules
from tasks.store.store import Store

BY = "restage"


@dataclass(frozen=True)
class PublishingRules:
    """The settings for publishing."""

    pace: PacingRules = field(default_factory=PacingRules)
    wanted: DisclosureRules = field(default_factory=DisclosureRules)
    tries: int = 5
    """Number of tries before a post counts as failed."""
    looks: tuple[float, ...] = (30.0, 120.0, 600.0, 3600.0)
    """Seconds before each lookup of a commit without an answer. A post absent at all of them needs a person."""
    resend: bool = False
    """True to send it again then, without a person."""


@dataclass(frozen=True)
class PublishOutcome:
    """The result of publishing a post."""

    post: Post
    says: str
    receipt: Receipt | None = None
    person: bool = False
    """True if a person has to act before anything more goes to its account."""


@dataclass(frozen=True)
class ClaimedAccount:
    store: Store
    studio: Path
    publisher: Publisher
    lease: AccountLease
    rules: PublishingRules = field(default_factory=PublishingRules)
    now: Clock = system_clock

    @contextmanager
    def writing(self, post: Post | None = None) -> Iterator[Connection]:
        """Open a transaction while the lease is held; see `accounts.renew_or_raise`."""
        with self.store.writing() as connection:
            accounts.renew_or_raise(connection, self.lease, self.now(), post.id if post else None)
            yield connection


def approved_post(post: Post, content: PostContent, studio: Path) -> ApprovedPost:
    """Build the approved post in the form that a publisher takes."""
    return ApprovedPost(
        post_id=post.id,
        account=content.account,
        persona=post.persona,
        shot=post.shot,
        kind=content.kind,
        pictures=tuple(ApprovedPicture(studio / picture.file, picture.sha256) for picture in content.pictures),
        caption=content.text,
        alts=tuple(picture.alt for picture in content.pictures),
        ai_label=content.ai_label,
        when=content.when,
    )


def reload_post(store: Store, post: Post) -> Post:
    """Return the post as it is now."""
    with store.reading() as connection:
        return post_store.find_in(connection, post=post.id)[0]
