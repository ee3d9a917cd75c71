"""What Instagram's answers mean: judged by status and body, since the library's exceptions have many names for one thing."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from requests import Response

from tasks.publishers.base import DAY, HOUR, PublishError, said
from tasks.publishers.instagram.single_send import Wire, never_sent

CHALLENGE = ("challenge_required", "checkpoint_required", "checkpoint_challenge_required", "consent_required")
LOGGED_OUT = ("login_required", "user_has_logged_out", "logged_out", "two_factor_required")
REFUSED_LOGIN = ("bad_password", "invalid_user", "invalid_credentials", "unusable_password")
THROTTLED = ("rate_limit_error", "rate_limit_exceeded")
SPARED = ("please wait a few minutes", "try again later", "too many requests")
UPLOAD_AGAIN = ("media_needs_reupload", "upload_not_found", "transcode not finished yet.")


def body(answer: Response | None) -> dict[str, Any] | None:
    """The object in an answer, or None where there is none."""
    try:
        found = json.loads(answer.content) if answer is not None else None
    except (ValueError, RuntimeError):
        return None
    return found if isinstance(found, dict) else None


def failure(wire: Wire, account: str, doing: str, commit: bool, hidden: Collection[str] = ()) -> PublishError | None:
    """Why the last request failed, or None where the network had no part in it. `doing` fits after "while"."""
    if wire.trouble is not None:
        return _no_answer(wire.trouble, doing, commit)
    if wire.answer is None:
        return None
    return _told(wire.answer, account, doing, hidden) or _unusable(wire.answer, doing, commit)


def unusable(wire: Wire, doing: str, commit: bool) -> PublishError:
    """For an answer that looked well and does not hold what it has to."""
    return _unusable(wire.answer, doing, commit)


def _no_answer(error: BaseException, doing: str, commit: bool) -> PublishError:
    if never_sent(error):
        return PublishError(f"Instagram could not be reached while {doing}: check the connection, then try again")
    if commit:
        return _unknown("hung up or took too long", doing)
    return PublishError(f"Instagram hung up or took too long while {doing}: try again")


def _unusable(answer: Response | None, doing: str, commit: bool) -> PublishError:
    status = answer.status_code if answer is not None else 0
    if commit:
        return _unknown(f"gave no usable answer (status {status})", doing)
    return PublishError(f"Instagram gave no usable answer (status {status}) while {doing}: try again later")


def _unknown(what: str, doing: str) -> PublishError:
    return PublishError(
        f"Instagram {what} while {doing}, so the post may be out or not: look at the account before anything else",
        ambiguous=True,
    )


def _told(answer: Response, account: str, doing: str, hidden: Collection[str]) -> PublishError | None:
    """What Instagram itself says stands in the way. An answer in which it says nothing of the kind gives None."""
    status, found = answer.status_code, body(answer)
    if status == 404 and answer.content == b"Not Found":  # a challenge that does not say so
        return _challenge(account, doing)
    if status == 429:
        return _throttled(answer, doing)
    if found is None or status >= 500 or status in (408, 425):
        return None
    message, kind = _text(found, "message"), _text(found, "error_type")
    words = {message, kind}
    if words & set(CHALLENGE) or (isinstance(found.get("challenge"), Mapping) and found.get("status") != "ok"):
        return _suspended(account) if "/suspended/" in json.dumps(found) else _challenge(account, doing)
    if words & set(LOGGED_OUT) or found.get("two_factor_info") or found.get("logout_reason"):
        return _logged_out(account, doing)
    if words & set(REFUSED_LOGIN):
        return PublishError(
            f"Instagram refused the login of {account}: check name and password, and that the app lets you in",
            person=True,
        )
    if "feedback_required" in words or "sentry_block" in words:
        return _blocked(account, doing, found, hidden)
    if words & set(THROTTLED) or any(each in message for each in SPARED):
        return _throttled(answer, doing)
    if words & set(UPLOAD_AGAIN):
        return PublishError(f"Instagram no longer has the pictures it was sent ({message}): prepare the post again")
    if status in (401, 403):
        return _logged_out(account, doing)
    if 400 <= status < 500 and (message or kind):
        reason = said(found.get("message") or kind, hidden)
        return PublishError(
            f"Instagram refused it while {doing} (status {status}, {reason!r}): change the post, then approve it again",
            permanent=True,
        )
    return None


def _challenge(account: str, doing: str) -> PublishError:
    return PublishError(
        f"Instagram asks who is there while {doing}: open the app as {account}, answer it, then run restage login {account}",
        person=True,
    )


def _suspended(account: str) -> PublishError:
    return PublishError(f"Instagram has suspended {account}: open the app as {account} to see why", person=True)


def _logged_out(account: str, doing: str) -> PublishError:
    return PublishError(f"{account} is logged out, seen while {doing}: run restage login {account}", person=True)


def _blocked(account: str, doing: str, found: Mapping[str, Any], hidden: Collection[str]) -> PublishError:
    reason = said(found.get("feedback_message") or found.get("feedback_title") or found.get("message"), hidden)
    return PublishError(
        f"Instagram has blocked {account} from this for now, while {doing} ({reason!r}): leave the account alone for a day",
        pause=DAY,
    )


def _throttled(answer: Response, doing: str) -> PublishError:
    asked = answer.headers.get("Retry-After", "")
    pause = max(HOUR, min(float(asked), DAY)) if asked.isdecimal() else HOUR
    return PublishError(
        f"Instagram finds that it is asked too often, while {doing}: leave the account alone for {pause / HOUR:g} hours"
        if pause > HOUR
        else f"Instagram finds that it is asked too often, while {doing}: leave the account alone for an hour",
        pause=pause,
    )


def _text(found: Mapping[str, Any], key: str) -> str:
    return str(found.get(key) or "").strip().lower()
