"""Publish what is approved and due, one post of an account at a time, and find out what became of what nobody answered.

Each post is a turn of its own: claim the account, mend what an ended run left, look, publish, let go. Runs on any number of
machines therefore share the work, and none of them does anything twice.
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
from tasks.publish.accounts import Claim, LostClaimError, Standing
from tasks.publish.claimed_account import Outcome, Rules, Turn, reread
from tasks.publish.pacing import DAY, Pace
from tasks.publishers.base import Publisher
from tasks.store.store import Store
from tasks.store.tables import ATTEMPT, POST

AT_ONCE = 50
"""Posts of an account that are looked through for one that may go out."""
POLL = 0.5
"""Seconds between two tries to get an account that is held."""
STORY_LATE = timedelta(hours=18)
"""A story is of its day."""


class Outlets(Protocol):
    """Where posts go, as the settings say."""

    @property
    def name(self) -> str:
        """Of the publisher that posts go to from here."""

    def open(self, name: str, account: str) -> Publisher:
        """A publisher by its name, for an account. `UserError` where something is missing to make one."""


@dataclass(frozen=True)
class Waiting:
    """Why nothing goes out now, and when it may."""

    account: str
    why: str
    until: datetime | None = None
    post: Post | None = None
    person: bool = False
    """Until somebody has acted."""


@dataclass
class Report:
    outcomes: list[Outcome] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)

    @property
    def last(self) -> list[Outcome]:
        """What became of each post in the end."""
        return list({each.post.id: each for each in self.outcomes}.values())

    @property
    def in_need(self) -> list[str]:
        """What failed, and what nothing but a person can move: a run that has any of it did not go well."""
        lost = [each for each in self.last if each.post.state in ("failed", "needs a person") or each.person]
        told = {each.post.content.account for each in lost if each.person}
        stuck = [each for each in self.waiting if each.person and each.account not in told]
        return [f"post {each.post.id}: {each.says}" for each in lost] + [
            f"{each.account}: {each.why}" for each in stuck
        ]


@dataclass(frozen=True)
class Run:
    """What one run publishes, and how."""

    store: Store
    studio: Path
    outlets: Outlets
    rules: Rules = field(default_factory=Rules)
    persona: str = ""
    post: str = ""
    """This one only, even before its time."""
    now: Clock = system_clock
    sleep: Callable[[float], None] = time.sleep
    patience: float = 0.0
    """Seconds to stay for an account that is held, and for looks that are due soon, so that the run ends with an answer."""


def publish(run: Run) -> Report:
    """Send everything that may go out now."""
    report = Report()
    for name, account in _accounts(run):
        while _turn(run, name, account, report):
            pass
    report.waiting += [*_late(run), *_overtaken(run, report)]
    stay(run, report)
    return report


def reconcile(run: Run) -> Report:
    """Look once at everything of which nobody knows whether it is out, without sending anything."""
    report = Report()
    for name, account in _tried(run):
        with _claimed(run, name, account, report) as turn:
            if turn is not None:
                report.outcomes += _mended(turn, everything=True)
    return report


def stay(run: Run, report: Report) -> None:
    """Look again at what is unknown, as long as that is soon."""
    end = run.now() + timedelta(seconds=run.patience)
    while True:
        due = _next_look(run)
        if due is None or due > end:
            return
        run.sleep(max(0.0, (due - run.now()).total_seconds()) + 0.01)
        before = len(report.outcomes)
        for name, account in _tried(run):
            with _claimed(run, name, account, report) as turn:
                if turn is not None:
                    report.outcomes += _mended(turn)
        if len(report.outcomes) == before:  # somebody else is at it, or the account is to be left alone
            return


def _accounts(run: Run) -> list[tuple[str, str]]:
    """Publisher and account of all that is approved, and of all that was tried and is not over."""
    approved = post_store.find(run.store, ("approved",), persona=run.persona)
    found = {(run.outlets.name, post.content.account) for post in approved if run.post in ("", post.id)}
    return sorted(found | set(_tried(run)))


def _tried(run: Run) -> list[tuple[str, str]]:
    open_states = (*IN_FLIGHT, "unknown")
    query = select(ATTEMPT.c.publisher, POST.c.account).distinct().join_from(ATTEMPT, POST)
    own = ATTEMPT.c.revision == POST.c.revision
    with run.store.reading() as connection:
        return sorted(
            (each[0], each[1]) for each in connection.execute(query.where(own, POST.c.state.in_(open_states)))
        )


@contextmanager
def _claimed(run: Run, name: str, account: str, report: Report) -> Iterator[Turn | None]:
    """The account, if it is free and its publisher can be made; let go at the end, however that comes."""
    try:
        publisher = run.outlets.open(name, account)
    except UserError as error:
        _wait(report, Waiting(account, str(error)))
        yield None
        return
    held = _claim(run, name, account)
    if held is None:
        _wait(report, Waiting(account, "another run publishes there just now"))
        yield None
        return
    try:
        yield Turn(run.store, run.studio, publisher, held, run.rules, run.now)
    except LostClaimError as error:
        _wait(report, Waiting(account, str(error)))
    finally:
        with run.store.writing() as connection:
            accounts.release(connection, held)


def _claim(run: Run, name: str, account: str) -> Claim | None:
    """Another run lets go after each post, so it is worth waiting a little."""
    end = run.now() + timedelta(seconds=run.patience)
    while True:
        with run.store.writing() as connection:
            held = accounts.claim(connection, name, account, run.now())
        if held or run.now() >= end:
            return held
        run.sleep(POLL)


def _turn(run: Run, name: str, account: str, report: Report) -> bool:
    """Mend, look, and publish one post; whether another may follow."""
    with _claimed(run, name, account, report) as turn:
        if turn is None:
            return False
        report.outcomes += _mended(turn)
        if name != run.outlets.name:
            return False
        post = _next(run, turn, report)
        if post is None:
            return False
        try:
            report.outcomes.append(deliver.publish_one(turn, post))
        except ChangedError:  # a person was quicker, who wants it otherwise
            return True
        return True
    return False


def _mended(turn: Turn, everything: bool = False) -> list[Outcome]:
    """What an ended run left, and a look at each unknown post whose time has come."""
    found, held = deliver.recover(turn), turn.held
    with turn.store.reading() as connection:
        standing = accounts.standing(connection, held.publisher, held.account)
        unknown = post_store.within(connection, ("unknown",), account=held.account)
        tried = [(post, attempts.get(connection, post)) for post in unknown]
    # After failures of its own a look does no harm; what the account asked for is kept.
    if standing.person or (standing.paused(turn.now()) and not standing.failures):
        return found
    for post, attempt in tried:
        if (
            attempt
            and attempt.publisher == held.publisher
            and (everything or attempt.due(turn.now(), looks.longest_wait(turn)))
        ):
            found.append(_looked(turn, post))
    return found


def _looked(turn: Turn, post: Post) -> Outcome:
    """Who settled it while this run looked, in person or by a late receipt, knows better; the other posts come next."""
    try:
        return looks.reconcile_one(turn, post)
    except ChangedError:
        return Outcome(reread(turn.store, post), "settled by somebody else while this run looked for it")


def _next(run: Run, turn: Turn, report: Report) -> Post | None:
    """The oldest post that may go out now; otherwise why none does."""
    now, held, pace = run.now(), turn.held, run.rules.pace
    with run.store.reading() as connection:
        standing = accounts.standing(connection, held.publisher, held.account)
        sent = attempts.sent_since(connection, held.publisher, held.account, now - max(DAY, pace.spacing), now)
    found = [each for each in _approved(run, held.account, now) if not _too_late(pace, each, now) or run.post]
    if found and standing.paused(now):
        _wait(report, _resting(standing, found[0] if run.post else None))
        return None
    for post in found:
        with run.store.reading() as connection:
            attempt = attempts.get(connection, post)
        if attempt and not attempt.due(now, deliver.longest_wait(attempt)):
            until = datetime.fromisoformat(attempt.next_at)
            _wait(report, Waiting(held.account, f"post {post.id} is tried again then ({attempt.error})", until, post))
            continue
        wait = pace.full(now, sent) if run.post else pace.wait(post, now, sent)
        if wait is None:
            return post
        _wait(report, Waiting(held.account, wait[1], wait[0], post))
        return None
    return None


def _resting(standing: Standing, post: Post | None) -> Waiting:
    """That an account is left alone; of a post that was asked for by name, why it stays where it is."""
    start = f"post {post.id} stays approved, since " if post else ""
    if standing.person:
        why = f"{start}{standing.why}; then run restage account {standing.account} --resume"
        return Waiting(standing.account, why, None, post, person=True)
    why = f"{start}the account is left alone until then ({standing.why})"
    return Waiting(standing.account, why, standing.paused_until, post)


def _approved(run: Run, account: str, now: datetime) -> Sequence[Post]:
    if run.post:
        one = post_store.get(run.store, run.post)
        return [one] if one.state == "approved" and one.content.account == account else []
    late = run.rules.pace.late
    since = now - late if late else None
    return post_store.find(
        run.store, ("approved",), persona=run.persona, account=account, since=since, until=now, limit=AT_ONCE
    )


def _too_late(pace: Pace, post: Post, now: datetime) -> bool:
    story = post.content.kind == "story" and bool(pace.late) and now - post.content.when > STORY_LATE
    return story or pace.too_late(post, now)


def _late(run: Run) -> Iterator[Waiting]:
    """What is approved and was due too long ago."""
    now = run.now()
    for post in [] if run.post else post_store.find(run.store, ("approved",), persona=run.persona, until=now):
        if _too_late(run.rules.pace, post, now):
            due = f"{post.content.when:%Y-%m-%d %H:%M}"
            yield Waiting(
                post.content.account, f"post {post.id} was due on {due}: give it another day, or --now", None, post
            )


def _overtaken(run: Run, report: Report) -> Iterator[Waiting]:
    """One that was asked for by name, and about which a person was quicker."""
    if run.post and run.post not in [each.post.id for each in report.outcomes]:
        post = post_store.get(run.store, run.post)
        if post.state != "approved":
            yield Waiting(post.content.account, f"post {post.id} is {post.state} by now: look at it again", None, post)


def _next_look(run: Run) -> datetime | None:
    query = select(ATTEMPT.c.next_at).join_from(ATTEMPT, POST).where(POST.c.state == "unknown")
    query = query.where(ATTEMPT.c.revision == POST.c.revision).order_by(ATTEMPT.c.next_at).limit(1)
    with run.store.reading() as connection:
        found = connection.scalar(query)
    return datetime.fromisoformat(found) if found else None


def _wait(report: Report, waiting: Waiting) -> None:
    """Said once."""
    if waiting not in report.waiting:
        report.waiting.append(waiting)
