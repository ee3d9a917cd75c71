"""Looking whether a post is out: before it is sent for the first time, and after a commit that nobody answered.

A post is sent again on evidence alone, never because nothing was heard. A receipt that arrives late counts all the same.
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
from tasks.publish.attempts import Attempt, Look
from tasks.publish.claimed_account import BY, Outcome, Turn, parcel, reread
from tasks.publishers.base import Before, Found, Parcel, PublishError, Receipt
from tasks.store.databases import StoreError
from tasks.store.store import Store, instant

EARLIER = timedelta(days=2)
"""Before a post was due, within which somebody may have sent it by hand."""
STORY = timedelta(hours=18)
"""A story older than that may be gone."""
BLIND = 3
"""Looks that may fail for each that has to succeed."""
WRITES = (0.0, 0.2, 1.0, 5.0)
"""Seconds before each try at writing down that a post is out."""


def look_first(turn: Turn, post: Post, attempt: Attempt, sent: Parcel) -> Outcome | Attempt:
    """Whether it is out already, though the store knows nothing of it: a backup may be older than what was published."""
    if attempt.looked_first:
        return attempt
    before = replace(_before(turn, post, attempt), unsent=True)
    verdict = turn.publisher.look(sent, attempt.prepared, before)
    now = turn.now()
    if isinstance(verdict, Found) and verdict.sure:
        return record(turn.store, post, verdict.receipt, f"it is out already: {verdict.evidence}", now)
    with turn.writing() as connection:
        attempt = _still(connection, post)
        if isinstance(verdict, Found):
            why = f"{verdict.evidence}: see on the account whether that is this post, and run restage resolve {post.id}"
            return Outcome(post_store.move(connection, post, "needs a person", BY, why, at=now, problem=why), why)
        seen = Look(instant(now), verdict.evidence, absent=True, first=True)
        return attempts.change(connection, attempt, looks=(*attempt.looks, seen))


def reconcile_one(turn: Turn, post: Post) -> Outcome:
    """One look at a post of which nobody knows whether it is out. `ChangedError` where somebody knows by now."""
    with turn.store.reading() as connection:
        attempt, approval = _still(connection, post), post_store.approved(connection, post)
    assert approval, "only what was approved gets there"
    try:
        sent = parcel(post, approval.content, turn.studio)
        verdict = turn.publisher.look(sent, attempt.prepared, _before(turn, post, attempt))
    except PublishError as error:
        return _blind(turn, post, error)
    if isinstance(verdict, Found):
        return record(turn.store, post, verdict.receipt, verdict.evidence, turn.now())
    return _absent(turn, post, verdict.evidence)


def longest_wait(turn: Turn) -> timedelta:
    """Twice the longest time between two looks, as clocks differ."""
    return timedelta(seconds=2 * max(turn.rules.looks))


def unknown(connection: Connection, turn: Turn, post: Post, why: str) -> Post:
    """Nobody knows whether it is out: from now on only looks and people decide."""
    attempt, now = attempts.get(connection, post), turn.now()
    assert attempt
    first = now + timedelta(seconds=0 if turn.publisher.idempotent else turn.rules.looks[0])
    attempts.change(connection, attempt, next_at=instant(first), error=why)
    return post_store.move(connection, post, "unknown", BY, why, at=now, problem=why)


def record(store: Store, post: Post, receipt: Receipt, why: str, now: datetime) -> Outcome:
    """Write down that a post is out. That is a fact, whoever holds the claim by now; so it is tried more than once."""
    for place, seconds in enumerate(WRITES, start=1):
        time.sleep(seconds)
        try:
            with store.writing() as connection:
                published(connection, post, receipt, why, now)
            break
        except StoreError as error:
            if error.permanent or place == len(WRITES):
                raise
    return Outcome(reread(store, post), why, receipt)


def published(connection: Connection, post: Post, receipt: Receipt, why: str, now: datetime, by: str = BY) -> None:
    """Into the attempt of the revision that went out, and into the post's state as far as that allows."""
    attempt = attempts.get(connection, post)
    there = post_store.within(connection, post=post.id)[0]
    if attempt and not attempt.published_at:
        told = {"media_id": receipt.media_id, "permalink": receipt.permalink, "published_at": instant(now)}
        attempts.change(connection, attempt, publisher=receipt.publisher, error="", next_at="", **told)
        accounts.went_well(connection, receipt.publisher, post.content.account)
    if there.revision == post.revision and "published" in NEXT[there.state]:
        post_store.move(connection, there, "published", by, why, at=now, problem="")
    elif there.state != "published":
        post_store.note(connection, there, by, f"revision {post.revision} of it is out: {why}", now)


def _before(turn: Turn, post: Post, attempt: Attempt) -> Before:
    """How things stood before the commit. The media of other posts are not this one's, whenever they came."""
    with turn.store.reading() as connection:
        others = tuple(attempts.media_of_others(connection, post))
    if attempt.before:
        return replace(attempt.before, others=others)
    now = turn.now()
    if post.content.kind == "story":
        return Before(max(post.content.when, now - STORY).timestamp(), others=others)
    return Before((min(post.content.when, now) - EARLIER).timestamp(), others=others)


def _still(connection: Connection, post: Post) -> Attempt:
    """How far it is by now. A look takes a while, and what a person or a late receipt said meanwhile stands."""
    post_store.current(connection, post)
    attempt = attempts.get(connection, post)
    assert attempt, "only what was tried is looked for"
    return attempt


def _absent(turn: Turn, post: Post, evidence: str) -> Outcome:
    now, rules = turn.now(), turn.rules
    with turn.writing() as connection:
        attempt = _still(connection, post)
        seen = (*attempt.looks, Look(instant(now), evidence, absent=True))
        times = sum(each.absent and not each.first for each in seen)
        if turn.publisher.idempotent:
            attempts.change(connection, attempt, looks=(), next_at="")
            why = f"{evidence}, so it is sent again"
            return Outcome(post_store.move(connection, post, "approved", BY, why, at=now, problem=""), why)
        if times < len(rules.looks):
            next_at = instant(now + timedelta(seconds=rules.looks[times]))
            attempts.change(connection, attempt, looks=seen, next_at=next_at)
            return Outcome(post, f"not there yet, at look {times} of {len(rules.looks)}")
        attempts.change(connection, attempt, looks=() if rules.resend else seen, next_at="")
        if rules.resend:
            why = f"absent at {times} looks: to be sent again"
            return Outcome(post_store.move(connection, post, "approved", BY, why, at=now, problem=""), why)
        why = f"absent at {times} looks: see on the account, and run restage resolve {post.id}"
        return Outcome(post_store.move(connection, post, "needs a person", BY, why, at=now, problem=why), why)


def _blind(turn: Turn, post: Post, error: PublishError) -> Outcome:
    """A look that failed is no answer. Where they go on failing, a person sees more."""
    now, rules = turn.now(), turn.rules
    if error.person or error.pause:
        with turn.writing() as connection:  # by itself: the account asks for it, whatever became of the post
            turn_pause(connection, turn, error)
    with turn.writing() as connection:
        attempt = _still(connection, post)
        seen = (*attempt.looks, Look(instant(now), str(error), absent=False))
        times = sum(not each.absent for each in seen)
        next_at = instant(now + timedelta(seconds=rules.looks[min(times, len(rules.looks)) - 1]))
        if error.person or error.pause:  # it is the account that cannot be asked, and the post's looks do not count
            attempts.change(connection, attempt, next_at=next_at, error=str(error))
            return Outcome(post, str(error), person=error.person)
        attempts.change(connection, attempt, looks=seen, next_at=next_at, error=str(error))
        if times < BLIND * len(rules.looks):
            return Outcome(post, str(error))
        why = f"{error}; then run restage resolve {post.id}"
        return Outcome(post_store.move(connection, post, "needs a person", BY, why, at=now, problem=why), why)


def turn_pause(connection: Connection, turn: Turn, error: PublishError) -> None:
    """Leave the account alone, as the publisher asks."""
    held = turn.held
    accounts.pause(
        connection, held.publisher, held.account, str(error), turn.now(), error.pause or 0.0, person=error.person
    )
