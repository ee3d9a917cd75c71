"""What the official API's answers mean: by its error codes, and by what an answer without one leaves open."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import httpx

from tasks.publishers.base import DAY, HOUR, PublishError, said

TOKEN = (102, 190, 463, 467)
RIGHTS = (3, 10, *range(200, 300))
THROTTLED = (4, 17, 32, 613, 80002)
OWN_TROUBLE = (-1, -2, 1, 2)  # codes of the API's own troubles, which pass
SPAM, RESTRICTED, FULL = 2207051, 2207050, 2207042
NOT_READY = 2207027
GONE = (2207006, 2207008, 2207020, 2207032)  # the container is not there, no more, or not yet


def body(answer: httpx.Response) -> dict[str, Any] | None:
    """The object in an answer, or None where there is none."""
    try:
        found = json.loads(answer.content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def no_answer(error: httpx.HTTPError, doing: str, commit: bool) -> PublishError:
    """Nothing came back, or not all of it."""
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):  # then the request was never sent
        return PublishError(f"the Graph API could not be reached while {doing}: check the connection, then try again")
    if commit:
        return _unknown("hung up or took too long", doing)
    return PublishError(f"the Graph API hung up or took too long while {doing}: try again")


def unusable(answer: httpx.Response, doing: str, commit: bool) -> PublishError:
    """For an answer that neither holds what it has to nor says why."""
    if commit:
        return _unknown(f"gave no usable answer (status {answer.status_code})", doing)
    return PublishError(
        f"the Graph API gave no usable answer (status {answer.status_code}) while {doing}: try again later"
    )


def refusal(
    answer: httpx.Response, account: str, doing: str, commit: bool, hidden: Collection[str]
) -> PublishError | None:
    """What the API says stands in the way, or None where it says nothing."""
    found = body(answer)
    error = found.get("error") if found else None
    if answer.status_code == 429:
        return _throttled(doing)
    if not isinstance(error, Mapping) or answer.status_code in (408, 425):
        return None
    code, part = _number(error.get("code")), _number(error.get("error_subcode"))
    reason = said(error.get("error_user_msg") or error.get("message") or f"code {code}", hidden)
    known = _known(code, part, account, doing, reason)
    if known:
        return known
    if answer.status_code >= 500 or error.get("is_transient") or code in OWN_TROUBLE or part in GONE:
        if commit:
            return _unknown(f"had trouble of its own ({reason!r})", doing)
        return PublishError(f"the Graph API had trouble of its own while {doing} ({reason!r}): try again later")
    return PublishError(
        f"the Graph API refused it while {doing} (code {code}, {reason!r}): change the post, then approve it again",
        permanent=True,
    )


def _known(code: int, part: int, account: str, doing: str, reason: str) -> PublishError | None:
    if part == SPAM:
        return PublishError(
            f"Instagram has blocked {account} from this for now, while {doing} ({reason!r}): leave the account alone for a day",
            pause=DAY,
        )
    if part == RESTRICTED:
        return PublishError(
            f"Instagram has restricted {account}: open the app as {account} and do what it asks", person=True
        )
    if part == FULL:
        return PublishError(
            f"{account} has published all that the Graph API allows in a day, seen while {doing}: wait some hours",
            pause=6 * HOUR,
        )
    if part == NOT_READY:
        return PublishError(
            f"Instagram has not finished reading the pictures, seen while {doing}: try again in a minute"
        )
    if code in THROTTLED:
        return _throttled(doing)
    if code in TOKEN or code in RIGHTS:
        what = "token is no longer good" if code in TOKEN else "token lacks a right"
        return PublishError(
            f"the {what} for {account}, seen while {doing}: make a new one and put it into the secrets", person=True
        )
    return None


def _throttled(doing: str) -> PublishError:
    return PublishError(
        f"the Graph API finds that it is asked too often, while {doing}: leave the account alone for an hour",
        pause=HOUR,
    )


def _unknown(what: str, doing: str) -> PublishError:
    return PublishError(
        f"the Graph API {what} while {doing}, so the post may be out or not: look at the account before anything else",
        ambiguous=True,
    )


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
