"""What is known of posts otherwise than by publishing: a person saw it on the account, or a backup was put back."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from models.system.errors import UserError
from tasks.clock import Clock, system_clock
from tasks.posts import post_store
from tasks.posts.post import Post
from tasks.posts.states import IN_FLIGHT
from tasks.publish import accounts, attempts, reconcile
from tasks.publish.attempts import Look
from tasks.publish.claimed_account import BY
from tasks.publishers.base import Receipt
from tasks.store.store import Store, instant


def mark_restored(connection: Connection, now: datetime) -> None:
    """After a backup was put back: what it takes for approved may be out. Nothing goes out before a look has said no.

    Posts without an attempt are looked for before their first one in any case.
    """
    why = "put back from a backup, which may be older than what was published"
    for post in post_store.within(connection, IN_FLIGHT):
        post_store.move(connection, post, "unknown" if post.state == "committing" else "approved", BY, why, at=now)
    attempts.forget_looks(connection)
    accounts.forget_claims(connection)


def resolve(store: Store, post: Post, by: str, link: str = "", absent: bool = False, now: Clock = system_clock) -> Post:
    """What a person saw on the account: there it is, or it is not there and may be sent."""
    if bool(link) == absent:
        raise UserError("say what you saw on the account: --published with the link, or --absent")
    if link and not link.startswith(("https://", "file://")):
        raise UserError(f"{link!r} is no link to a post: copy it from the browser, with https:// at its beginning")
    if post.state not in ("needs a person", "unknown", "failed"):
        raise UserError(f"post {post.id} is {post.state}: only one that needs a person can be resolved")
    with store.writing() as connection:
        there = post_store.current(connection, post)
        attempt = attempts.get(connection, there)
        if link:
            name = attempt.publisher if attempt else ""
            reconcile.published(connection, there, Receipt(name, "", link), f"seen by {by}: {link}", now(), by)
            return post_store.within(connection, post=post.id)[0]
        if attempt:
            seen = Look(instant(now()), f"{by} saw nothing of it", absent=True, first=True)
            attempts.change(connection, attempt, looks=(seen,), tries=0, next_at="", error="")
        return post_store.move(connection, there, "approved", by, f"{by} saw nothing of it", at=now(), problem="")
