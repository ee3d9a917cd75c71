"""Open HTTP clients that send every request once, with a timeout, and reach this machine without a proxy."""

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
    """Open a client that never retries, with a new connection, since an old one may be closed."""
    limits = httpx.Timeout(timeout[1], connect=timeout[0])
    return httpx.Client(
        headers=headers,
        timeout=limits,
        verify=default_ssl_context(),
        transport=transport,
        trust_env=not is_local(address),
    )


def is_local(address: str) -> bool:
    """Tell whether the address is on this machine, which is reached without a proxy."""
    return urlsplit(address).hostname in ("127.0.0.1", "localhost")


@functools.cache
def default_ssl_context() -> ssl.SSLContext:
    """Load the certificates once, since that takes longer than most requests."""
    return httpx.create_ssl_context()
