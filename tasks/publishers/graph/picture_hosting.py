"""Host pictures where Instagram can fetch them: on one's own web server, or in S3-compatible storage."""

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
from tasks.publishers.base import DEFAULT_TIMEOUT, PublishError, Timeout, write_or_raise
from tasks.publishers.http import open_client

ALGORITHM = "AWS4-HMAC-SHA256"
LINK_SECONDS = 24 * 3600  # as long as an unpublished container exists
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"


class Hosting(Protocol):
    def upload_picture(self, data: bytes, name: str) -> str:
        """Put the bytes at a public address under that name and return the address. Repeating it changes nothing."""


@dataclass(frozen=True)
class FolderHosting:
    """A web server that serves a folder of this machine; `template` is its address with {name} in it."""

    template: str
    folder: Path

    def __post_init__(self) -> None:
        if self.template.count("{name}") != 1 or not urlsplit(self.template).scheme.startswith("http"):
            raise UserError(
                f"{self.template!r} is no address for pictures: write one such as https://pictures.example/{{name}}"
            )

    def upload_picture(self, data: bytes, name: str) -> str:
        path = self.folder / name
        if not path.exists() or path.read_bytes() != data:
            write_or_raise(path, data)
        return self.template.replace("{name}", quote(name))


@dataclass(frozen=True)
class S3Credentials:
    """The keys of a bucket. Never printed."""

    access: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Bucket:
    """S3-compatible storage. Pictures are read at `public`, an address with {name} in it, or else by presigned links."""

    endpoint: str
    bucket: str
    keys: S3Credentials
    region: str = "us-east-1"
    public: str = ""
    prefix: str = ""
    timeout: Timeout = DEFAULT_TIMEOUT
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def upload_picture(self, data: bytes, name: str) -> str:
        address = f"{self.endpoint.rstrip('/')}/{self.bucket}/{quote(self.prefix + name)}"
        headers = {"content-type": "image/jpeg"}
        signed = sign_request(
            "PUT", address, headers, hashlib.sha256(data).hexdigest(), self.keys, self.region, self.now()
        )
        answer = self._put_object(address, data, signed)
        if answer.status_code not in (200, 201, 204):
            refused = 400 <= answer.status_code < 500 and answer.status_code != 429
            raise PublishError(
                f"the storage at {urlsplit(self.endpoint).netloc} refused {name} (status {answer.status_code}):"
                f" {'check bucket, region and keys' if refused else 'try again later'}",
                person=refused,
            )
        if self.public:
            return self.public.replace("{name}", quote(name))
        return presigned_url(address, self.keys, self.region, self.now(), LINK_SECONDS)

    def _put_object(self, address: str, data: bytes, headers: Mapping[str, str]) -> httpx.Response:
        try:
            with open_client(self.timeout, address) as client:
                return client.put(address, content=data, headers=dict(headers))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            name = type(error).__name__
        raise PublishError(
            f"the storage at {urlsplit(self.endpoint).netloc} did not answer ({name}): check the address, then try again"
        )


def sign_request(
    method: str, address: str, headers: Mapping[str, str], content: str, keys: S3Credentials, region: str, now: datetime
) -> dict[str, str]:
    """Return the signed headers of a request to S3. `content` is the SHA-256 of the body."""
    signed_headers = {name.lower(): value.strip() for name, value in headers.items()}
    signed_headers |= {
        "host": urlsplit(address).netloc,
        "x-amz-content-sha256": content,
        "x-amz-date": _amz_timestamp(now),
    }
    header_names = ";".join(sorted(signed_headers))
    lines = "".join(f"{name}:{signed_headers[name]}\n" for name in sorted(signed_headers))
    parts = urlsplit(address)
    canonical_request = "\n".join([method, parts.path, _canonical_query(parts.query), lines, header_names, content])
    signature = _compute_signature(canonical_request, keys.secret, region, now)
    scope = f"{keys.access}/{_credential_scope(region, now)}"
    signed_headers["authorization"] = (
        f"{ALGORITHM} Credential={scope},SignedHeaders={header_names},Signature={signature}"
    )
    return {name: value for name, value in signed_headers.items() if name != "host"}


def presigned_url(address: str, keys: S3Credentials, region: str, now: datetime, seconds: int) -> str:
    """Return an address that can be read without keys for so many seconds."""
    parts = urlsplit(address)
    query = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{keys.access}/{_credential_scope(region, now)}",
        "X-Amz-Date": _amz_timestamp(now),
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": "host",
    }
    text = "&".join(f"{name}={quote(value, safe='')}" for name, value in sorted(query.items()))
    canonical_request = "\n".join(["GET", parts.path, text, f"host:{parts.netloc}\n", "host", UNSIGNED_PAYLOAD])
    return f"{address}?{text}&X-Amz-Signature={_compute_signature(canonical_request, keys.secret, region, now)}"


def _compute_signature(canonical_request: str, secret: str, region: str, now: datetime) -> str:
    text = "\n".join(
        [
            ALGORITHM,
            _amz_timestamp(now),
            _credential_scope(region, now),
            hashlib.sha256(canonical_request.encode()).hexdigest(),
        ]
    )
    key = f"AWS4{secret}".encode()
    for part in (*_credential_scope(region, now).split("/"), text):
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex()


def _credential_scope(region: str, now: datetime) -> str:
    return f"{now.astimezone(UTC):%Y%m%d}/{region}/s3/aws4_request"


def _amz_timestamp(now: datetime) -> str:
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _canonical_query(query: str) -> str:
    return "&".join(sorted(re.sub("^([^=]+)$", r"\1=", parameter) for parameter in query.split("&") if parameter))
