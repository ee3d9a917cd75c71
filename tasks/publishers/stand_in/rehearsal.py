"""Connect a real publisher with a stand-in, to rehearse a whole publication."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.publishers.base import Publisher
from tasks.publishers.stand_in.server import StandIn
from tasks.publishers.stand_in.state import Account

REHEARSED_PUBLISHERS = ("instagram", "graph")


def rehearsed_publisher(publisher: str) -> str:
    """Return the publisher that a rehearsal goes through: that of the settings, if the stand-in knows it."""
    return publisher if publisher in REHEARSED_PUBLISHERS else REHEARSED_PUBLISHERS[0]


@contextmanager
def open_rehearsal(folder: Path, account: str, through: str = "instagram") -> Iterator[tuple[Publisher, StandIn]]:
    """Start a stand-in that saves what is published in `folder`, and a publisher that is connected to it.

    Sessions and tokens are made up and stored in that folder too: an account's real ones are neither read nor changed.
    """
    stand_in_account = Account(account, token="rehearsal-" + secrets.token_hex(8))
    with StandIn([stand_in_account], folder) as server:
        yield _publisher_for(server, folder, stand_in_account, through), server


def _publisher_for(server: StandIn, folder: Path, account: Account, through: str) -> Publisher:
    if through == "graph":
        from tasks.publishers.graph.picture_hosting import Bucket, S3Credentials
        from tasks.publishers.graph.publisher import Graph

        storage = Bucket(server.address, "rehearsal", S3Credentials("rehearsal", "rehearsal"))
        return Graph(account.name, account.user_id, account.token, storage, api=f"{server.address}/v25.0", poll=0.1)
    from tasks.publishers.instagram.publisher import Instagram
    from tasks.publishers.instagram.session import save_session, session_file

    save_session(session_file(folder, account.name), server.new_session(account.name))
    return Instagram(folder, account.name, address=server.address, request_pause=0)
