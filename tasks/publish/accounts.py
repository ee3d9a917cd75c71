"""Who publishes to an account just now, one at a time, and whether it should be left alone for a while.

A claim is a row's token with an end. Whoever holds it renews it as work goes on; a killed holder's runs out by itself. What
is written for a post is written only `while_held`, in the same transaction, so that a publisher that was overtaken while it
slept changes nothing any more.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, update

from models.system.errors import UserError
from tasks.clock import CLOCK_DIFFERENCE
from tasks.store.store import Store, instant
from tasks.store.tables import ACCOUNT, ATTEMPT, POST

LEASE = 600.0
"""Seconds that a claim lasts without being renewed: longer than any one call of a publisher is waited for."""
HONEST = timedelta(seconds=2 * LEASE)
"""A claim that ends later than this from now was made by a clock that was ahead, even where clocks differ a little."""
COOL_DOWN, COOL_DOWN_MOST = 60.0, 6 * 3600.0
"""Seconds an account is left alone after a failure, doubled for each one in a row, and the most of it."""
LONGEST_PAUSE = timedelta(days=1) + CLOCK_DIFFERENCE
"""No publisher asks for more. A pause that ends later was written by a wrong clock, and counts for nothing."""


class LostClaimError(UserError):
    """Another publisher has taken over; what this one was about to write no longer counts."""


@dataclass(frozen=True)
class Claim:
    publisher: str
    account: str
    token: str


@dataclass(frozen=True)
class Standing:
    """How an account stands with a publisher."""

    publisher: str
    account: str
    claimed_until: datetime | None
    post: str
    """The one in flight."""
    paused_until: datetime | None
    why: str
    person: bool
    """Somebody has to act in person before anything goes on."""
    failures: int

    def paused(self, now: datetime) -> bool:
        return self.person or (self.paused_until is not None and now < self.paused_until <= now + LONGEST_PAUSE)

    def claimed(self, now: datetime) -> bool:
        return self.claimed_until is not None and now < self.claimed_until <= now + HONEST


def claim(connection: Connection, publisher: str, account: str, now: datetime, seconds: float = LEASE) -> Claim | None:
    """Take the account, if nobody holds it."""
    there = _ensure(connection, publisher, account)
    if there["claimed_until"] > instant(now + HONEST):
        _end(connection, there, now)
    made = Claim(publisher, account, secrets.token_hex(8))
    free = (ACCOUNT.c.claimed_by == "") | (ACCOUNT.c.claimed_until <= instant(now))
    until = instant(now + timedelta(seconds=seconds))
    taken = {"claimed_by": made.token, "claimed_until": until, "post": ""}
    done = connection.execute(update(ACCOUNT).where(*_of(publisher, account), free).values(taken))
    return made if done.rowcount == 1 else None


def while_held(
    connection: Connection, held: Claim, now: datetime, post: str | None = None, seconds: float = LEASE
) -> None:
    """The fence: go on only while the claim is ours, which from here on lasts its full time again."""
    values = {"claimed_until": instant(now + timedelta(seconds=seconds))} | ({} if post is None else {"post": post})
    own = (*_of(held.publisher, held.account), ACCOUNT.c.claimed_by == held.token)
    if connection.execute(update(ACCOUNT).where(*own).values(values)).rowcount != 1:
        raise LostClaimError(
            f"another run publishes to {held.account} by now, or may, since this one was away too long or somebody let"
            " the account go on: leave it to that one"
        )


def is_held(connection: Connection, held: Claim) -> bool:
    query = select(ACCOUNT.c.claimed_by).where(*_of(held.publisher, held.account))
    return connection.scalar(query) == held.token


def release(connection: Connection, held: Claim) -> None:
    """Let go; a claim that is lost already is left to its new holder."""
    own = (*_of(held.publisher, held.account), ACCOUNT.c.claimed_by == held.token)
    connection.execute(update(ACCOUNT).where(*own).values({"claimed_by": "", "claimed_until": "", "post": ""}))


def pause(
    connection: Connection,
    publisher: str,
    account: str,
    why: str,
    now: datetime,
    seconds: float = 0.0,
    person: bool = False,
) -> None:
    """Leave the account alone for so long, or until somebody has acted. A longer pause is not made shorter."""
    there = _ensure(connection, publisher, account)
    values: dict[str, Any] = {"person": int(person or there["person"])}
    until = instant(now + timedelta(seconds=seconds)) if seconds else ""
    if until > there["paused_until"]:
        values["paused_until"] = until
    if person or not there["person"]:  # what a person has to do stays to be read
        values["pause_why"] = why
    connection.execute(update(ACCOUNT).where(*_of(publisher, account)).values(values))


def failed(connection: Connection, publisher: str, account: str, why: str, now: datetime) -> float:
    """Another failure in a row: leave the account alone for twice as long as after the last one."""
    failures = _ensure(connection, publisher, account)["failures"] + 1
    seconds = min(COOL_DOWN * 2.0 ** min(failures - 1, 20), COOL_DOWN_MOST)
    connection.execute(update(ACCOUNT).where(*_of(publisher, account)).values({"failures": failures}))
    pause(connection, publisher, account, why, now, seconds)
    return seconds


def went_well(connection: Connection, publisher: str, account: str) -> None:
    connection.execute(update(ACCOUNT).where(*_of(publisher, account)).values({"failures": 0}))


def resume(connection: Connection, publisher: str, account: str, now: datetime) -> None:
    """Somebody has acted: go on at once, whoever held the account."""
    values = {"paused_until": "", "pause_why": "", "person": 0, "failures": 0}
    connection.execute(update(ACCOUNT).where(*_of(publisher, account)).values(values))
    there = _row(connection, publisher, account)
    if there:
        _end(connection, there, now)


def forget_claims(connection: Connection) -> None:
    """Of a backup: who held what then is of no meaning now. Pauses stay."""
    connection.execute(update(ACCOUNT).values({"claimed_by": "", "claimed_until": "", "post": ""}))


def standing(connection: Connection, publisher: str, account: str) -> Standing:
    return _standing(_row(connection, publisher, account) or _blank(publisher, account))


def standings(store: Store, account: str = "") -> list[Standing]:
    """All accounts that were ever published to, or the one of this name at each publisher."""
    query = select(ACCOUNT).order_by(ACCOUNT.c.name, ACCOUNT.c.publisher)
    with store.reading() as connection:
        rows = connection.execute(query.where(ACCOUNT.c.name == account) if account else query).mappings()
        return [_standing(dict(row)) for row in rows]


def _end(connection: Connection, there: dict[str, Any], now: datetime) -> None:
    """Take the claim from its holder, who then gets past no fence.

    A commit that is under way has its last fence behind it. So where one may be, the claim stays for as long as a commit
    can take: else somebody could find nothing on the account yet and have the post sent again meanwhile.
    """
    publisher, account = there["publisher"], there["name"]
    values = {"claimed_by": "", "claimed_until": "", "post": ""}
    if there["claimed_by"] and _is_sending(connection, publisher, account):
        values = {"claimed_until": min(there["claimed_until"], instant(now + timedelta(seconds=LEASE)))}
    connection.execute(update(ACCOUNT).where(*_of(publisher, account)).values(values))


def _is_sending(connection: Connection, publisher: str, account: str) -> bool:
    query = select(POST.c.id).join_from(ATTEMPT, POST).where(ATTEMPT.c.revision == POST.c.revision)
    mine = (ATTEMPT.c.publisher == publisher, POST.c.account == account, POST.c.state == "committing")
    return connection.execute(query.where(*mine).limit(1)).first() is not None


def _of(publisher: str, account: str) -> tuple[Any, Any]:
    return ACCOUNT.c.publisher == publisher, ACCOUNT.c.name == account


def _row(connection: Connection, publisher: str, account: str) -> dict[str, Any] | None:
    row = connection.execute(select(ACCOUNT).where(*_of(publisher, account))).mappings().first()
    return None if row is None else dict(row)


def _ensure(connection: Connection, publisher: str, account: str) -> dict[str, Any]:
    there = _row(connection, publisher, account)
    if there is None:
        there = _blank(publisher, account)
        connection.execute(insert(ACCOUNT).values(there))
    return there


def _blank(publisher: str, account: str) -> dict[str, Any]:
    texts = dict.fromkeys(("claimed_by", "claimed_until", "post", "paused_until", "pause_why"), "")
    return {"publisher": publisher, "name": account, **texts, "person": 0, "failures": 0}


def _standing(row: dict[str, Any]) -> Standing:
    return Standing(
        row["publisher"],
        row["name"],
        _moment(row["claimed_until"]) if row["claimed_by"] else None,
        row["post"],
        _moment(row["paused_until"]),
        row["pause_why"],
        bool(row["person"]),
        row["failures"],
    )


def _moment(text: str) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
