"""Resolve posts by other means than publishing: a person looked on the account, or a backup was restored."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from models.system.errors import UserError
from tasks.clock import Clock, system_clock
from tasks.posts import post_store
from tasks.posts.post import Post
from tasks.posts.states import IN_FLIGHT
from tasks.publish import accounts, attempts, reconcile
from tasks.publish.attempts import LookupRecord
from tasks.publish.claimed_account import BY
from tasks.publishers.base import Receipt
from tasks.store.store import Store, utc_text


def mark_restored(connection: Connection, now: datetime) -> None:
    """Mark the posts of a restored backup, whose approved posts may be published already: look up each before sending it.

    Posts without an attempt are looked up before their first one in any case.
    """
    reason = "put back from a backup, which may be older than what was published"
    for post in post_store.find_in(connection, IN_FLIGHT):
        post_store.change_state(
            connection, post, "unknown" if post.state == "committing" else "approved", BY, reason, at=now
        )
    attempts.clear_lookups(connection)
    accounts.forget_claims(connection)


def resolve(store: Store, post: Post, by: str, link: str = "", absent: bool = False, now: Clock = system_clock) -> Post:
    """Resolve a post by what a person saw on the account: it is published, or it is absent and may be sent."""
    if bool(link) == absent:
        raise UserError("say what you saw on the account: --published with the link, or --absent")
    if link and not link.startswith(("https://", "file://")):
        raise UserError(f"{link!r} is no link to a post: copy it from the browser, with https:// at its beginning")
    if post.state not in ("needs a person", "unknown", "failed"):
        raise UserError(f"post {post.id} is {post.state}: only one that needs a person can be resolved")
    with store.writing() as connection:
        stored = post_store.current(connection, post)
        attempt = attempts.get(connection, stored)
        if link:
            name = attempt.publisher if attempt else ""
            reconcile.published(connection, stored, Receipt(name, "", link), f"seen by {by}: {link}", now(), by)
            return post_store.find_in(connection, post=post.id)[0]
        if attempt:
            lookup = LookupRecord(utc_text(now()), f"{by} saw nothing of it", absent=True, first=True)
            attempts.change(connection, attempt, looks=(lookup,), tries=0, next_at="", error="")
        return post_store.change_state(
            connection, stored, "approved", by, f"{by} saw nothing of it", at=now(), problem=""
        )
