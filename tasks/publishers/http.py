"""Clients for the web at large: every request once, with a timeout, straight to this machine where that is asked."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from tasks.publishers.base import Timeout


def open_client(
    timeout: Timeout,
    address: str,
    headers: Mapping[str, str] | None = None,
    transport: httpx.BaseTransport | None = None,
) -> httpx.Client:
    """A client that never tries twice, and with a new connection: an old one may have gone stale."""
    waits = httpx.Timeout(timeout[1], connect=timeout[0])
    return httpx.Client(
        headers=headers, timeout=waits, verify=certificates(), transport=transport, trust_env=not is_local(address)
    )


def is_local(address: str) -> bool:
    """Whether this machine is asked, past any proxy."""
    return urlsplit(address).hostname in ("127.0.0.1", "localhost")


@functools.cache
def certificates() -> ssl.SSLContext:
    """Read once: that takes longer than most requests."""
    return httpx.create_ssl_context()
