"""Rehearsals: publish the same posts from a copy of the store to a stand-in, so that nothing is really published."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import insert, select

from models.system.errors import UserError
from tasks.clock import Clock, system_clock
from tasks.publishers.base import Publisher
from tasks.settings.mistakes import ACCOUNT
from tasks.store import tables
from tasks.store.store import Store

REHEARSALS = "rehearsals"
LEFT = (tables.APPLIED, tables.ATTEMPT, tables.ACCOUNT)
"""Tables that the copy leaves empty: real attempts and the status of real accounts mean nothing there."""


@contextmanager
def trial(store: Store) -> Iterator[Store]:
    """Copy the store into a temporary folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="restage-trial-") as folder:
        copy = Store.open("", Path(folder), clock=store.clock)
        try:
            with store.reading() as source, copy.writing() as target:
                for table in tables.METADATA.sorted_tables:
                    rows = [] if table in LEFT else [dict(row) for row in source.execute(select(table)).mappings()]
                    if rows:
                        target.execute(insert(table), rows)
            yield copy
        finally:
            copy.close()


class StandInDestinations:
    """Destinations that lead to a stand-in on this machine, through the real client with all its requests."""

    def __init__(
        self,
        studio: Path,
        through: str,
        stack: ExitStack,
        clock: Clock = system_clock,
    ) -> None:
        self.name = through
        self.folder = studio / REHEARSALS / f"{clock():%Y-%m-%dT%H-%M-%S-%f}"
        self._through, self._stack = through, stack
        self._known: dict[str, Publisher] = {}

    def open(self, name: str, account: str) -> Publisher:
        if not ACCOUNT.fullmatch(account):  # it becomes a folder, and an old store may hold any name
            raise UserError(
                f"{account[:60]!r} is no name of an account: use letters, digits, _, . and - in publishing.account and"
                " in the calendar"
            )
        from tasks.publishers.stand_in.rehearsal import open_rehearsal

        if account not in self._known:
            place = self.folder / account
            self._known[account], _ = self._stack.enter_context(open_rehearsal(place, account, self._through))
        return self._known[account]
