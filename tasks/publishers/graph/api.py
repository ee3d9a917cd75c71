"""The way to the official API: every request once, with a timeout, the token where nothing logs it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import httpx

from tasks.publishers.base import PATIENCE, PublishError, Timeout
from tasks.publishers.graph.answers import body, no_answer, refusal, unusable
from tasks.publishers.http import certificates, open_client

API = "https://graph.instagram.com/v25.0"


class InAddress(httpx.BaseTransport):
    """For the one request that wants the token in its address: added below httpx, which logs the addresses it asks."""

    def __init__(self, token: str, inner: httpx.BaseTransport) -> None:
        self._token, self._inner = token, inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        moved = request.url.copy_merge_params({"access_token": self._token})
        return self._inner.handle_request(
            httpx.Request(request.method, moved, headers=request.headers, extensions=request.extensions)
        )

    def close(self) -> None:
        self._inner.close()


def client(token: str, timeout: Timeout, api: str) -> httpx.Client:
    return open_client(timeout, api, {"Authorization": f"Bearer {token}"})


def send(
    through: httpx.Client, method: str, address: str, account: str, doing: str, commit: bool, token: str, **what: Any
) -> httpx.Response:
    """One request, sent once. What went wrong is told in our words."""
    error: PublishError | None
    with through:
        try:
            answer = through.request(method, address, **what)
            error = refusal(answer, account, doing, commit, (token,))
            if error is None and answer.status_code != 200:
                error = unusable(answer, doing, commit)
        except httpx.HTTPError as failed:
            error = no_answer(failed, doing, commit)
    if error is not None:
        raise error
    return answer


def refreshed(token: str, account: str, *, api: str = API, timeout: Timeout = PATIENCE) -> tuple[str, float]:
    """A token that is good for another 60 days, and for how many seconds it is. The old one stays good until it ends."""
    parts = urlsplit(api)
    doing = f"renewing the token of {account}"
    through = open_client(timeout, api, transport=InAddress(token, httpx.HTTPTransport(verify=certificates())))
    address = f"{parts.scheme}://{parts.netloc}/refresh_access_token"
    answer = send(through, "GET", address, account, doing, False, token, params={"grant_type": "ig_refresh_token"})
    found = body(answer) or {}
    new, seconds = found.get("access_token"), found.get("expires_in")
    if not isinstance(new, str) or not new or not isinstance(seconds, int):
        raise unusable(answer, doing, False)
    return new, float(seconds)
