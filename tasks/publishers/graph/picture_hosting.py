"""Where a picture waits for Instagram to fetch it: below an address of one's own, or in S3-compatible storage."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit

import httpx

from models.system.errors import UserError
from tasks.publishers.base import PATIENCE, PublishError, Timeout, keep
from tasks.publishers.http import open_client

ALGORITHM = "AWS4-HMAC-SHA256"
LINK_SECONDS = 24 * 3600  # a container that is not published lives as long
UNSIGNED = "UNSIGNED-PAYLOAD"


class Hosting(Protocol):
    def put(self, data: bytes, name: str) -> str:
        """Have the bytes at a public address under that name, and say which. Doing it again changes nothing."""


@dataclass(frozen=True)
class Site:
    """A web server that serves a folder of this machine; `template` is its address with {name} in it."""

    template: str
    folder: Path

    def __post_init__(self) -> None:
        if self.template.count("{name}") != 1 or not urlsplit(self.template).scheme.startswith("http"):
            raise UserError(
                f"{self.template!r} is no address for pictures: write one such as https://pictures.example/{{name}}"
            )

    def put(self, data: bytes, name: str) -> str:
        path = self.folder / name
        if not path.exists() or path.read_bytes() != data:
            keep(path, data)
        return self.template.replace("{name}", quote(name))


@dataclass(frozen=True)
class Keys:
    """What opens a bucket. Never printed."""

    access: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Bucket:
    """S3-compatible storage. With `public`, an address with {name} in it, pictures are read there; else by signed links."""

    endpoint: str
    bucket: str
    keys: Keys
    region: str = "us-east-1"
    public: str = ""
    prefix: str = ""
    timeout: Timeout = PATIENCE
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def put(self, data: bytes, name: str) -> str:
        address = f"{self.endpoint.rstrip('/')}/{self.bucket}/{quote(self.prefix + name)}"
        headers = {"content-type": "image/jpeg"}
        signed = sign("PUT", address, headers, hashlib.sha256(data).hexdigest(), self.keys, self.region, self.now())
        answer = self._send(address, data, signed)
        if answer.status_code not in (200, 201, 204):
            refused = 400 <= answer.status_code < 500 and answer.status_code != 429
            raise PublishError(
                f"the storage at {urlsplit(self.endpoint).netloc} refused {name} (status {answer.status_code}):"
                f" {'check bucket, region and keys' if refused else 'try again later'}",
                person=refused,
            )
        if self.public:
            return self.public.replace("{name}", quote(name))
        return link(address, self.keys, self.region, self.now(), LINK_SECONDS)

    def _send(self, address: str, data: bytes, headers: Mapping[str, str]) -> httpx.Response:
        try:
            with open_client(self.timeout, address) as client:
                return client.put(address, content=data, headers=dict(headers))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            name = type(error).__name__
        raise PublishError(
            f"the storage at {urlsplit(self.endpoint).netloc} did not answer ({name}): check the address, then try again"
        )


def sign(
    method: str, address: str, headers: Mapping[str, str], content: str, keys: Keys, region: str, now: datetime
) -> dict[str, str]:
    """The headers of a request to S3, signed. `content` is the SHA-256 of the body."""
    named = {name.lower(): value.strip() for name, value in headers.items()}
    named |= {"host": urlsplit(address).netloc, "x-amz-content-sha256": content, "x-amz-date": _stamp(now)}
    names = ";".join(sorted(named))
    lines = "".join(f"{name}:{named[name]}\n" for name in sorted(named))
    parts = urlsplit(address)
    asked = "\n".join([method, parts.path, _query(parts.query), lines, names, content])
    signature = _signature(asked, keys.secret, region, now)
    scope = f"{keys.access}/{_scope(region, now)}"
    named["authorization"] = f"{ALGORITHM} Credential={scope},SignedHeaders={names},Signature={signature}"
    return {name: value for name, value in named.items() if name != "host"}


def link(address: str, keys: Keys, region: str, now: datetime, seconds: int) -> str:
    """An address that can be read without keys for so many seconds."""
    parts = urlsplit(address)
    query = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{keys.access}/{_scope(region, now)}",
        "X-Amz-Date": _stamp(now),
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": "host",
    }
    text = "&".join(f"{name}={quote(value, safe='')}" for name, value in sorted(query.items()))
    asked = "\n".join(["GET", parts.path, text, f"host:{parts.netloc}\n", "host", UNSIGNED])
    return f"{address}?{text}&X-Amz-Signature={_signature(asked, keys.secret, region, now)}"


def _signature(asked: str, secret: str, region: str, now: datetime) -> str:
    text = "\n".join([ALGORITHM, _stamp(now), _scope(region, now), hashlib.sha256(asked.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for each in (*_scope(region, now).split("/"), text):
        key = hmac.digest(key, each.encode(), "sha256")
    return key.hex()


def _scope(region: str, now: datetime) -> str:
    return f"{now.astimezone(UTC):%Y%m%d}/{region}/s3/aws4_request"


def _stamp(now: datetime) -> str:
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _query(query: str) -> str:
    return "&".join(sorted(re.sub("^([^=]+)$", r"\1=", each) for each in query.split("&") if each))
