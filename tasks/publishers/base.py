"""What every publisher takes, gives back and raises.

Publishing is three movements, so that who drives it can write down where it stands between them. `prepare` does all
that nobody sees and may be done again. `commit` is the one call that makes the post visible: it is sent once, by
whatever way it fails. `look` finds out by evidence whether a commit of which nobody knows went through.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from models.system.errors import UserError
from models.system.files import write

Kind = Literal["photo", "album", "story"]
ALBUM = range(2, 11)  # pictures of an album
SAID = 160  # characters of what a server says that are passed on
HOUR = 3600.0
DAY = 24 * HOUR
Timeout = tuple[float, float]  # seconds to connect, and seconds to wait for more of an answer
PATIENCE: Timeout = (10.0, 60.0)


@dataclass(frozen=True)
class Picture:
    """A file, and the hash of its bytes as they were approved."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Parcel:
    """What approval froze: exactly this goes out, to exactly this account."""

    post_id: str
    account: str
    persona: str
    shot: str
    kind: Kind
    pictures: tuple[Picture, ...]
    caption: str
    """With disclosure and hashtags in it, as people will read it."""
    alts: tuple[str, ...]
    """One alt text a picture."""
    ai_label: bool
    """Whether Instagram's own label for AI-made pictures is wanted."""
    when: datetime

    def __post_init__(self) -> None:
        allowed = ALBUM if self.kind == "album" else range(1, 2)
        if len(self.pictures) not in allowed:
            a_kind, wanted = ("an album", "2 to 10") if self.kind == "album" else (f"a {self.kind}", "one")
            raise UserError(f"post {self.post_id} is {a_kind} of {len(self.pictures)} pictures: {a_kind} has {wanted}")
        if len(self.alts) != len(self.pictures):
            raise UserError(
                f"post {self.post_id} has {len(self.pictures)} pictures and {len(self.alts)} alt texts: write one for each"
            )
        if self.when.tzinfo is None:
            raise UserError(f"post {self.post_id} has a time without a time zone: write the zone as well")


@dataclass(frozen=True)
class Prepared:
    """All that a commit needs to know besides the parcel. Plain values, so that it can be stored."""

    upload_id: str
    parts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Receipt:
    """The post as it stands where it was published."""

    publisher: str
    media_id: str
    permalink: str = ""


@dataclass(frozen=True)
class Before:
    """How things stood just before a commit: when it began by our clock, and the media that were there already."""

    at: float
    media: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    """Media that are known to be other posts, whenever they came."""
    unsent: bool = False
    """As far as anybody knows, nothing was sent: a medium that cannot be compared and says something else is another post."""


@dataclass(frozen=True)
class Found:
    """It is published: here, and this is how we know."""

    receipt: Receipt
    evidence: str
    sure: bool = True
    """False where only the picture speaks for it, which after a commit is enough and without one may be chance."""


@dataclass(frozen=True)
class Absent:
    """It was not there when we looked. One look may come too early; several, spaced out, mean more."""

    evidence: str


@dataclass(frozen=True)
class Health:
    """Whether an account can publish just now, and what there is to say of it."""

    account: str
    ok: bool
    says: str
    person: bool = False


class PublishError(UserError):
    """A publisher failed. The flags say what can be done; the message is one sentence and never holds a secret.

    permanent: the same post will fail the same way again.
    ambiguous: the commit may have gone through; look, and never send it again before a look has answered.
    pause: so many seconds the account should be left alone.
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
    """One account at one place. Every method raises `PublishError` and nothing else that a user could mend."""

    name: str
    account: str
    idempotent: bool
    """Whether a second commit of the same upload id makes no second post. What is absent is sent again at once then."""

    def check(self) -> Health:
        """Whether the account can publish. Changes nothing."""

    def snapshot(self, kind: Kind) -> list[str]:
        """The ids of the recent media: store them before the commit, for `look` to know what is new."""

    def prepare(self, parcel: Parcel, upload_id: str, progress: MutableMapping[str, str]) -> Prepared:
        """Everything that nobody sees. What is there already is read from `progress` and what is new is noted in it.

        `upload_id` is minted once for a post (see `upload_id_at`) and stays its own whatever happens.
        """

    def commit(self, parcel: Parcel, prepared: Prepared) -> Receipt:
        """Make it visible: one call, sent once."""

    def look(self, parcel: Parcel, prepared: Prepared, before: Before) -> Found | Absent:
        """Whether it is published. A look that failed raises, so that it is never read as a no."""


def upload_id_at(moment: float) -> str:
    """An upload id, as Instagram's app mints them: milliseconds. Album pictures count on from it, so leave 11 of room."""
    return str(int(moment * 1000))


def said(text: object, hidden: Collection[str] = ()) -> str:
    """What a server said, fit for a sentence of ours: one short line, without the secrets it may repeat."""
    line = " ".join(str(text).split())
    for secret in sorted((each for each in hidden if each), key=len, reverse=True):
        line = line.replace(secret, "•••")
    line = re.sub(r"[A-Za-z0-9_\-+/=.:%]{32,}", "•••", line)  # what is that long and without a space is no word
    return line if len(line) <= SAID else line[: SAID - 1] + "…"


def check_account(parcel: Parcel, account: str) -> None:
    """A post goes to the account it was approved for, and to no other."""
    if parcel.account != account:
        raise PublishError(
            f"post {parcel.post_id} was approved for {parcel.account} and not for {account}: approve it for {account}",
            permanent=True,
        )


def keep(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; what stands in the way is told as a publisher's trouble."""
    try:
        write(path, data)
    except UserError as error:
        raise PublishError(str(error)) from None
