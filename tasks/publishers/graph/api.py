"""Send requests to the official API: each one once, with a timeout, and with the token where nothing logs it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import httpx

from tasks.publishers.base import DEFAULT_TIMEOUT, PublishError, Timeout
from tasks.publishers.graph.answers import answer_object, no_answer_error, refusal_error, unusable_answer_error
from tasks.publishers.http import default_ssl_context, open_client

API = "https://graph.instagram.com/v25.0"


class TokenInQuery(httpx.BaseTransport):
    """Adds the token to the address of the one request that needs it there, below httpx, which logs addresses."""

    def __init__(self, token: str, inner: httpx.BaseTransport) -> None:
        self._token, self._inner = token, inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        signed_url = request.url.copy_merge_params({"access_token": self._token})
        return self._inner.handle_request(
            httpx.Request(request.method, signed_url, headers=request.headers, extensions=request.extensions)
        )

    def close(self) -> None:
        self._inner.close()


def new_api_client(token: str, timeout: Timeout, api: str) -> httpx.Client:
    return open_client(timeout, api, {"Authorization": f"Bearer {token}"})


def send_request(
    http_client: httpx.Client,
    method: str,
    address: str,
    account: str,
    doing: str,
    commit: bool,
    token: str,
    **options: Any,
) -> httpx.Response:
    """Send one request once. Raise `PublishError` if it fails."""
    error: PublishError | None
    with http_client:
        try:
            answer = http_client.request(method, address, **options)
            error = refusal_error(answer, account, doing, commit, (token,))
            if error is None and answer.status_code != 200:
                error = unusable_answer_error(answer, doing, commit)
        except httpx.HTTPError as http_error:
            error = no_answer_error(http_error, doing, commit)
    if error is not None:
        raise error
    return answer


def refresh_token(token: str, account: str, *, api: str = API, timeout: Timeout = DEFAULT_TIMEOUT) -> tuple[str, float]:
    """Return a token for another 60 days, and its seconds of validity. The old one stays valid until its own end."""
    parts = urlsplit(api)
    doing = f"renewing the token of {account}"
    http_client = open_client(
        timeout, api, transport=TokenInQuery(token, httpx.HTTPTransport(verify=default_ssl_context()))
    )
    address = f"{parts.scheme}://{parts.netloc}/refresh_access_token"
    answer = send_request(
        http_client, "GET", address, account, doing, False, token, params={"grant_type": "ig_refresh_token"}
    )
    content = answer_object(answer) or {}
    new_token, seconds = content.get("access_token"), content.get("expires_in")
    if not isinstance(new_token, str) or not new_token or not isinstance(seconds, int):
        raise unusable_answer_error(answer, doing, False)
    return new_token, float(seconds)
