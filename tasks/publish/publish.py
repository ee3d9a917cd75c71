"""Publish what is approved and due, one post of an account at a time, and look up posts whose commit got no answer.

For each post: lease the account, recover what an ended run left, look up unknown posts, publish one, release. Runs on any
number of machines therefore share the work, and none of them does anything twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from sqlalchemy import select

from models.system.errors import UserError
from tasks.clock import Clock, system_clock
from tasks.posts import post_store
from tasks.posts.post import ChangedError, Post
from tasks.posts.states import IN_FLIGHT
from tasks.publish import accounts, attempts, deliver
from tasks.publish import reconcile as looks
from tasks.publish.accounts import AccountLease, AccountStatus, LostClaimError
from tasks.publish.claimed_account import ClaimedAccount, PublishingRules, PublishOutcome, reload_post
from tasks.publish.pacing import DAY, PacingRules
from tasks.publishers.base import Publisher
from tasks.store.store import Store
from tasks.store.tables import ATTEMPT, POST

MAX_POSTS_CHECKED = 50
"""Maximum posts of an account that are checked for one that may go out."""
POLL_SECONDS = 0.5
"""Seconds between two tries to lease an account that another run holds."""
MAX_STORY_DELAY = timedelta(hours=18)
"""A story is published on its own day only."""


class Destinations(Protocol):
    """The publishers that posts go to."""

    @property
    def name(self) -> str:
        """Return the name of the publisher that posts go to."""

    def open(self, name: str, account: str) -> Publisher:
        """Open a publisher by its name, for an account. Raise `UserError` if something is missing for it."""


@dataclass(frozen=True)
class Postponed:
    """The reason why nothing is published now, and when it may be."""

    account: str
    why: str
    until: datetime | None = None
    post: Post | None = None
    person: bool = False
    """True if it waits until a person has acted."""


@dataclass
class PublishReport:
    outcomes: list[PublishOutcome] = field(default_factory=list)
    waiting: list[Postponed] = field(default_factory=list)

    @property
    def last(self) -> list[PublishOutcome]:
        """Return the final outcome of each post."""
        return list({outcome.post.id: outcome for outcome in self.outcomes}.values())

    @property
    def in_need(self) -> list[str]:
        """List what failed and what needs a person: a run with any of these did not succeed."""
        failed = [
            outcome for outcome in self.last if outcome.post.state in ("failed", "needs a person") or outcome.person
        ]
        account_names = {outcome.post.content.account for outcome in failed if outcome.person}
        stuck = [wait for wait in self.waiting if wait.person and wait.account not in account_names]
        return [f"post {outcome.post.id}: {outcome.says}" for outcome in failed] + [
            f"{wait.account}: {wait.why}" for wait in stuck
        ]


@dataclass(frozen=True)
class PublishRun:
    """The settings and the filters of one run."""

    store: Store
    studio: Path
    outlets: Destinations
    rules: PublishingRules = field(default_factory=PublishingRules)
    persona: str = ""
    post: str = ""
    """Only this post, even before its time."""
    now: Clock = system_clock
    sleep: Callable[[float], None] = time.sleep
    patience: float = 0.0
    """Seconds to wait for a held account and for lookups due soon, so that the run ends with an answer."""


def publish(run: PublishRun) -> PublishReport:
    """Send everything that may go out now."""
    report = PublishReport()
    for name, account in _accounts_with_work(run):
        while _publish_next(run, name, account, report):
            pass
    report.waiting += [*_late_posts(run), *_handled_meanwhile(run, report)]
    wait_for_lookups(run, report)
    return report


def reconcile(run: PublishRun) -> PublishReport:
    """Look up every unknown post once, without sending anything."""
    report = PublishReport()
    for name, account in _accounts_in_flight(run):
        with _claimed_account(run, name, account, report) as claimed:
            if claimed is not None:
                report.outcomes += _recover_and_look(claimed, everything=True)
    return report


def wait_for_lookups(run: PublishRun, report: PublishReport) -> None:
    """Look up unknown posts again, as long as that is due within the patience."""
    end = run.now() + timedelta(seconds=run.patience)
    while True:
        due = _next_look(run)
        if due is None or due > end:
            return
        run.sleep(max(0.0, (due - run.now()).total_seconds()) + 0.01)
        before = len(report.outcomes)
        for name, account in _accounts_in_flight(run):
            with _claimed_account(run, name, account, report) as claimed:
                if claimed is not None:
                    report.outcomes += _recover_and_look(claimed)
        if len(report.outcomes) == before:  # another run works on it, or the account is paused
            return


def _accounts_with_work(run: PublishRun) -> list[tuple[str, str]]:
    """List publisher and account of all approved posts, and of all attempts that are not finished."""
    approved = post_store.find(run.store, ("approved",), persona=run.persona)
    pairs = {(run.outlets.name, post.content.account) for post in approved if run.post in ("", post.id)}
    return sorted(pairs | set(_accounts_in_flight(run)))


def _accounts_in_flight(run: PublishRun) -> list[tuple[str, str]]:
    open_states = (*IN_FLIGHT, "unknown")
    query = select(ATTEMPT.c.publisher, POST.c.account).distinct().join_from(ATTEMPT, POST)
    clause = ATTEMPT.c.revision == POST.c.revision
    with run.store.reading() as connection:
        return sorted(
            (row[0], row[1]) for row in connection.execute(query.where(clause, POST.c.state.in_(open_states)))
        )


@contextmanager
def _claimed_account(
    run: PublishRun, name: str, account: str, report: PublishReport
) -> Iterator[ClaimedAccount | None]:
    """Lease the account if it is free and its publisher can be opened; release it at the end in any case."""
    try:
        publisher = run.outlets.open(name, account)
    except UserError as error:
        _add_postponed(report, Postponed(account, str(error)))
        yield None
        return
    lease = _acquire_account(run, name, account)
    if lease is None:
        _add_postponed(report, Postponed(account, "another run publishes there just now"))
        yield None
        return
    try:
        yield ClaimedAccount(run.store, run.studio, publisher, lease, run.rules, run.now)
    except LostClaimError as error:
        _add_postponed(report, Postponed(account, str(error)))
    finally:
        with run.store.writing() as connection:
            accounts.release(connection, lease)


def _acquire_account(run: PublishRun, name: str, account: str) -> AccountLease | None:
    """Try to lease the account within the patience: another run releases it after each post."""
    end = run.now() + timedelta(seconds=run.patience)
    while True:
        with run.store.writing() as connection:
            lease = accounts.claim(connection, name, account, run.now())
        if lease or run.now() >= end:
            return lease
        run.sleep(POLL_SECONDS)


def _publish_next(run: PublishRun, name: str, account: str, report: PublishReport) -> bool:
    """Recover, look up, and publish one post; tell whether another may follow."""
    with _claimed_account(run, name, account, report) as claimed:
        if claimed is None:
            return False
        report.outcomes += _recover_and_look(claimed)
        if name != run.outlets.name:
            return False
        post = _next_post(run, claimed, report)
        if post is None:
            return False
        try:
            report.outcomes.append(deliver.publish_one(claimed, post))
        except ChangedError:  # a person changed it meanwhile
            return True
        return True
    return False


def _recover_and_look(claimed: ClaimedAccount, everything: bool = False) -> list[PublishOutcome]:
    """Recover what an ended run left, and look up each unknown post whose lookup is due."""
    outcomes, lease = deliver.recover_interrupted(claimed), claimed.lease
    with claimed.store.reading() as connection:
        standing = accounts.standing(connection, lease.publisher, lease.account)
        unknown = post_store.find_in(connection, ("unknown",), account=lease.account)
        unanswered = [(post, attempts.get(connection, post)) for post in unknown]
    # A lookup does no harm after failures; a pause that the account asked for is kept.
    if standing.person or (standing.paused(claimed.now()) and not standing.failures):
        return outcomes
    for post, attempt in unanswered:
        if (
            attempt
            and attempt.publisher == lease.publisher
            and (everything or attempt.due(claimed.now(), looks.max_wait(claimed)))
        ):
            outcomes.append(_look_up_post(claimed, post))
    return outcomes


def _look_up_post(claimed: ClaimedAccount, post: Post) -> PublishOutcome:
    """Look up a post; if a person or a late receipt settled it meanwhile, accept that."""
    try:
        return looks.reconcile_one(claimed, post)
    except ChangedError:
        return PublishOutcome(reload_post(claimed.store, post), "settled by somebody else while this run looked for it")


def _next_post(run: PublishRun, claimed: ClaimedAccount, report: PublishReport) -> Post | None:
    """Return the oldest post that may go out now; otherwise report why none does."""
    now, lease, pace = run.now(), claimed.lease, run.rules.pace
    with run.store.reading() as connection:
        standing = accounts.standing(connection, lease.publisher, lease.account)
        sent = attempts.sent_since(connection, lease.publisher, lease.account, now - max(DAY, pace.spacing), now)
    posts = [
        approved
        for approved in _approved_posts(run, lease.account, now)
        if not _is_too_late(pace, approved, now) or run.post
    ]
    if posts and standing.paused(now):
        _add_postponed(report, _postponed_by_pause(standing, posts[0] if run.post else None))
        return None
    for post in posts:
        with run.store.reading() as connection:
            attempt = attempts.get(connection, post)
        if attempt and not attempt.due(now, deliver.max_wait(attempt)):
            until = datetime.fromisoformat(attempt.next_at)
            _add_postponed(
                report, Postponed(lease.account, f"post {post.id} is tried again then ({attempt.error})", until, post)
            )
            continue
        wait = pace.full(now, sent) if run.post else pace.wait(post, now, sent)
        if wait is None:
            return post
        _add_postponed(report, Postponed(lease.account, wait[1], wait[0], post))
        return None
    return None


def _postponed_by_pause(standing: AccountStatus, post: Post | None) -> Postponed:
    """Say that an account is paused; for a post asked for by name, why it stays approved."""
    start = f"post {post.id} stays approved, since " if post else ""
    if standing.person:
        reason = f"{start}{standing.why}; then run restage account {standing.account} --resume"
        return Postponed(standing.account, reason, None, post, person=True)
    reason = f"{start}the account is left alone until then ({standing.why})"
    return Postponed(standing.account, reason, standing.paused_until, post)


def _approved_posts(run: PublishRun, account: str, now: datetime) -> Sequence[Post]:
    if run.post:
        one = post_store.get_post(run.store, run.post)
        return [one] if one.state == "approved" and one.content.account == account else []
    late = run.rules.pace.late
    since = now - late if late else None
    return post_store.find(
        run.store, ("approved",), persona=run.persona, account=account, since=since, until=now, limit=MAX_POSTS_CHECKED
    )


def _is_too_late(pace: PacingRules, post: Post, now: datetime) -> bool:
    story = post.content.kind == "story" and bool(pace.late) and now - post.content.when > MAX_STORY_DELAY
    return story or pace.too_late(post, now)


def _late_posts(run: PublishRun) -> Iterator[Postponed]:
    """Yield the approved posts that were due too long ago."""
    now = run.now()
    for post in [] if run.post else post_store.find(run.store, ("approved",), persona=run.persona, until=now):
        if _is_too_late(run.rules.pace, post, now):
            due = f"{post.content.when:%Y-%m-%d %H:%M}"
            yield Postponed(
                post.content.account, f"post {post.id} was due on {due}: give it another day, or --now", None, post
            )


def _handled_meanwhile(run: PublishRun, report: PublishReport) -> Iterator[Postponed]:
    """Yield the post asked for by name, if it is not approved any more."""
    if run.post and run.post not in [outcome.post.id for outcome in report.outcomes]:
        post = post_store.get_post(run.store, run.post)
        if post.state != "approved":
            yield Postponed(
                post.content.account, f"post {post.id} is {post.state} by now: look at it again", None, post
            )


def _next_look(run: PublishRun) -> datetime | None:
    query = select(ATTEMPT.c.next_at).join_from(ATTEMPT, POST).where(POST.c.state == "unknown")
    query = query.where(ATTEMPT.c.revision == POST.c.revision).order_by(ATTEMPT.c.next_at).limit(1)
    with run.store.reading() as connection:
        next_at = connection.scalar(query)
    return datetime.fromisoformat(next_at) if next_at else None


def _add_postponed(report: PublishReport, waiting: Postponed) -> None:
    """Add it unless it was already reported."""
    if waiting not in report.waiting:
        report.waiting.append(waiting)
