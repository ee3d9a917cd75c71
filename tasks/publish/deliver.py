"""One post from approval to publication, each step written down before it is taken.

    approved → preparing → uploaded → committing → published
                                                 → unknown, where nobody answered

Until `committing` everything may be done again; the commit is sent once. What is sent is what was frozen by the approval.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from datetime import timedelta

from models.system.errors import UserError
from tasks.posts import post_store
from tasks.posts.post import Approval, Post
from tasks.posts.states import State
from tasks.publish import accounts, attempts, reconcile
from tasks.publish.attempts import Attempt
from tasks.publish.claimed_account import BY, Outcome, Turn, parcel
from tasks.publishers.base import Before, Parcel, Prepared, PublishError
from tasks.publishers.disclosure import Wanted, check_disclosed
from tasks.publishers.instagram_picture_rules import read_approved
from tasks.store.store import instant

AGAIN = timedelta(minutes=5)
"""After a failure, until the same post is tried again; doubled each time."""


def longest_wait(attempt: Attempt) -> timedelta:
    """Twice the time until the next try, as clocks differ."""
    return AGAIN * 2.0 ** min(attempt.tries, 20)


def publish_one(turn: Turn, post: Post) -> Outcome:
    """Publish a post that is approved and whose account is claimed. Killed anywhere, the next run knows where it stood."""
    begun = _begin(turn, post)
    if isinstance(begun, Outcome):
        return begun
    post, attempt, approval = begun
    try:
        sent = checked(post, approval, turn)
        seen = reconcile.look_first(turn, post, attempt, sent)
        if isinstance(seen, Outcome):
            return seen
        post, prepared = _prepare(turn, post, seen, sent)
        before = Before(turn.now().timestamp(), tuple(turn.publisher.snapshot(sent.kind)))
        post = _committing(turn, post, before)
    except PublishError as error:
        return _failed(turn, post, error)
    try:
        receipt = turn.publisher.commit(sent, prepared)
    except PublishError as error:
        return _failed(turn, post, error)
    return reconcile.record(turn.store, post, receipt, receipt.permalink or receipt.media_id, turn.now())


def checked(post: Post, approval: Approval, turn: Turn) -> Parcel:
    """The parcel of exactly what was approved, which says of itself that it is made by AI. Otherwise nothing leaves."""
    if not (approval.content.hash == approval.hash == post.content.hash):
        raise PublishError(
            f"post {post.id} is not what was approved as revision {post.revision}: look at it and approve it again",
            permanent=True,
        )
    try:
        made = parcel(post, approval.content, turn.studio)
    except UserError as error:
        raise PublishError(str(error), permanent=True) from None
    missing = undisclosed(made, turn.rules.wanted)
    if missing:
        raise PublishError(f"post {post.id} cannot go out, since {missing}", permanent=True)
    return made


def undisclosed(sent: Parcel, wanted: Wanted) -> str:
    """The first thing that is not said of it."""
    for picture in sent.pictures:
        # Stories show no caption, so the words would be read by nobody.
        words = Wanted(wanted.inside, "" if sent.kind == "story" else wanted.caption)
        for each in check_disclosed(read_approved(picture), sent.caption, words):
            return each.replace("the file", picture.path.name)
    return ""


def _begin(turn: Turn, post: Post) -> tuple[Post, Attempt, Approval] | Outcome:
    """Into `preparing`, if the store holds an approval for it and no publication."""
    now = turn.now()
    with turn.writing(post) as connection:
        approval = post_store.approved(connection, post)
        if approval is None:
            why = "nobody approved this revision"
            return Outcome(post_store.move(connection, post, "awaiting review", BY, why, at=now), why)
        attempt = attempts.begin(connection, post, turn.publisher.name)
        post = post_store.move(connection, post, "preparing", BY, f"try {attempt.tries}", at=now)
        other = attempts.out_already(connection, post)
        if other:
            why = f"it is out already as revision {other.revision} ({other.permalink or other.media_id})"
            why += f": run restage resolve {post.id} --published LINK"
            return Outcome(post_store.move(connection, post, "needs a person", BY, why, at=now, problem=why), why)
        if attempt.tries > turn.rules.tries:
            why = f"tried {turn.rules.tries} times{f', lastly: {attempt.error}' if attempt.error else ''}"
            return Outcome(post_store.move(connection, post, "failed", BY, why, at=now, problem=why), why)
        return post, attempt, approval


def _prepare(turn: Turn, post: Post, attempt: Attempt, sent: Parcel) -> tuple[Post, Prepared]:
    prepared = turn.publisher.prepare(sent, attempt.upload_id, _Progress(turn, post, attempt.progress))
    with turn.writing(post) as connection:
        there = attempts.get(connection, post)
        assert there
        attempts.change(connection, there, parts=dict(prepared.parts))
        return post_store.move(connection, post, "uploaded", BY, "all is prepared", at=turn.now()), prepared


def _committing(turn: Turn, post: Post, before: Before) -> Post:
    """The last moment at which nothing has happened. From the end of this transaction on, it may have."""
    with turn.writing(post) as connection:
        there = attempts.get(connection, post)
        assert there
        attempts.change(connection, there, before=before)
        return post_store.move(connection, post, "committing", BY, f"{len(before.media)} media before", at=turn.now())


def _failed(turn: Turn, post: Post, error: PublishError) -> Outcome:
    """What can be done is said by the error's flags; only an ambiguous one leaves the post where nobody knows."""
    now, held, why = turn.now(), turn.held, str(error)
    with turn.writing() as connection:
        attempt = attempts.get(connection, post)
        assert attempt
        if error.ambiguous:
            if error.person or error.pause:
                reconcile.turn_pause(connection, turn, error)
            else:
                accounts.failed(connection, held.publisher, held.account, why, now)
            return Outcome(reconcile.unknown(connection, turn, post, why), why, person=error.person)
        to: State = "approved"
        tries, next_at = attempt.tries, ""
        if error.permanent or (attempt.tries >= turn.rules.tries and not (error.person or error.pause)):
            to = "failed"
        elif error.person or error.pause:
            reconcile.turn_pause(connection, turn, error)
            tries -= 1  # no fault of the post's
        else:
            accounts.failed(connection, held.publisher, held.account, why, now)
            next_at = instant(now + AGAIN * 2.0 ** (attempt.tries - 1))
        attempts.change(connection, attempt, tries=tries, next_at=next_at, error=why)
        return Outcome(post_store.move(connection, post, to, BY, why, at=now, problem=why), why, person=error.person)


class _Progress(MutableMapping[str, str]):
    """What of a preparation is there, in the store as soon as it is known."""

    def __init__(self, turn: Turn, post: Post, known: Mapping[str, str]) -> None:
        self._turn, self._post, self._known = turn, post, dict(known)

    def __getitem__(self, key: str) -> str:
        return self._known[key]

    def __setitem__(self, key: str, value: str) -> None:
        self._keep({**self._known, key: value})

    def __delitem__(self, key: str) -> None:
        self._keep({name: value for name, value in self._known.items() if name != key})

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def _keep(self, known: dict[str, str]) -> None:
        with self._turn.writing(self._post) as connection:
            attempt = attempts.get(connection, self._post)
            assert attempt
            attempts.change(connection, attempt, progress=known)
        self._known = known


def recover(turn: Turn) -> list[Outcome]:
    """What a run that ended left behind on its way: back to `approved`, or unknown where its commit may have left."""
    found = []
    with turn.writing() as connection:
        for post in post_store.within(connection, ("preparing", "uploaded", "committing"), account=turn.held.account):
            attempt = attempts.get(connection, post)
            if not attempt or attempt.publisher != turn.held.publisher:
                continue
            if post.state == "committing":
                why = "the run ended while it was being sent"
                found.append(Outcome(reconcile.unknown(connection, turn, post, why), why))
            else:
                why = "the run ended before it was sent"
                found.append(Outcome(post_store.move(connection, post, "approved", BY, why, at=turn.now()), why))
    return found
