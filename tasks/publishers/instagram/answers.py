"""Turn Instagram's answers into errors, by status and body, since the library has many exceptions for one thing."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from requests import Response

from tasks.publishers.base import DAY, HOUR, PublishError, redact
from tasks.publishers.instagram.single_send import SingleSendAdapter, was_never_sent

CHALLENGE_CODES = ("challenge_required", "checkpoint_required", "checkpoint_challenge_required", "consent_required")
LOGGED_OUT_CODES = ("login_required", "user_has_logged_out", "logged_out", "two_factor_required")
REFUSED_LOGIN_CODES = ("bad_password", "invalid_user", "invalid_credentials", "unusable_password")
THROTTLED_CODES = ("rate_limit_error", "rate_limit_exceeded")
THROTTLED_PHRASES = ("please wait a few minutes", "try again later", "too many requests")
UPLOAD_AGAIN_CODES = ("media_needs_reupload", "upload_not_found", "transcode not finished yet.")


def answer_object(answer: Response | None) -> dict[str, Any] | None:
    """Return the JSON object of an answer, or None if there is none."""
    try:
        content = json.loads(answer.content) if answer is not None else None
    except (ValueError, RuntimeError):
        return None
    return content if isinstance(content, dict) else None


def last_error(
    adapter: SingleSendAdapter, account: str, doing: str, commit: bool, hidden: Collection[str] = ()
) -> PublishError | None:
    """Return the error of the last request, or None if the network had no part in it. `doing` fits after "while"."""
    if adapter.error is not None:
        return _no_answer_error(adapter.error, doing, commit)
    if adapter.answer is None:
        return None
    return _refusal_error(adapter.answer, account, doing, hidden) or _unusable_error(adapter.answer, doing, commit)


def unusable_answer_error(adapter: SingleSendAdapter, doing: str, commit: bool) -> PublishError:
    """Return the error for a successful answer without the expected content."""
    return _unusable_error(adapter.answer, doing, commit)


def _no_answer_error(error: BaseException, doing: str, commit: bool) -> PublishError:
    if was_never_sent(error):
        return PublishError(f"Instagram could not be reached while {doing}: check the connection, then try again")
    if commit:
        return _ambiguous_error("hung up or took too long", doing)
    return PublishError(f"Instagram hung up or took too long while {doing}: try again")


def _unusable_error(answer: Response | None, doing: str, commit: bool) -> PublishError:
    status = answer.status_code if answer is not None else 0
    if commit:
        return _ambiguous_error(f"gave no usable answer (status {status})", doing)
    return PublishError(f"Instagram gave no usable answer (status {status}) while {doing}: try again later")


def _ambiguous_error(event: str, doing: str) -> PublishError:
    return PublishError(
        f"Instagram {event} while {doing}, so the post may be out or not: look at the account before anything else",
        ambiguous=True,
    )


def _refusal_error(answer: Response, account: str, doing: str, hidden: Collection[str]) -> PublishError | None:
    """Return the error that Instagram itself reports, or None if it reports none."""
    status, content = answer.status_code, answer_object(answer)
    if status == 404 and answer.content == b"Not Found":  # a challenge that does not say so
        return _challenge_error(account, doing)
    if status == 429:
        return _throttled_error(answer, doing)
    if content is None or status >= 500 or status in (408, 425):
        return None
    message, kind = _lowercase_text(content, "message"), _lowercase_text(content, "error_type")
    codes = {message, kind}
    if codes & set(CHALLENGE_CODES) or (
        isinstance(content.get("challenge"), Mapping) and content.get("status") != "ok"
    ):
        return _suspended_error(account) if "/suspended/" in json.dumps(content) else _challenge_error(account, doing)
    if codes & set(LOGGED_OUT_CODES) or content.get("two_factor_info") or content.get("logout_reason"):
        return _logged_out_error(account, doing)
    if codes & set(REFUSED_LOGIN_CODES):
        return PublishError(
            f"Instagram refused the login of {account}: check name and password, and that the app lets you in",
            person=True,
        )
    if "feedback_required" in codes or "sentry_block" in codes:
        return _blocked_error(account, doing, content, hidden)
    if codes & set(THROTTLED_CODES) or any(phrase in message for phrase in THROTTLED_PHRASES):
        return _throttled_error(answer, doing)
    if codes & set(UPLOAD_AGAIN_CODES):
        return PublishError(f"Instagram no longer has the pictures it was sent ({message}): prepare the post again")
    if status in (401, 403):
        return _logged_out_error(account, doing)
    if 400 <= status < 500 and (message or kind):
        reason = redact(content.get("message") or kind, hidden)
        return PublishError(
            f"Instagram refused it while {doing} (status {status}, {reason!r}): change the post, then approve it again",
            permanent=True,
        )
    return None


def _challenge_error(account: str, doing: str) -> PublishError:
    return PublishError(
        f"Instagram asks who is there while {doing}: open the app as {account}, answer it, then run restage login {account}",
        person=True,
    )


def _suspended_error(account: str) -> PublishError:
    return PublishError(f"Instagram has suspended {account}: open the app as {account} to see why", person=True)


def _logged_out_error(account: str, doing: str) -> PublishError:
    return PublishError(f"{account} is logged out, seen while {doing}: run restage login {account}", person=True)


def _blocked_error(account: str, doing: str, content: Mapping[str, Any], hidden: Collection[str]) -> PublishError:
    reason = redact(content.get("feedback_message") or content.get("feedback_title") or content.get("message"), hidden)
    return PublishError(
        f"Instagram has blocked {account} from this for now, while {doing} ({reason!r}): leave the account alone for a day",
        pause=DAY,
    )


def _throttled_error(answer: Response, doing: str) -> PublishError:
    retry_after = answer.headers.get("Retry-After", "")
    pause = max(HOUR, min(float(retry_after), DAY)) if retry_after.isdecimal() else HOUR
    return PublishError(
        f"Instagram finds that it is asked too often, while {doing}: leave the account alone for {pause / HOUR:g} hours"
        if pause > HOUR
        else f"Instagram finds that it is asked too often, while {doing}: leave the account alone for an hour",
        pause=pause,
    )


def _lowercase_text(content: Mapping[str, Any], key: str) -> str:
    return str(content.get(key) or "").strip().lower()
