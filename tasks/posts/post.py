"""A post: its content, its candidates, its approval and its history. `post_store` and `review` change it."""

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
from tasks.store.store import utc_text


@dataclass(frozen=True)
class PostPicture:
    """One picture of a post, as it would go out."""

    picture: str
    """The id of its shot; the master and its provenance are among the picture files."""
    file: str
    """The JPEG, from the studio."""
    sha256: str
    alt: str
    width: int
    height: int


@dataclass(frozen=True)
class PostContent:
    """Everything people will see of a post, with its account and time."""

    kind: Kind
    pictures: tuple[PostPicture, ...]
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
        """Return caption and hashtags as they appear under the picture."""
        return "\n\n".join(part for part in (self.caption, " ".join(f"#{tag}" for tag in self.hashtags)) if part)

    @property
    def hash(self) -> str:
        """Return a hash that is equal where exactly the same would be published. File paths do not count, their bytes do."""
        values = self.as_dict() | {"when": utc_text(self.when)}
        values["pictures"] = [[picture.sha256, picture.alt] for picture in self.pictures]
        return hashlib.sha256(canonical_json(values).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        zone = self.when.tzinfo.key if isinstance(self.when.tzinfo, ZoneInfo) else "UTC"
        return asdict(self) | {"when": utc_text(self.when), "zone": zone}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PostContent:
        fields = dict(values)
        due_at = datetime.fromisoformat(fields.pop("when")).astimezone(ZoneInfo(fields.pop("zone")))
        pictures = tuple(PostPicture(**picture) for picture in fields.pop("pictures"))
        return cls(pictures=pictures, when=due_at, **fields | {"hashtags": tuple(fields["hashtags"])})


@dataclass(frozen=True)
class PostCandidate:
    """A picture rendered for a post, with the verdict of the gates."""

    number: int
    """From 0; its seed derives from it."""
    picture: str
    """The id of its shot."""
    passed: bool
    reason: str
    """The reason for its rejection or acceptance."""
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
    content: PostContent
    prompt: str
    embedding: str
    problem: str
    """For a draft, why it has no picture; for others, the last error. Empty where all is well."""
    created_at: str
    changed_at: str


@dataclass(frozen=True)
class Approval:
    revision: int
    hash: str
    content: PostContent
    by: str
    at: str


@dataclass(frozen=True)
class PostEvent:
    number: int
    at: str
    by: str
    was: str
    state: State
    revision: int
    why: str


class ChangedError(UserError):
    """The post has changed since it was read: somebody else was quicker."""


def canonical_json(value: Any) -> str:
    """Return the value as JSON, with sorted keys so that equal values give equal texts."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
