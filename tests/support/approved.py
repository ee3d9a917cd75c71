"""Posts that are approved and due, with real JPEGs in a studio, for tests and benchmarks of publishing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from PIL import Image

from models.system.files import write_file
from tasks.posts import post_store
from tasks.posts.post import Post, PostCandidate, PostContent, PostPicture
from tasks.publish import attempts, publish
from tasks.publish.attempts import PublishAttempt
from tasks.publish.claimed_account import PublishingRules
from tasks.publish.pacing import PacingRules
from tasks.publish.publish import PublishReport, PublishRun
from tasks.publishers.base import ApprovedPost, BeforeCommit, FoundOnAccount, Kind, PreparedUpload, Publisher, Receipt
from tasks.publishers.disclosure import encode_jpeg
from tasks.publishers.folder import Folder
from tasks.store.store import Store

ACCOUNT = "pip_daily"
SIDE = 320


def picture(number: int, kind: str = "photo") -> bytes:
    """Different pictures, by their number, that a perceptual hash tells apart."""
    digest = hashlib.sha256(str(number).encode()).digest()
    image = Image.frombytes("L", (5, 5), digest[:25]).convert("RGB")
    size = (SIDE, 568) if kind == "story" else (SIDE, SIDE)
    return encode_jpeg(image.resize(size, Image.Resampling.BICUBIC), 85, "a teal fox")


def put(
    store: Store,
    studio: Path,
    number: int,
    when: datetime | None = None,
    kind: str = "photo",
    account: str = ACCOUNT,
    **changes: Any,
) -> Post:
    """A post that awaits review."""
    when = when or datetime.now(UTC) - timedelta(hours=1) + timedelta(seconds=number)
    shown = []
    for place in range(2 if kind == "album" else 1):
        data = picture(number * 100 + place, kind)
        digest = hashlib.sha256(data).hexdigest()
        write_file(studio / "ready" / f"{digest}.jpg", data)
        sides = (SIDE, 568) if kind == "story" else (SIDE, SIDE)
        shown.append(PostPicture(f"s{number}-{place}", f"ready/{digest}.jpg", digest, f"a fox & <{place}>", *sides))
    said = {"caption": f"Pip, day {number}", "hashtags": ("pip",), "ai_label": False} | changes
    content = PostContent(kind, tuple(shown), account=account, when=when, **said)  # type: ignore[arg-type]
    key = f"pip/walk/{number:05}"
    found = [PostCandidate(0, shown[0].picture, True, "the most like pip", {}, "00ff")]
    return post_store.create_post(store, key, "pip", "walk", "square", content, found, "restage", "rendered")


def approved(store: Store, studio: Path, number: int, **more: Any) -> Post:
    return post_store.approve(store, put(store, studio, number, **more), "ann", "lovely")


class One:
    """Outlets that know one publisher."""

    def __init__(self, publisher: Publisher) -> None:
        self.name, self._publisher = publisher.name, publisher

    def open(self, name: str, account: str) -> Publisher:
        assert (name, account) == (self._publisher.name, self._publisher.account)
        return self._publisher


class Clock:
    """A clock that goes on only when somebody sleeps."""

    def __init__(self, at: datetime | None = None) -> None:
        self.at = at or datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


FREE = PublishingRules(PacingRules(late=timedelta(days=7)))


class Watched(Folder):
    """The folder publisher, told to go wrong at one of its calls, and taken for one that may post twice."""

    idempotent = False

    def __init__(self, studio: Path, account: str = ACCOUNT) -> None:
        super().__init__(studio, account)
        self.calls: list[str] = []
        self.sent: list[ApprovedPost] = []
        self.wrong: dict[str, list[Exception]] = {}
        self.meanwhile: dict[str, Callable[[], object]] = {}
        self.hidden = 0

    def _go(self, call: str) -> None:
        self.calls.append(call)
        self.meanwhile.pop(call, lambda: None)()
        if self.wrong.get(call):
            raise self.wrong[call].pop(0)

    def prepare(self, parcel: ApprovedPost, upload_id: str, progress: MutableMapping[str, str]) -> PreparedUpload:
        self._go("prepare")
        return super().prepare(parcel, upload_id, progress)

    def list_recent_media(self, kind: Kind) -> list[str]:
        self._go("snapshot")
        return super().list_recent_media(kind)

    def commit(self, parcel: ApprovedPost, prepared: PreparedUpload) -> Receipt:
        self.sent.append(parcel)
        self._go("commit")
        receipt = super().commit(parcel, prepared)
        self._go("after commit")
        return receipt

    def find_published(self, parcel: ApprovedPost, prepared: PreparedUpload, before: BeforeCommit) -> object:  # type: ignore[override]
        self._go("look")
        verdict = super().find_published(parcel, prepared, before)
        if self.hidden and isinstance(verdict, FoundOnAccount):
            self.hidden -= 1
            return super().find_published(parcel, replace(prepared, upload_id="1"), before)
        return verdict


@dataclass
class Scene:
    store: Store
    studio: Path
    publisher: Watched
    clock: Clock = field(default_factory=Clock)
    rules: PublishingRules = FREE

    def post(self, number: int = 1, **more: object) -> Post:
        when = more.pop("when", self.clock() - timedelta(minutes=60 - number))
        return approved(self.store, self.studio, number, when=when, **more)

    def run(self, **more: object) -> PublishReport:
        options = {"rules": self.rules, "now": self.clock, "sleep": self.clock.sleep} | more
        return publish.publish(PublishRun(self.store, self.studio, One(self.publisher), **options))  # type: ignore[arg-type]

    def now(self, post: Post) -> Post:
        return post_store.get_post(self.store, post.id)

    def attempt(self, post: Post) -> PublishAttempt:
        return attempts.attempts(self.store, post.id)[-1]

    def states(self, post: Post) -> list[str]:
        return [each.state for each in post_store.history(self.store, post.id)]

    def folders(self) -> list[Path]:
        return [each for each in self.publisher.root.glob("*") if not each.name.startswith(".")]
