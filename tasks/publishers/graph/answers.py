"""Turn the official API's answers into errors, by its error codes, or by what an answer without a code leaves open."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import httpx

from tasks.publishers.base import DAY, HOUR, PublishError, redact

TOKEN_CODES = (102, 190, 463, 467)
PERMISSION_CODES = (3, 10, *range(200, 300))
THROTTLED_CODES = (4, 17, 32, 613, 80002)
SERVER_ERROR_CODES = (-1, -2, 1, 2)  # temporary
SPAM_SUBCODE, RESTRICTED_SUBCODE, DAILY_LIMIT_SUBCODE = 2207051, 2207050, 2207042
NOT_READY_SUBCODE = 2207027
GONE_SUBCODES = (2207006, 2207008, 2207020, 2207032)  # the container does not exist, no longer, or not yet


def answer_object(answer: httpx.Response) -> dict[str, Any] | None:
    """Return the JSON object of an answer, or None if there is none."""
    try:
        content = json.loads(answer.content)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def no_answer_error(error: httpx.HTTPError, doing: str, commit: bool) -> PublishError:
    """Return the error for an answer that did not arrive, or not completely."""
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):  # then the request was never sent
        return PublishError(f"the Graph API could not be reached while {doing}: check the connection, then try again")
    if commit:
        return _ambiguous_error("hung up or took too long", doing)
    return PublishError(f"the Graph API hung up or took too long while {doing}: try again")


def unusable_answer_error(answer: httpx.Response, doing: str, commit: bool) -> PublishError:
    """Return the error for an answer without the expected content and without a reason."""
    if commit:
        return _ambiguous_error(f"gave no usable answer (status {answer.status_code})", doing)
    return PublishError(
        f"the Graph API gave no usable answer (status {answer.status_code}) while {doing}: try again later"
    )


def refusal_error(
    answer: httpx.Response, account: str, doing: str, commit: bool, hidden: Collection[str]
) -> PublishError | None:
    """Return the error that the API reports, or None if it reports none."""
    content = answer_object(answer)
    error = content.get("error") if content else None
    if answer.status_code == 429:
        return _throttled_error(doing)
    if not isinstance(error, Mapping) or answer.status_code in (408, 425):
        return None
    code, subcode = _int_or_zero(error.get("code")), _int_or_zero(error.get("error_subcode"))
    reason = redact(error.get("error_user_msg") or error.get("message") or f"code {code}", hidden)
    known_error = _error_for_code(code, subcode, account, doing, reason)
    if known_error:
        return known_error
    if answer.status_code >= 500 or error.get("is_transient") or code in SERVER_ERROR_CODES or subcode in GONE_SUBCODES:
        if commit:
            return _ambiguous_error(f"had trouble of its own ({reason!r})", doing)
        return PublishError(f"the Graph API had trouble of its own while {doing} ({reason!r}): try again later")
    return PublishError(
        f"the Graph API refused it while {doing} (code {code}, {reason!r}): change the post, then approve it again",
        permanent=True,
    )


def _error_for_code(code: int, subcode: int, account: str, doing: str, reason: str) -> PublishError | None:
    if subcode == SPAM_SUBCODE:
        return PublishError(
            f"Instagram has blocked {account} from this for now, while {doing} ({reason!r}): leave the account alone for a day",
            pause=DAY,
        )
    if subcode == RESTRICTED_SUBCODE:
        return PublishError(
            f"Instagram has restricted {account}: open the app as {account} and do what it asks", person=True
        )
    if subcode == DAILY_LIMIT_SUBCODE:
        return PublishError(
            f"{account} has published all that the Graph API allows in a day, seen while {doing}: wait some hours",
            pause=6 * HOUR,
        )
    if subcode == NOT_READY_SUBCODE:
        return PublishError(
            f"Instagram has not finished reading the pictures, seen while {doing}: try again in a minute"
        )
    if code in THROTTLED_CODES:
        return _throttled_error(doing)
    if code in TOKEN_CODES or code in PERMISSION_CODES:
        token_problem = "token is no longer good" if code in TOKEN_CODES else "token lacks a right"
        return PublishError(
            f"the {token_problem} for {account}, seen while {doing}: make a new one and put it into the secrets",
            person=True,
        )
    return None


def _throttled_error(doing: str) -> PublishError:
    return PublishError(
        f"the Graph API finds that it is asked too often, while {doing}: leave the account alone for an hour",
        pause=HOUR,
    )


def _ambiguous_error(event: str, doing: str) -> PublishError:
    return PublishError(
        f"the Graph API {event} while {doing}, so the post may be out or not: look at the account before anything else",
        ambiguous=True,
    )


def _int_or_zero(value: object) -> int:
    return value if isinstance(value, int) else 0
