"""Define what a kind of publisher is: its name, how it is opened, and the limits of the place it publishes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydantic import SecretStr

from models.system.errors import UserError
from tasks.publishers.base import ALBUM_SIZES, Publisher

if TYPE_CHECKING:
    from tasks.settings.settings import LoadedSettings


@dataclass(frozen=True)
class PlaceRules:
    """The limits of a place for pictures."""

    place: str
    """The name of the place in messages."""
    jpeg_bytes: int
    """The most bytes of a picture."""
    min_width: int
    """The fewest pixels of a picture's width; the place would enlarge a narrower one."""
    feed_size: tuple[int, int]
    """The largest width and height in the feed; the place would shrink a larger picture."""
    story_size: tuple[int, int]
    """The largest width and height of a story."""
    feed_shape: tuple[int, int]
    """The narrowest picture of the feed, width by height; the place would crop a narrower one."""
    story_shape: tuple[int, int]
    """The narrowest picture of a story, width by height."""
    widest_ratio: float
    """Width by height of the widest picture."""
    album_sizes: range = ALBUM_SIZES
    """How many pictures an album may have."""


@dataclass(frozen=True)
class AccountCheck:
    """What is known, without the network, of the account that posts go to. `good` is None if it does not matter here."""

    good: bool | None
    message: str
    remedy: str = ""


class LogIn(Protocol):
    def __call__(
        self,
        loaded: LoadedSettings,
        account: str,
        ask: Callable[[str], str],
        ask_unseen: Callable[[str], str],
        address: str = "",
    ) -> Path:
        """Log in to an account in person, and return the file of its session. `address` is that of a stand-in."""


class RenewToken(Protocol):
    def __call__(self, loaded: LoadedSettings, account: str, api: str = "") -> tuple[Path, datetime]:
        """Replace the token of an account, and return its file and until when the new one is valid."""


@dataclass(frozen=True)
class PublisherKind:
    """A publisher as the settings name it. Its own libraries are imported when it is opened."""

    name: str
    open: Callable[[LoadedSettings, str], Publisher]
    """Open it for an account; raise `UserError` if a setting is missing."""
    check_account: Callable[[LoadedSettings], AccountCheck]
    rules: PlaceRules
    is_feed: bool = True
    """True if people read it as it comes, so that posts keep their distances, quiet hours and daily cap."""
    log_in: LogIn | None = None
    renew_token: RenewToken | None = None


def read_secret(value: SecretStr | None) -> str:
    """Return a secret as text; empty if it is not set."""
    return value.get_secret_value() if value else ""


def require_secret(value: SecretStr | None, name: str) -> str:
    """Return a secret as text, and raise if it is not set."""
    text = read_secret(value)
    if not text:
        raise UserError(f"a secret is missing: set RESTAGE_SECRETS__{name} in the environment or in .env")
    return text
