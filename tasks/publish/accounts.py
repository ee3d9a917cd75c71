"""Leases of accounts, so that one run publishes to an account at a time, and pauses of accounts.

A lease is a token with an end in the account's row. Its holder renews it while it works; the lease of a killed holder
expires. Everything about a post is written in the same transaction as `renew_or_raise`, so that a run that lost its lease
while it slept changes nothing any more.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, update

from models.system.errors import UserError
from tasks.clock import MAX_CLOCK_DIFFERENCE
from tasks.store.store import Store, utc_text
from tasks.store.tables import ACCOUNT, ATTEMPT, POST

LEASE = 600.0
"""Seconds that a lease lasts without renewal: longer than the timeout of any one call of a publisher."""
MAX_LEASE = timedelta(seconds=2 * LEASE)
"""Leases ending further ahead than this come from a wrong clock and are ignored."""
COOL_DOWN, COOL_DOWN_MOST = 60.0, 6 * 3600.0
"""Seconds of pause after a failure, doubled for each failure in a row, and their maximum."""
MAX_PAUSE = timedelta(days=1) + MAX_CLOCK_DIFFERENCE
"""No publisher asks for a longer pause. A pause ending later was written by a wrong clock and is ignored."""


class LostClaimError(UserError):
    """Another run has taken over the account; what this one was about to write no longer counts."""


@dataclass(frozen=True)
class AccountLease:
    publisher: str
    account: str
    token: str


@dataclass(frozen=True)
class AccountStatus:
    """The status of an account at a publisher."""

    publisher: str
    account: str
    claimed_until: datetime | None
    post: str
    """The post being published."""
    paused_until: datetime | None
    why: str
    person: bool
    """True if a person has to act before anything continues."""
    failures: int

    def paused(self, now: datetime) -> bool:
        return self.person or (self.paused_until is not None and now < self.paused_until <= now + MAX_PAUSE)

    def claimed(self, now: datetime) -> bool:
        return self.claimed_until is not None and now < self.claimed_until <= now + MAX_LEASE


def claim(
    connection: Connection, publisher: str, account: str, now: datetime, seconds: float = LEASE
) -> AccountLease | None:
    """Acquire the account, if nobody holds it."""
    row = _select_or_insert(connection, publisher, account)
    if row["claimed_until"] > utc_text(now + MAX_LEASE):
        _end_lease(connection, row, now)
    lease = AccountLease(publisher, account, secrets.token_hex(8))
    free = (ACCOUNT.c.claimed_by == "") | (ACCOUNT.c.claimed_until <= utc_text(now))
    until = utc_text(now + timedelta(seconds=seconds))
    values = {"claimed_by": lease.token, "claimed_until": until, "post": ""}
    result = connection.execute(update(ACCOUNT).where(*_key_clauses(publisher, account), free).values(values))
    return lease if result.rowcount == 1 else None


def renew_or_raise(
    connection: Connection, lease: AccountLease, now: datetime, post: str | None = None, seconds: float = LEASE
) -> None:
    """Renew the lease to its full time; raise `LostClaimError` if another run holds the account."""
    values = {"claimed_until": utc_text(now + timedelta(seconds=seconds))} | ({} if post is None else {"post": post})
    clauses = (*_key_clauses(lease.publisher, lease.account), ACCOUNT.c.claimed_by == lease.token)
    if connection.execute(update(ACCOUNT).where(*clauses).values(values)).rowcount != 1:
        raise LostClaimError(
            f"another run publishes to {lease.account} by now, or may, since this one was away too long or somebody let"
            " the account go on: leave it to that one"
        )


def release(connection: Connection, lease: AccountLease) -> None:
    """Release the account; a lease that was lost already stays with its new holder."""
    clauses = (*_key_clauses(lease.publisher, lease.account), ACCOUNT.c.claimed_by == lease.token)
    connection.execute(update(ACCOUNT).where(*clauses).values({"claimed_by": "", "claimed_until": "", "post": ""}))


def pause(
    connection: Connection,
    publisher: str,
    account: str,
    reason: str,
    now: datetime,
    seconds: float = 0.0,
    person: bool = False,
) -> None:
    """Pause the account for this long, or until a person has acted. A longer pause is not shortened."""
    row = _select_or_insert(connection, publisher, account)
    values: dict[str, Any] = {"person": int(person or row["person"])}
    until = utc_text(now + timedelta(seconds=seconds)) if seconds else ""
    if until > row["paused_until"]:
        values["paused_until"] = until
    if person or not row["person"]:  # keep the text that says what a person has to do
        values["pause_why"] = reason
    connection.execute(update(ACCOUNT).where(*_key_clauses(publisher, account)).values(values))


def failed(connection: Connection, publisher: str, account: str, reason: str, now: datetime) -> float:
    """Record another failure in a row: pause the account for twice as long as after the last one."""
    failures = _select_or_insert(connection, publisher, account)["failures"] + 1
    seconds = min(COOL_DOWN * 2.0 ** min(failures - 1, 20), COOL_DOWN_MOST)
    connection.execute(update(ACCOUNT).where(*_key_clauses(publisher, account)).values({"failures": failures}))
    pause(connection, publisher, account, reason, now, seconds)
    return seconds


def went_well(connection: Connection, publisher: str, account: str) -> None:
    connection.execute(update(ACCOUNT).where(*_key_clauses(publisher, account)).values({"failures": 0}))


def resume(connection: Connection, publisher: str, account: str, now: datetime) -> None:
    """Resume at once after a person has acted, whoever held the account."""
    values = {"paused_until": "", "pause_why": "", "person": 0, "failures": 0}
    connection.execute(update(ACCOUNT).where(*_key_clauses(publisher, account)).values(values))
    row = _select_row(connection, publisher, account)
    if row:
        _end_lease(connection, row, now)


def forget_claims(connection: Connection) -> None:
    """Clear the leases of a restored backup, which mean nothing now. Pauses stay."""
    connection.execute(update(ACCOUNT).values({"claimed_by": "", "claimed_until": "", "post": ""}))


def standing(connection: Connection, publisher: str, account: str) -> AccountStatus:
    return _status_from_row(_select_row(connection, publisher, account) or _blank_row(publisher, account))


def standings(store: Store, account: str = "") -> list[AccountStatus]:
    """List all accounts ever published to, or those of this name at each publisher."""
    query = select(ACCOUNT).order_by(ACCOUNT.c.name, ACCOUNT.c.publisher)
    with store.reading() as connection:
        rows = connection.execute(query.where(ACCOUNT.c.name == account) if account else query).mappings()
        return [_status_from_row(dict(row)) for row in rows]


def _end_lease(connection: Connection, row: dict[str, Any], now: datetime) -> None:
    """End the lease, so that its holder can write nothing more.

    A commit that is under way has made its last check. So where one may be, the lease stays for as long as a commit can
    take: else a person could find nothing on the account yet and have the post sent again meanwhile.
    """
    publisher, account = row["publisher"], row["name"]
    values = {"claimed_by": "", "claimed_until": "", "post": ""}
    if row["claimed_by"] and _is_sending(connection, publisher, account):
        values = {"claimed_until": min(row["claimed_until"], utc_text(now + timedelta(seconds=LEASE)))}
    connection.execute(update(ACCOUNT).where(*_key_clauses(publisher, account)).values(values))


def _is_sending(connection: Connection, publisher: str, account: str) -> bool:
    query = select(POST.c.id).join_from(ATTEMPT, POST).where(ATTEMPT.c.revision == POST.c.revision)
    mine = (ATTEMPT.c.publisher == publisher, POST.c.account == account, POST.c.state == "committing")
    return connection.execute(query.where(*mine).limit(1)).first() is not None


def _key_clauses(publisher: str, account: str) -> tuple[Any, Any]:
    return ACCOUNT.c.publisher == publisher, ACCOUNT.c.name == account


def _select_row(connection: Connection, publisher: str, account: str) -> dict[str, Any] | None:
    row = connection.execute(select(ACCOUNT).where(*_key_clauses(publisher, account))).mappings().first()
    return None if row is None else dict(row)


def _select_or_insert(connection: Connection, publisher: str, account: str) -> dict[str, Any]:
    row = _select_row(connection, publisher, account)
    if row is None:
        row = _blank_row(publisher, account)
        connection.execute(insert(ACCOUNT).values(row))
    return row


def _blank_row(publisher: str, account: str) -> dict[str, Any]:
    texts = dict.fromkeys(("claimed_by", "claimed_until", "post", "paused_until", "pause_why"), "")
    return {"publisher": publisher, "name": account, **texts, "person": 0, "failures": 0}


def _status_from_row(row: dict[str, Any]) -> AccountStatus:
    return AccountStatus(
        row["publisher"],
        row["name"],
        _parse_time(row["claimed_until"]) if row["claimed_by"] else None,
        row["post"],
        _parse_time(row["paused_until"]),
        row["pause_why"],
        bool(row["person"]),
        row["failures"],
    )


def _parse_time(text: str) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
