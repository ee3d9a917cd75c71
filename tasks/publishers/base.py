"""Define what every publisher takes, returns and raises.

Publishing has three steps, so that the caller can record its progress between them. `prepare` does everything that
nobody sees and may be repeated. `commit` is the one call that makes the post visible: it is sent once, however it
fails. `find_published` finds out by evidence whether a commit with an unknown result went through.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from models.system import files
from models.system.errors import UserError

Kind = Literal["photo", "album", "story"]
ALBUM_SIZES = range(2, 11)  # pictures of an album
MAX_QUOTED_CHARACTERS = 160  # of a server's text
HOUR = 3600.0
DAY = 24 * HOUR
Timeout = tuple[float, float]  # seconds to connect, and seconds to wait for more of an answer
DEFAULT_TIMEOUT: Timeout = (10.0, 60.0)


@dataclass(frozen=True)
class ApprovedPicture:
    """A file, and the hash of its bytes as they were approved."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class ApprovedPost:
    """An approved post: exactly this is published, to exactly this account."""

    post_id: str
    account: str
    persona: str
    shot: str
    kind: Kind
    pictures: tuple[ApprovedPicture, ...]
    caption: str
    """The full text as people will read it, disclosure and hashtags included."""
    alts: tuple[str, ...]
    """One alt text for each picture."""
    ai_label: bool
    """True if Instagram's own label for AI-made pictures is to be set."""
    when: datetime

    def __post_init__(self) -> None:
        allowed = ALBUM_SIZES if self.kind == "album" else range(1, 2)
        if len(self.pictures) not in allowed:
            kind_name, allowed_count = ("an album", "2 to 10") if self.kind == "album" else (f"a {self.kind}", "one")
            raise UserError(
                f"post {self.post_id} is {kind_name} of {len(self.pictures)} pictures: {kind_name} has {allowed_count}"
            )
        if len(self.alts) != len(self.pictures):
            raise UserError(
                f"post {self.post_id} has {len(self.pictures)} pictures and {len(self.alts)} alt texts: write one for each"
            )
        if self.when.tzinfo is None:
            raise UserError(f"post {self.post_id} has a time without a time zone: write the zone as well")


@dataclass(frozen=True)
class PreparedUpload:
    """Everything that a commit needs besides the approved post. Plain values, so that it can be stored."""

    upload_id: str
    parts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Receipt:
    """Where a published post can be found."""

    publisher: str
    media_id: str
    permalink: str = ""


@dataclass(frozen=True)
class BeforeCommit:
    """The state just before a commit: when it began by our clock, and the media that were there already."""

    at: float
    media: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    """Media that are known to be other posts, whenever they were published."""
    unsent: bool = False
    """True if nothing was sent, as far as we know: a medium that cannot be compared and has another caption is another post."""


@dataclass(frozen=True)
class FoundOnAccount:
    """The post is published: where, and by which evidence."""

    receipt: Receipt
    evidence: str
    sure: bool = True
    """False if only the picture matches, which is enough after a commit and may be chance without one."""


@dataclass(frozen=True)
class Absent:
    """The post was not on the account. One lookup may come too early; several, spaced out, are stronger evidence."""

    evidence: str


@dataclass(frozen=True)
class Health:
    """The state of an account: `ok` if it can publish now, `says` explains it."""

    account: str
    ok: bool
    says: str
    person: bool = False


class PublishError(UserError):
    """Report that a publisher failed. The flags say what can be done; the message is one sentence without any secret.

    permanent: the same post will fail the same way again.
    ambiguous: the commit may have gone through; never send it again before `find_published` has answered.
    pause: the account should be left alone for this many seconds.
    person: somebody has to do something in person first, such as logging in.
    """

    def __init__(
        self,
        message: str,
        *,
        permanent: bool = False,
        ambiguous: bool = False,
        pause: float | None = None,
        person: bool = False,
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.ambiguous = ambiguous
        self.pause = pause
        self.person = person


class Publisher(Protocol):
    """One account at one service. Every method raises `PublishError` for whatever a user can fix."""

    name: str
    account: str
    idempotent: bool
    """True if a second commit of the same upload id makes no second post. An absent post is then sent again at once."""

    def check_health(self) -> Health:
        """Report whether the account can publish. Change nothing."""

    def list_recent_media(self, kind: Kind) -> list[str]:
        """List the ids of the recent media. Stored before the commit, they tell `find_published` what is new."""

    def prepare(self, parcel: ApprovedPost, upload_id: str, progress: MutableMapping[str, str]) -> PreparedUpload:
        """Do everything that nobody sees. Read what is done already from `progress`, and add what is new to it.

        `upload_id` is created once for a post (see `upload_id_at`) and never changes.
        """

    def commit(self, parcel: ApprovedPost, prepared: PreparedUpload) -> Receipt:
        """Make it visible: one call, sent once."""

    def find_published(
        self, parcel: ApprovedPost, prepared: PreparedUpload, before: BeforeCommit
    ) -> FoundOnAccount | Absent:
        """Find out whether the post is published. A failed lookup raises, so that it never counts as a no."""


def upload_id_at(moment: float) -> str:
    """Return an upload id as Instagram's app makes them: milliseconds. Album pictures use the next ten numbers."""
    return str(int(moment * 1000))


def redact(text: object, hidden: Collection[str] = ()) -> str:
    """Shorten a server's text to one line that our messages can quote, without the secrets it may repeat."""
    line = " ".join(str(text).split())
    for secret in sorted((value for value in hidden if value), key=len, reverse=True):
        line = line.replace(secret, "•••")
    line = re.sub(r"[A-Za-z0-9_\-+/=.:%]{32,}", "•••", line)  # so long without a space: no word, perhaps a secret
    return line if len(line) <= MAX_QUOTED_CHARACTERS else line[: MAX_QUOTED_CHARACTERS - 1] + "…"


def check_account(parcel: ApprovedPost, account: str) -> None:
    """Raise if the post was approved for another account."""
    if parcel.account != account:
        raise PublishError(
            f"post {parcel.post_id} was approved for {parcel.account} and not for {account}: approve it for {account}",
            permanent=True,
        )


def write_or_raise(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; raise `PublishError` if that fails."""
    try:
        files.write_file(path, data)
    except UserError as error:
        raise PublishError(str(error)) from None
