"""Check addresses that are given for rehearsals: only this machine's own are allowed."""

from urllib.parse import urlsplit

from models.system.errors import UserError


def check_loopback(address: str) -> str:
    """Return the address without a final slash; raise unless it leads to this machine."""
    parts = urlsplit(address)
    if parts.scheme != "http" or parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise UserError(
            f"{address!r} is not an address of this machine: a stand-in is at one such as http://127.0.0.1:8099"
        )
    return address.rstrip("/")
