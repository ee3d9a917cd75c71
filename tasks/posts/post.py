"""A post as others see it: its content, its candidates, its approval and its history. What is done with it is in `posts`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from models.system.errors import UserError
from tasks.posts.states import State
from tasks.publishers.base import Kind
from tasks.store.store import instant


@dataclass(frozen=True)
class Shown:
    """One picture of a post, as it would go out."""

    picture: str
    """The id of its shot; the master and its provenance are among the artifacts."""
    file: str
    """The JPEG, from the studio."""
    sha256: str
    alt: str
    width: int
    height: int


@dataclass(frozen=True)
class Content:
    """All that people will see of a post, and where and when."""

    kind: Kind
    pictures: tuple[Shown, ...]
    caption: str
    """Without the hashtags."""
    hashtags: tuple[str, ...]
    """Without the #."""
    account: str
    when: datetime
    """In the time zone of its calendar."""
    ai_label: bool = True

    @property
    def text(self) -> str:
        """Caption and hashtags as they stand under the picture."""
        return "\n\n".join(part for part in (self.caption, " ".join(f"#{tag}" for tag in self.hashtags)) if part)

    @property
    def hash(self) -> str:
        """Equal where exactly the same would go out. Where a file lies does not count, its bytes do."""
        said = self.as_dict() | {"when": instant(self.when)}
        said["pictures"] = [[each.sha256, each.alt] for each in self.pictures]
        return hashlib.sha256(plain(said).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        zone = self.when.tzinfo.key if isinstance(self.when.tzinfo, ZoneInfo) else "UTC"
        return asdict(self) | {"when": instant(self.when), "zone": zone}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Content:
        given = dict(values)
        when = datetime.fromisoformat(given.pop("when")).astimezone(ZoneInfo(given.pop("zone")))
        pictures = tuple(Shown(**each) for each in given.pop("pictures"))
        return cls(pictures=pictures, when=when, **given | {"hashtags": tuple(given["hashtags"])})


@dataclass(frozen=True)
class Candidate:
    """A picture that was made for a post, and what the gates said of it."""

    number: int
    """From 0; its seed derives from it."""
    picture: str
    """The id of its shot."""
    passed: bool
    reason: str
    """Why it was dropped, or what speaks for it."""
    scores: Mapping[str, float] = field(default_factory=dict)
    likeness: str = ""
    """Its perceptual hash, in hexadecimal."""


@dataclass(frozen=True)
class Post:
    id: str
    key: str
    """The occurrence in the calendar that it is for, such as pip/monday-walk/2026-11-23."""
    persona: str
    shot: str
    size: str
    state: State
    revision: int
    content: Content
    prompt: str
    embedding: str
    problem: str
    """Of a draft, why there is no picture; of others, what went wrong last. Empty where all is well."""
    created_at: str
    changed_at: str


@dataclass(frozen=True)
class Approval:
    revision: int
    hash: str
    content: Content
    by: str
    at: str


@dataclass(frozen=True)
class Event:
    number: int
    at: str
    by: str
    was: str
    state: State
    revision: int
    why: str


class ChangedError(UserError):
    """Somebody else was quicker: what one looked at is not what there is now."""


def plain(value: Any) -> str:
    """As JSON, the same for the same value."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
