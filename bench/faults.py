"""Every fault of the stand-in at every call of both network publishers, and a crash around every write of the store.

    python -m bench.faults                 # all cases, and a few dozen with processes that are really killed
    python -m bench.faults --share 0.1     # a tenth of them, of every kind

Each case publishes one approved post. The first run meets the fault and the crash; then come runs without either, as a
schedule would start them; in the end a person resolves what needs one, by what is on the account. At no moment may there be
more than one post there, and in the end there has to be exactly one.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from models.system import files
from models.system.errors import UserError
from tasks.posts import post_store
from tasks.publish import accounts, publish, resolve
from tasks.publish.accounts import LEASE
from tasks.publish.claimed_account import PublishingRules
from tasks.publish.pacing import PacingRules
from tasks.publish.publish import PublishRun
from tasks.publishers.base import Publisher
from tasks.publishers.graph.picture_hosting import Bucket, S3Credentials
from tasks.publishers.graph.publisher import Graph
from tasks.publishers.instagram.publisher import Instagram
from tasks.publishers.instagram.session import save_session, session_file
from tasks.publishers.stand_in.faults import FAULTS
from tasks.publishers.stand_in.instagram_app import COMMIT_ENDPOINTS
from tasks.publishers.stand_in.server import StandIn
from tasks.publishers.stand_in.state import Account
from tasks.store.store import Store
from tests.support import approved
from tests.support.approved import Clock, One

ENDPOINTS = {
    ("instagram", "photo"): ("feed", "label", "upload", "configure"),
    ("instagram", "album"): ("upload", "sidecar"),
    ("instagram", "story"): ("stories", "story"),
    ("graph", "photo"): ("media list", "limit", "store", "container", "node", "publish"),
    ("graph", "album"): ("container", "publish"),
    ("graph", "story"): ("story list", "publish"),
}
REPEATED = ("feed", "stories", "media list", "story list", "node", "upload", "container")
"""Endpoints that a post needs more than once, so that a fault may come later."""
REFUSALS = ("429", "challenge", "login", "feedback")
WRITES = 15
"""Store writes of a run, counted a little too high: a crash at one that never comes is a case without a crash."""
PATIENT, HASTY = (5.0, 30.0), (5.0, 0.4)
RULES = PublishingRules(PacingRules(late=timedelta(0)))
ROUNDS = 12
NUMBERS = itertools.count(1)


class Crash(BaseException):
    """The process is gone."""


@dataclass(frozen=True)
class Case:
    publisher: str
    kind: str
    endpoint: str
    fault: str = ""
    accepts: bool = False
    after: int = 0
    write: int = 0
    """Of the store, around which the process crashes; 0 for none."""
    side: str = "before"

    def __str__(self) -> str:
        told = f"{self.fault}{' accepted' * self.accepts} at {self.endpoint} {self.after}" if self.fault else "no fault"
        crash = f", crash {self.side} write {self.write}" if self.write else ""
        return f"{self.publisher} {self.kind}: {told}{crash}"


class Mortal(Store):
    """A store whose process ends around one of its writes."""

    write = 0
    side = "before"
    die: Callable[[], object]
    count = 0
    dead = False

    @contextmanager
    def _open_transaction(self, writes: bool) -> Iterator[Connection]:
        if self.dead:
            raise Crash
        self.count += writes
        mine = writes and self.count == self.write
        if mine and self.side == "before":
            self._end()
        with super()._open_transaction(writes) as connection:
            yield connection
        if mine and self.side == "after":
            self._end()

    def _end(self) -> None:
        self.dead = True
        self.die()


def _crash() -> None:
    raise Crash


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Place:
    """Where a case takes place: a studio, an account, and the stand-in's address."""

    studio: Path
    account: Account
    address: str

    def publisher(self, name: str, hasty: bool, clock: Clock) -> Publisher:
        timeout = HASTY if hasty else PATIENT

        def now() -> float:
            return clock().timestamp()

        if name == "instagram":
            return Instagram(
                self.studio, self.account.name, address=self.address, timeout=timeout, request_pause=0, clock=now
            )
        bucket = Bucket(self.address, "pictures", S3Credentials("AK", "secret"), timeout=timeout)
        api, user = f"{self.address}/v25.0", self.account.user_id
        return Graph(self.account.name, user, self.account.token, bucket, api=api, timeout=timeout, poll=0.0, clock=now)


def cases() -> list[Case]:
    """All of them: faults without a crash, crashes without a fault, and both."""
    crashes = [(0, "before"), *itertools.product(range(1, WRITES + 1), ("before", "after"))]
    found = []
    for (publisher, kind), endpoints in ENDPOINTS.items():
        plain = Case(publisher, kind, "")
        faulty = [
            Case(publisher, kind, endpoint, fault, accepts, after)
            for endpoint in endpoints
            for fault in FAULTS
            for accepts in ((False,) if fault in REFUSALS else (False, True))
            for after in ((0, 1) if endpoint in REPEATED else (0,))
        ]
        for each, (write, side) in itertools.product([plain, *faulty], crashes):
            found.append(replace(each, write=write, side=side))
    return found


def first(case: Case, place: Place, clock: Clock, die: Callable[[], object]) -> None:
    """The run that meets it all."""
    store = Mortal.open("", place.studio)
    store.write, store.side, store.die, store.count = case.write, case.side, die, 0  # type: ignore[attr-defined]
    _run(store, place, case, clock, hasty=case.fault == "slow")


def _run(store: Store, place: Place, case: Case, clock: Clock, hasty: bool = False) -> None:
    outlets = One(place.publisher(case.publisher, hasty, clock))
    publish.publish(PublishRun(store, place.studio, outlets, RULES, now=clock, sleep=clock.sleep, patience=40.0))


def in_process(case: Case, place: Place, clock: Clock) -> None:
    with suppress(Crash):
        first(case, place, clock, _crash)


def killed(case: Case, place: Place, clock: Clock) -> None:
    """The same in a process of its own, which ends by SIGKILL."""
    os.environ["PYTHONWARNINGS"] = "ignore"  # it says that this module is known by two names by now
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.faults"])
    process = context.Process(target=first, args=(case, place, clock, _kill))
    process.start()
    process.join(120)
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode


def play(case: Case, server: StandIn, folder: Path, begin: Callable[[Case, Place, Clock], None] = in_process) -> str:
    """What became of it; an `AssertionError` where it was published twice or lost."""
    number = next(NUMBERS)
    account = Account(f"acc{number}", f"41{number:08}", token=f"token-{number}")
    place, clock = Place(folder / str(number), account, server.address), Clock()
    with server.lock:
        server.state.accounts[account.name] = account
        session = server.new_session(account.name)
        server.state.echo = number % 2 == 0
    save_session(session_file(place.studio, account.name), session)
    server.faults.clear_faults()
    with closing(Store.open("", place.studio)) as store:
        made = approved.approved(store, place.studio, number, kind=case.kind, account=account.name, ai_label=True)
    if case.fault:
        server.add_fault(case.endpoint, case.fault, accepts=case.accepts, after=case.after, seconds=1.0)
    begin(case, place, clock)
    server.faults.clear_faults()
    with closing(Store.open("", place.studio)) as store:
        return _finish(case, place, clock, store, server, made.id)


def _finish(case: Case, place: Place, clock: Clock, store: Store, server: StandIn, post: str) -> str:
    """Runs as a schedule would start them, then a person; and what it came to before that."""
    asked = ""
    for turn in range(1, ROUNDS + 1):
        there, out = post_store.get_post(store, post), _out(server, place)
        assert len(out) <= 1, f"{case}: published twice"
        assert there.state != "failed", f"{case}: {there.problem}"
        if there.state == "published":
            break
        clock.sleep(turn * (LEASE + 3600))
        if there.state == "needs a person":
            asked = "a person was asked"
            link = f"https://www.instagram.com/p/{out[0]}/" if out else ""
            resolve.resolve(store, there, "ann", link, absent=not out)
        for each in accounts.standings(store):
            if each.person:
                asked = asked or "an account was resumed"
                with store.writing() as connection:
                    accounts.resume(connection, each.publisher, each.account, clock())
        _run(store, place, case, clock)
    there, out = post_store.get_post(store, post), _out(server, place)
    assert (there.state, len(out)) == ("published", 1), f"{case}: {there.state}, {len(out)} on the account"
    unsure = any(each.state == "unknown" for each in post_store.history(store, post))
    return asked or ("found by looking" if unsure else "published")


def _out(server: StandIn, place: Place) -> list[str]:
    return [each.code for each in server.published if each.account == place.account.name]


def share(found: Sequence[Case], part: float) -> list[Case]:
    """A fixed choice in which every publisher, kind, endpoint and fault has its part, and every crash too."""
    groups: dict[tuple[Any, ...], list[Case]] = {}
    for each in found:
        groups.setdefault((each.publisher, each.kind, each.endpoint, each.fault), []).append(each)
    shuffled = random.Random(7)
    return [each for group in groups.values() for each in shuffled.sample(group, max(1, round(part * len(group))))]


def play_all(found: Sequence[Case], folder: Path, begin: Callable[[Case, Place, Clock], None] = in_process) -> Counter:
    """Outcomes by publisher; what went wrong is raised at the end, all of it."""
    table: Counter = Counter()
    wrong = []
    with StandIn([]) as server:
        for number, case in enumerate(found, start=1):
            try:
                table[case.publisher, play(case, server, folder, begin)] += 1
            except (AssertionError, UserError) as error:
                wrong.append(str(error))
                table[case.publisher, "WRONG"] += 1
            if sys.stderr.isatty() and number % 50 == 0:
                print(f"{number} of {len(found)}", file=sys.stderr)
        commits = sum(each.endpoint in COMMIT_ENDPOINTS for each in server.journal)
        table["all", "commits that reached the server"] = commits
        table["all", "posts on the accounts"] = len(server.published)
    assert not wrong, "\n".join(wrong[:20])
    return table


def told(table: Counter) -> str:
    return "\n".join(f"{who:10} {what:32} {count:6}" for (who, what), count in sorted(table.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    found, began = cases(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        taken = found if chosen.share >= 1 else share(found, chosen.share)
        table = play_all(taken, Path(folder))
        print(f"{len(taken)} of {len(found)} cases, crashes by an exception\n{told(table)}")
        crashing = random.Random(11).sample([each for each in found if each.write], chosen.kills)
        kills = play_all(crashing, Path(folder), killed)
        print(f"{len(crashing)} cases with processes that are killed\n{told(kills)}")
    print(f"{time.monotonic() - began:.0f} s")
    if chosen.out:
        rows = {"cases": len(taken), "kills": len(crashing), "seconds": time.monotonic() - began}
        tables = {
            name: {" / ".join(key): count for key, count in each.items()}
            for name, each in (("crashes", table), ("killed", kills))
        }
        files.write_file(chosen.out, (json.dumps({**rows, **tables}, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
