"""Publish one approved post; each step is written down before it is taken.

    approved → preparing → uploaded → committing → published
                                                 → unknown, without an answer

Until `committing` everything may be repeated; the commit is sent once. Exactly the approved content is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from datetime import timedelta

from models.system.errors import UserError
from tasks.posts import post_store
from tasks.posts.post import Approval, Post
from tasks.posts.states import State
from tasks.publish import accounts, attempts, reconcile
from tasks.publish.attempts import PublishAttempt
from tasks.publish.claimed_account import BY, ClaimedAccount, PublishOutcome, approved_post
from tasks.publishers.base import ApprovedPost, BeforeCommit, PreparedUpload, PublishError
from tasks.publishers.disclosure import DisclosureRules, list_missing_disclosures
from tasks.publishers.picture_rules import read_approved
from tasks.store.store import utc_text

RETRY_DELAY = timedelta(minutes=5)
"""Delay after a failure until the same post is tried again; doubled each time."""


def max_wait(attempt: PublishAttempt) -> timedelta:
    """Return twice the time until the next try, since clocks differ."""
    return RETRY_DELAY * 2.0 ** min(attempt.tries, 20)


def publish_one(claimed: ClaimedAccount, post: Post) -> PublishOutcome:
    """Publish an approved post whose account is leased. If this is killed anywhere, the next run knows how far it was."""
    started = _start_attempt(claimed, post)
    if isinstance(started, PublishOutcome):
        return started
    post, attempt, approval = started
    try:
        sent = check_approved(post, approval, claimed)
        lookup = reconcile.look_first(claimed, post, attempt, sent)
        if isinstance(lookup, PublishOutcome):
            return lookup
        post, prepared = _prepare_upload(claimed, post, lookup, sent)
        before = BeforeCommit(claimed.now().timestamp(), tuple(claimed.publisher.list_recent_media(sent.kind)))
        post = _mark_committing(claimed, post, before)
    except PublishError as error:
        return _handle_failure(claimed, post, error)
    try:
        receipt = claimed.publisher.commit(sent, prepared)
    except PublishError as error:
        return _handle_failure(claimed, post, error)
    return reconcile.record(claimed.store, post, receipt, receipt.permalink or receipt.media_id, claimed.now())


def check_approved(post: Post, approval: Approval, claimed: ClaimedAccount) -> ApprovedPost:
    """Build exactly what was approved; raise if it has changed since, or does not disclose that it is made by AI."""
    if not (approval.content.hash == approval.hash == post.content.hash):
        raise PublishError(
            f"post {post.id} is not what was approved as revision {post.revision}: look at it and approve it again",
            permanent=True,
        )
    try:
        approved = approved_post(post, approval.content, claimed.studio)
    except UserError as error:
        raise PublishError(str(error), permanent=True) from None
    missing = missing_disclosure(approved, claimed.rules.wanted)
    if missing:
        raise PublishError(f"post {post.id} cannot go out, since {missing}", permanent=True)
    return approved


def missing_disclosure(sent: ApprovedPost, rules: DisclosureRules) -> str:
    """Return the first missing disclosure; an empty text where none is missing."""
    for picture in sent.pictures:
        # Stories show no caption, so nobody would read the words.
        words = DisclosureRules(rules.inside, "" if sent.kind == "story" else rules.caption)
        for problem in list_missing_disclosures(read_approved(picture), sent.caption, words):
            return problem.replace("the file", picture.path.name)
    return ""


def _start_attempt(claimed: ClaimedAccount, post: Post) -> tuple[Post, PublishAttempt, Approval] | PublishOutcome:
    """Change the state to `preparing`, if there is an approval and no publication yet."""
    now = claimed.now()
    with claimed.writing(post) as connection:
        approval = post_store.approved(connection, post)
        if approval is None:
            reason = "nobody approved this revision"
            return PublishOutcome(
                post_store.change_state(connection, post, "awaiting review", BY, reason, at=now), reason
            )
        attempt = attempts.begin(connection, post, claimed.publisher.name)
        post = post_store.change_state(connection, post, "preparing", BY, f"try {attempt.tries}", at=now)
        other = attempts.published_revision(connection, post)
        if other:
            reason = f"it is out already as revision {other.revision} ({other.permalink or other.media_id})"
            reason += f": run restage resolve {post.id} --published LINK"
            return PublishOutcome(
                post_store.change_state(connection, post, "needs a person", BY, reason, at=now, problem=reason), reason
            )
        if attempt.tries > claimed.rules.tries:
            reason = f"tried {claimed.rules.tries} times{f', lastly: {attempt.error}' if attempt.error else ''}"
            return PublishOutcome(
                post_store.change_state(connection, post, "failed", BY, reason, at=now, problem=reason), reason
            )
        return post, attempt, approval


def _prepare_upload(
    claimed: ClaimedAccount, post: Post, attempt: PublishAttempt, sent: ApprovedPost
) -> tuple[Post, PreparedUpload]:
    prepared = claimed.publisher.prepare(sent, attempt.upload_id, _Progress(claimed, post, attempt.progress))
    with claimed.writing(post) as connection:
        stored = attempts.get(connection, post)
        assert stored
        attempts.change(connection, stored, parts=dict(prepared.parts))
        return post_store.change_state(connection, post, "uploaded", BY, "all is prepared", at=claimed.now()), prepared


def _mark_committing(claimed: ClaimedAccount, post: Post, before: BeforeCommit) -> Post:
    """Change the state to `committing`. After this transaction, the post may have been published."""
    with claimed.writing(post) as connection:
        attempt = attempts.get(connection, post)
        assert attempt
        attempts.change(connection, attempt, before=before)
        return post_store.change_state(
            connection, post, "committing", BY, f"{len(before.media)} media before", at=claimed.now()
        )


def _handle_failure(claimed: ClaimedAccount, post: Post, error: PublishError) -> PublishOutcome:
    """Handle an error by its flags: retry, pause, fail, or mark the post unknown if the error is ambiguous."""
    now, lease, reason = claimed.now(), claimed.lease, str(error)
    with claimed.writing() as connection:
        attempt = attempts.get(connection, post)
        assert attempt
        if error.ambiguous:
            if error.person or error.pause:
                reconcile.pause_as_asked(connection, claimed, error)
            else:
                accounts.failed(connection, lease.publisher, lease.account, reason, now)
            return PublishOutcome(
                reconcile.mark_unknown(connection, claimed, post, reason), reason, person=error.person
            )
        to: State = "approved"
        tries, next_at = attempt.tries, ""
        if error.permanent or (attempt.tries >= claimed.rules.tries and not (error.person or error.pause)):
            to = "failed"
        elif error.person or error.pause:
            reconcile.pause_as_asked(connection, claimed, error)
            tries -= 1  # not the fault of the post
        else:
            accounts.failed(connection, lease.publisher, lease.account, reason, now)
            next_at = utc_text(now + RETRY_DELAY * 2.0 ** (attempt.tries - 1))
        attempts.change(connection, attempt, tries=tries, next_at=next_at, error=reason)
        return PublishOutcome(
            post_store.change_state(connection, post, to, BY, reason, at=now, problem=reason),
            reason,
            person=error.person,
        )


class _Progress(MutableMapping[str, str]):
    """The progress of a preparation, saved in the store at once."""

    def __init__(self, claimed: ClaimedAccount, post: Post, known: Mapping[str, str]) -> None:
        self._claimed, self._post, self._known = claimed, post, dict(known)

    def __getitem__(self, key: str) -> str:
        return self._known[key]

    def __setitem__(self, key: str, value: str) -> None:
        self._save({**self._known, key: value})

    def __delitem__(self, key: str) -> None:
        self._save({name: value for name, value in self._known.items() if name != key})

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def _save(self, progress: dict[str, str]) -> None:
        with self._claimed.writing(self._post) as connection:
            attempt = attempts.get(connection, self._post)
            assert attempt
            attempts.change(connection, attempt, progress=progress)
        self._known = progress


def recover_interrupted(claimed: ClaimedAccount) -> list[PublishOutcome]:
    """Recover the posts of a run that ended: back to `approved`, or `unknown` where the commit may have been sent."""
    outcomes = []
    with claimed.writing() as connection:
        for post in post_store.find_in(
            connection, ("preparing", "uploaded", "committing"), account=claimed.lease.account
        ):
            attempt = attempts.get(connection, post)
            if not attempt or attempt.publisher != claimed.lease.publisher:
                continue
            if post.state == "committing":
                reason = "the run ended while it was being sent"
                outcomes.append(PublishOutcome(reconcile.mark_unknown(connection, claimed, post, reason), reason))
            else:
                reason = "the run ended before it was sent"
                outcomes.append(
                    PublishOutcome(
                        post_store.change_state(connection, post, "approved", BY, reason, at=claimed.now()), reason
                    )
                )
    return outcomes
