"""Addresses that are given for rehearsals: this machine's own, and no other."""

from urllib.parse import urlsplit

from models.system.errors import UserError


def check_loopback(address: str) -> str:
    """The address without a slash at its end, if it leads to this machine."""
    parts = urlsplit(address)
    if parts.scheme != "http" or parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise UserError(
            f"{address!r} is not an address of this machine: a stand-in is at one such as http://127.0.0.1:8099"
        )
    return address.rstrip("/")
