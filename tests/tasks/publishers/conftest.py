"""A stand-in to publish to, posts to publish, and both network publishers, real ones, on their way to it."""

import hashlib
import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tasks.publishers.base import (
    ApprovedPicture,
    ApprovedPost,
    BeforeCommit,
    Kind,
    PreparedUpload,
    Publisher,
    upload_id_at,
)
from tasks.publishers.disclosure import encode_jpeg
from tasks.publishers.graph.picture_hosting import Bucket, S3Credentials
from tasks.publishers.graph.publisher import Graph
from tasks.publishers.instagram.publisher import Instagram
from tasks.publishers.instagram.session import save_session, session_file
from tasks.publishers.stand_in.server import StandIn
from tasks.publishers.stand_in.state import Account

ACCOUNT = Account("pip_daily", "4100000009", "Planted-Passw0rd", "JBSWY3DPEHPK3PXP", "IGAAPlantedToken0123456789")
PATIENT, HASTY = (5.0, 60.0), (5.0, 0.2)
NUMBERS = itertools.count()


def picture_bytes(number: int = 0, size: tuple[int, int] = (540, 675)) -> bytes:
    """Different pictures, by their number, that a perceptual hash tells apart."""
    colours = [((37 * number + 90 * part) % 256, (91 * number + 40 * part) % 256, 60 * part) for part in range(4)]
    image = Image.new("RGB", (2, 2))
    image.putdata([colours[(number + part * (1 + number % 3)) % 4] for part in range(4)])
    return encode_jpeg(image.resize(size, Image.Resampling.BICUBIC), 85, "a teal fox")


@pytest.fixture(scope="session")
def pictures() -> list[bytes]:
    return [picture_bytes(number) for number in range(4)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StandIn]:
    with StandIn([ACCOUNT]) as started:
        yield started


@pytest.fixture
def studio(tmp_path: Path, server: StandIn) -> Path:
    """A studio with a session, as somebody who logged in would leave it."""
    save_session(session_file(tmp_path / "studio", ACCOUNT.name), server.new_session(ACCOUNT.name))
    return tmp_path / "studio"


@pytest.fixture
def parcel(tmp_path: Path, pictures: list[bytes]) -> Callable[..., ApprovedPost]:
    """`parcel("album")` is a post; each has its own caption unless told otherwise."""

    def make(kind: Kind = "photo", **changes: Any) -> ApprovedPost:
        number = next(NUMBERS)
        found = []
        for place in range(3 if kind == "album" else 1):
            path = tmp_path / f"approved-{number}-{place}.jpg"
            path.write_bytes(pictures[place])
            found.append(ApprovedPicture(path, hashlib.sha256(pictures[place]).hexdigest()))
        alts = tuple(f"a fox & <{place}>" for place in range(len(found)))
        told = {
            "post_id": f"post-{number}",
            "account": ACCOUNT.name,
            "persona": "pip",
            "shot": "3f2a91c0",
            "kind": kind,
        }
        told |= {"pictures": tuple(found), "caption": f"Pip, day {number}\n#ai", "alts": alts, "ai_label": False}
        return ApprovedPost(**{**told, "when": datetime(2026, 11, 21, 9, tzinfo=UTC), **changes})

    return make


def instagram(server: StandIn, studio: Path, timeout: tuple[float, float] = PATIENT) -> Instagram:
    return Instagram(studio, ACCOUNT.name, address=server.address, timeout=timeout, request_pause=0)


def graph(server: StandIn, studio: Path, timeout: tuple[float, float] = PATIENT) -> Graph:
    bucket = Bucket(server.address, "pictures-of-pip", S3Credentials("AK", "PlantedStorageSecret"), timeout=timeout)
    return Graph(
        ACCOUNT.name, ACCOUNT.user_id, ACCOUNT.token, bucket, api=f"{server.address}/v25.0", timeout=timeout, poll=0.0
    )


PUBLISHERS: dict[str, Callable[..., Publisher]] = {"instagram": instagram, "graph": graph}


@dataclass
class Ready:
    """A post that waits for its commit."""

    publisher: Publisher
    parcel: ApprovedPost
    prepared: PreparedUpload
    before: BeforeCommit


@pytest.fixture
def ready(server: StandIn, studio: Path, parcel: Callable[..., ApprovedPost]) -> Callable[..., Ready]:
    def make(name: str, kind: Kind = "photo", **changes: Any) -> Ready:
        publisher = PUBLISHERS[name](server, studio)
        post = parcel(kind, **changes)
        now = datetime.now(UTC).timestamp()
        prepared = publisher.prepare(post, upload_id_at(now), {})
        return Ready(publisher, post, prepared, BeforeCommit(now, tuple(publisher.list_recent_media(kind))))

    return make


@pytest.fixture(autouse=True)
def all_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """So that a test can see what a careless setting would write down."""
    caplog.set_level(logging.DEBUG)
    for name in ("instagrapi", "private_request", "public_request", "graphql_request", "httpx", "httpcore", "urllib3"):
        caplog.set_level(logging.DEBUG, logger=name)
