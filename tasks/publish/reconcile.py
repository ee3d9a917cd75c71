"""Look up whether a post is published: before it is sent for the first time, and after a commit without an answer.

A post is sent again only on evidence, never because no answer came. A receipt that arrives late still counts.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from tasks.posts import post_store
from tasks.posts.post import Post
from tasks.posts.states import NEXT
from tasks.publish import accounts, attempts
from tasks.publish.attempts import LookupRecord, PublishAttempt
from tasks.publish.claimed_account import BY, ClaimedAccount, PublishOutcome, approved_post, reload_post
from tasks.publishers.base import ApprovedPost, BeforeCommit, FoundOnAccount, PublishError, Receipt
from tasks.store.databases import StoreError
from tasks.store.store import Store, utc_text

MAX_SENT_EARLY = timedelta(days=2)
"""Time before a post is due within which somebody may have sent it by hand."""
STORY_LIFETIME = timedelta(hours=18)
"""A story older than this may be gone from the account."""
MAX_FAILED_PER_LOOK = 3
"""Lookups that may fail for each lookup that has to succeed."""
WRITE_DELAYS = (0.0, 0.2, 1.0, 5.0)
"""Seconds before each try to record that a post is published."""


def look_first(
    claimed: ClaimedAccount, post: Post, attempt: PublishAttempt, sent: ApprovedPost
) -> PublishOutcome | PublishAttempt:
    """Look up whether the post is published although the store does not know it, as after restoring an old backup."""
    if attempt.looked_first:
        return attempt
    before = replace(_before_commit(claimed, post, attempt), unsent=True)
    verdict = claimed.publisher.find_published(sent, attempt.prepared, before)
    now = claimed.now()
    if isinstance(verdict, FoundOnAccount) and verdict.sure:
        return record(claimed.store, post, verdict.receipt, f"it is out already: {verdict.evidence}", now)
    with claimed.writing() as connection:
        attempt = _current_attempt(connection, post)
        if isinstance(verdict, FoundOnAccount):
            reason = (
                f"{verdict.evidence}: see on the account whether that is this post, and run restage resolve {post.id}"
            )
            return PublishOutcome(
                post_store.change_state(connection, post, "needs a person", BY, reason, at=now, problem=reason), reason
            )
        lookup = LookupRecord(utc_text(now), verdict.evidence, absent=True, first=True)
        return attempts.change(connection, attempt, looks=(*attempt.looks, lookup))


def reconcile_one(claimed: ClaimedAccount, post: Post) -> PublishOutcome:
    """Look up an unknown post once. Raise `ChangedError` if it was settled meanwhile."""
    with claimed.store.reading() as connection:
        attempt, approval = _current_attempt(connection, post), post_store.approved(connection, post)
    assert approval, "only what was approved gets there"
    try:
        sent = approved_post(post, approval.content, claimed.studio)
        verdict = claimed.publisher.find_published(sent, attempt.prepared, _before_commit(claimed, post, attempt))
    except PublishError as error:
        return _lookup_failed(claimed, post, error)
    if isinstance(verdict, FoundOnAccount):
        return record(claimed.store, post, verdict.receipt, verdict.evidence, claimed.now())
    return _not_found(claimed, post, verdict.evidence)


def max_wait(claimed: ClaimedAccount) -> timedelta:
    """Return an upper bound on `next_at`; anything later was written by a wrong clock."""
    return timedelta(seconds=2 * max(claimed.rules.looks))


def mark_unknown(connection: Connection, claimed: ClaimedAccount, post: Post, reason: str) -> Post:
    """Mark a post unknown: from now on only lookups and people decide."""
    attempt, now = attempts.get(connection, post), claimed.now()
    assert attempt
    first = now + timedelta(seconds=0 if claimed.publisher.idempotent else claimed.rules.looks[0])
    attempts.change(connection, attempt, next_at=utc_text(first), error=reason)
    return post_store.change_state(connection, post, "unknown", BY, reason, at=now, problem=reason)


def record(store: Store, post: Post, receipt: Receipt, reason: str, now: datetime) -> PublishOutcome:
    """Record that a post is published, with several tries. This is a fact, whoever holds the lease now."""
    for place, seconds in enumerate(WRITE_DELAYS, start=1):
        time.sleep(seconds)
        try:
            with store.writing() as connection:
                published(connection, post, receipt, reason, now)
            break
        except StoreError as error:
            if error.permanent or place == len(WRITE_DELAYS):
                raise
    return PublishOutcome(reload_post(store, post), reason, receipt)


def published(connection: Connection, post: Post, receipt: Receipt, reason: str, now: datetime, by: str = BY) -> None:
    """Write the receipt into the attempt of the published revision, and change the post's state where allowed."""
    attempt = attempts.get(connection, post)
    stored = post_store.find_in(connection, post=post.id)[0]
    if attempt and not attempt.published_at:
        values = {"media_id": receipt.media_id, "permalink": receipt.permalink, "published_at": utc_text(now)}
        attempts.change(connection, attempt, publisher=receipt.publisher, error="", next_at="", **values)
        accounts.went_well(connection, receipt.publisher, post.content.account)
    if stored.revision == post.revision and "published" in NEXT[stored.state]:
        post_store.change_state(connection, stored, "published", by, reason, at=now, problem="")
    elif stored.state != "published":
        post_store.note(connection, stored, by, f"revision {post.revision} of it is out: {reason}", now)


def _before_commit(claimed: ClaimedAccount, post: Post, attempt: PublishAttempt) -> BeforeCommit:
    """Return the account's state before the commit. Media of other posts are excluded."""
    with claimed.store.reading() as connection:
        others = tuple(attempts.other_media(connection, post))
    if attempt.before:
        return replace(attempt.before, others=others)
    now = claimed.now()
    if post.content.kind == "story":
        return BeforeCommit(max(post.content.when, now - STORY_LIFETIME).timestamp(), others=others)
    return BeforeCommit((min(post.content.when, now) - MAX_SENT_EARLY).timestamp(), others=others)


def _current_attempt(connection: Connection, post: Post) -> PublishAttempt:
    """Return the current attempt; raise `ChangedError` if a person or a late receipt settled the post meanwhile."""
    post_store.current(connection, post)
    attempt = attempts.get(connection, post)
    assert attempt, "only what was tried is looked for"
    return attempt


def _not_found(claimed: ClaimedAccount, post: Post, evidence: str) -> PublishOutcome:
    now, rules = claimed.now(), claimed.rules
    with claimed.writing() as connection:
        attempt = _current_attempt(connection, post)
        lookups = (*attempt.looks, LookupRecord(utc_text(now), evidence, absent=True))
        times = sum(lookup.absent and not lookup.first for lookup in lookups)
        if claimed.publisher.idempotent:
            attempts.change(connection, attempt, looks=(), next_at="")
            reason = f"{evidence}, so it is sent again"
            return PublishOutcome(
                post_store.change_state(connection, post, "approved", BY, reason, at=now, problem=""), reason
            )
        if times < len(rules.looks):
            next_at = utc_text(now + timedelta(seconds=rules.looks[times]))
            attempts.change(connection, attempt, looks=lookups, next_at=next_at)
            return PublishOutcome(post, f"not there yet, at look {times} of {len(rules.looks)}")
        attempts.change(connection, attempt, looks=() if rules.resend else lookups, next_at="")
        if rules.resend:
            reason = f"absent at {times} looks: to be sent again"
            return PublishOutcome(
                post_store.change_state(connection, post, "approved", BY, reason, at=now, problem=""), reason
            )
        reason = f"absent at {times} looks: see on the account, and run restage resolve {post.id}"
        return PublishOutcome(
            post_store.change_state(connection, post, "needs a person", BY, reason, at=now, problem=reason), reason
        )


def _lookup_failed(claimed: ClaimedAccount, post: Post, error: PublishError) -> PublishOutcome:
    """Handle a failed lookup: try again later, and ask a person after too many failures."""
    now, rules = claimed.now(), claimed.rules
    if error.person or error.pause:
        with (
            claimed.writing() as connection
        ):  # a transaction of its own: the account asks for it, whatever happens to the post
            pause_as_asked(connection, claimed, error)
    with claimed.writing() as connection:
        attempt = _current_attempt(connection, post)
        lookups = (*attempt.looks, LookupRecord(utc_text(now), str(error), absent=False))
        times = sum(not lookup.absent for lookup in lookups)
        next_at = utc_text(now + timedelta(seconds=rules.looks[min(times, len(rules.looks)) - 1]))
        if error.person or error.pause:  # the account cannot be asked, so this lookup of the post does not count
            attempts.change(connection, attempt, next_at=next_at, error=str(error))
            return PublishOutcome(post, str(error), person=error.person)
        attempts.change(connection, attempt, looks=lookups, next_at=next_at, error=str(error))
        if times < MAX_FAILED_PER_LOOK * len(rules.looks):
            return PublishOutcome(post, str(error))
        reason = f"{error}; then run restage resolve {post.id}"
        return PublishOutcome(
            post_store.change_state(connection, post, "needs a person", BY, reason, at=now, problem=reason), reason
        )


def pause_as_asked(connection: Connection, claimed: ClaimedAccount, error: PublishError) -> None:
    """Pause the account, as the publisher asks."""
    lease = claimed.lease
    accounts.pause(
        connection, lease.publisher, lease.account, str(error), claimed.now(), error.pause or 0.0, person=error.person
    )
