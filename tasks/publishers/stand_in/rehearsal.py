"""A publisher that believes itself on Instagram, for a rehearsal of the whole way."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from tasks.publishers.base import Publisher
from tasks.publishers.stand_in.server import StandIn
from tasks.publishers.stand_in.state import Account


@contextmanager
def rehearsal(
    folder: Path, account: str, through: Literal["instagram", "graph"] = "instagram"
) -> Iterator[tuple[Publisher, StandIn]]:
    """A stand-in that keeps what is published in `folder`, and a publisher on its way to it.

    Sessions and tokens are made up and lie in that folder too: an account's own are neither read nor touched.
    """
    known = Account(account, token="rehearsal-" + secrets.token_hex(8))
    with StandIn([known], folder) as server:
        yield _publisher(server, folder, known, through), server


def _publisher(server: StandIn, folder: Path, account: Account, through: str) -> Publisher:
    if through == "graph":
        from tasks.publishers.graph.picture_hosting import Bucket, Keys
        from tasks.publishers.graph.publisher import Graph

        storage = Bucket(server.address, "rehearsal", Keys("rehearsal", "rehearsal"))
        return Graph(account.name, account.user_id, account.token, storage, api=f"{server.address}/v25.0", poll=0.1)
    from tasks.publishers.instagram.publisher import Instagram
    from tasks.publishers.instagram.session import save, session_file

    save(session_file(folder, account.name), server.session(account.name))
    return Instagram(folder, account.name, address=server.address, breath=0)
