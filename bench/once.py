"""Several publishers at once, processes of their own, on one store: each post goes out once.

    python -m bench.once                          # 2 processes, 500 posts, on SQLite and, where there is one, on PostgreSQL
    python -m bench.once --posts 40 --through graph

What counts is what arrives at the stand-in: one commit for each post, whoever sent it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tasks.posts import post_store
from tasks.publish import attempts, publish
from tasks.publish.claimed_account import PublishingRules
from tasks.publish.pacing import PacingRules
from tasks.publish.publish import PublishRun
from tasks.publishers.base import Publisher
from tasks.publishers.graph.picture_hosting import Bucket, S3Credentials
from tasks.publishers.graph.publisher import Graph
from tasks.publishers.instagram.publisher import Instagram
from tasks.publishers.instagram.session import save_session, session_file
from tasks.publishers.stand_in.server import StandIn
from tasks.publishers.stand_in.state import Account
from tasks.store.store import Store
from tests.support import approved, postgres

OF_AN_ACCOUNT = 50
"""Posts that each account gets, as many as it may be given in a day."""


@dataclass(frozen=True)
class Outlets:
    """The accounts of the stand-in."""

    name: str
    address: str
    studio: Path

    def open(self, name: str, account: str) -> Publisher:
        if self.name == "instagram":
            return Instagram(self.studio, account, address=self.address, request_pause=0)
        bucket = Bucket(self.address, "pictures", S3Credentials("AK", "secret"))
        api = f"{self.address}/v25.0"
        return Graph(account, f"41{account[3:]:0>8}", f"token-{account}", bucket, api=api, poll=0.0)


def work(url: str, outlets: Outlets) -> None:
    """Publish until nothing is left."""
    with closing(Store.open(url, outlets.studio)) as store:
        while post_store.count(store, ("approved", "preparing", "uploaded", "committing", "unknown")):
            publish.publish(PublishRun(store, outlets.studio, outlets, PublishingRules(PacingRules()), patience=1.0))


def race(url: str, folder: Path, number: int, through: str = "instagram", processes: int = 2) -> dict[str, float]:
    """Publish so many posts by so many processes; what arrived, and how long it took."""
    names = [f"acc{each}" for each in range(-(-number // OF_AN_ACCOUNT))]
    known = [Account(name, f"41{name[3:]:0>8}", token=f"token-{name}") for name in names]
    with StandIn(known) as server, closing(Store.open(url, folder)) as store:
        for name in names:
            save_session(session_file(folder, name), server.new_session(name))
        made = [approved.approved(store, folder, each, account=names[each // OF_AN_ACCOUNT]) for each in range(number)]
        began = time.monotonic()
        context = multiprocessing.get_context("spawn")
        running = [
            context.Process(target=work, args=(url, Outlets(through, server.address, folder))) for _ in range(processes)
        ]
        for each in running:
            each.start()
        for each in running:
            each.join()
        assert [each.exitcode for each in running] == [0] * processes
        seconds = time.monotonic() - began
        captions = Counter((each.account, each.caption) for each in server.published)
        wanted = {(post.content.account, post.content.text) for post in made}
        tries = [attempts.attempts(store, post.id)[0].tries for post in made]
        return {
            "posts": number,
            "published": post_store.count(store)["published"],
            "commits": server.count_commits(),
            "on the accounts": len(server.published),
            "twice": sum(count > 1 for count in captions.values()),
            "missing": len(wanted - set(captions)),
            "tries": sum(tries),
            "seconds": round(seconds, 1),
        }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--posts", type=int, default=500)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--through", choices=("instagram", "graph"), default="instagram")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        print("SQLite", race("", Path(folder), chosen.posts, chosen.through, chosen.processes), flush=True)
    programs = postgres.programs()
    if programs is None:
        print("PostgreSQL: there is no server on this machine")
        return
    with postgres.running(programs) as server, tempfile.TemporaryDirectory() as folder:
        found = race(server.new_database(), Path(folder), chosen.posts, chosen.through, chosen.processes)
        print("PostgreSQL", found)


if __name__ == "__main__":
    main()
