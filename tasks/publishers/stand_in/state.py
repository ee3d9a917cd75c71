"""Hold the stand-in's state: accounts, uploaded pictures and posts, in memory, and in a folder if one is given."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from models.system.files import write_file

MAX_DAILY_POSTS = 100  # through the official API


@dataclass(frozen=True)
class Account:
    """An account that may publish."""

    name: str = "rehearsal"
    user_id: str = "4100000001"
    password: str = field(default="", repr=False)
    totp: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


@dataclass
class Upload:
    """An uploaded picture that belongs to no post yet."""

    sha256: str
    size: int
    account: str


@dataclass
class Medium:
    """A published post."""

    id: str
    code: str
    account: str
    kind: str
    caption: str
    pictures: list[str]
    alts: list[str]
    upload_id: str
    taken_at: float
    ai_label: bool = False
    through: str = "phone"


@dataclass
class Container:
    """A post of the official API before it is published."""

    id: str
    account: str
    kind: str
    caption: str
    pictures: list[str]
    alts: list[str]
    ai_label: bool
    status: str = "IN_PROGRESS"
    polls: int = 0
    made_at: float = 0.0


@dataclass
class State:
    """All data of a stand-in, with its methods to save and load."""

    accounts: dict[str, Account]
    folder: Path | None = None
    echo: bool = True
    """True if the feed shows the upload id of a post."""
    skew: float = 0.0
    """Seconds by which this server's clock is ahead."""
    used: int = 0
    """Posts of the last day, as the official API counts them, in addition to those published here."""
    published: list[Medium] = field(default_factory=list)
    uploads: dict[str, Upload] = field(default_factory=dict)
    containers: dict[str, Container] = field(default_factory=dict)
    labelled: list[str] = field(default_factory=list)
    sessions: dict[str, str] = field(default_factory=dict)
    """Account by the hash of its session, so that no file holds one."""
    blobs: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    """Hash of every file in the S3-compatible storage, by path."""
    renewed: dict[str, str] = field(default_factory=dict)
    """Accounts by their renewed tokens. The old tokens stay valid."""
    count: int = 0

    def current_time(self) -> float:
        return time.time() + self.skew

    def new_number(self) -> str:
        """Return a new unique id."""
        self.count += 1
        return str(3_700_000_000_000_000_000 + self.count)

    def store_picture(self, data: bytes) -> str:
        """Store the bytes and return their hash, which is their name."""
        name = hashlib.sha256(data).hexdigest()
        if name not in self.blobs:
            self.blobs[name] = data
            if self.folder:
                write_file(self.folder / "pictures" / f"{name}.jpg", data)
        return name

    def load_picture(self, name: str) -> bytes | None:
        if name not in self.blobs and self.folder and (path := self.folder / "pictures" / f"{name}.jpg").is_file():
            self.blobs[name] = path.read_bytes()
        return self.blobs.get(name)

    def open_session(self, account: Account) -> str:
        """Create a session of the account."""
        session = f"{account.user_id}%3A{secrets.token_hex(12)}%3A7"
        self.sessions[_session_hash(session)] = account.name
        return session

    def account_of_session(self, session: str) -> Account | None:
        return self.accounts.get(self.sessions.get(_session_hash(session), ""))

    def account_of_token(self, token: str) -> Account | None:
        name = self.renewed.get(token, "")
        matches = (
            account for account in self.accounts.values() if token and (account.token == token or account.name == name)
        )
        return next(matches, None)

    def add_medium(
        self,
        account: Account,
        kind: str,
        caption: str,
        pictures: list[str],
        alts: list[str],
        upload_id: str,
        **more: Any,
    ) -> Medium:
        """Publish a post. Another call publishes another post."""
        number = self.new_number()
        code = f"S{self.count:010d}"
        medium = Medium(
            number, code, account.name, kind, caption, pictures, alts, upload_id, self.current_time(), **more
        )
        self.published.append(medium)
        return medium

    def list_media(self, account: Account, stories: bool = False) -> list[Medium]:
        """List the account's posts, newest first."""
        media = (
            medium
            for medium in self.published
            if medium.account == account.name and (medium.kind == "story") == stories
        )
        return sorted(media, key=lambda medium: int(medium.id), reverse=True)

    def save_state(self) -> None:
        if self.folder:
            lists = ("published", "uploads", "containers", "labelled", "sessions", "files", "count")
            values = {name: _to_json_values(getattr(self, name)) for name in lists}
            write_file(self.folder / "state.json", json.dumps(values, indent=1).encode())

    def load_state(self) -> None:
        """Load the state that an earlier server saved in this folder."""
        file = self.folder / "state.json" if self.folder else None
        if not file or not file.exists():
            return
        values = json.loads(file.read_text(encoding="utf-8"))
        self.published = [Medium(**fields) for fields in values.pop("published")]
        self.uploads = {key: Upload(**fields) for key, fields in values.pop("uploads").items()}
        self.containers = {key: Container(**fields) for key, fields in values.pop("containers").items()}
        for name, value in values.items():
            setattr(self, name, value)


def _to_json_values(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _to_json_values(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_to_json_values(item) for item in value]
    return asdict(value) if isinstance(value, (Upload, Medium, Container)) else value


def _session_hash(session: str) -> str:
    return hashlib.sha256(session.encode()).hexdigest()
