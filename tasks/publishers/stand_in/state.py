"""What the stand-in knows: accounts, pictures it was sent, and what was published. In memory, and in a folder if given."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from models.system.files import write

LIMIT = 100  # posts a day through the official API


@dataclass(frozen=True)
class Account:
    """Somebody who may publish here."""

    name: str = "rehearsal"
    user_id: str = "4100000001"
    password: str = field(default="", repr=False)
    totp: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


@dataclass
class Upload:
    """A picture that was sent and belongs to no post yet."""

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
    """A post of the official API on its way."""

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
    """Everything, and how to keep it."""

    accounts: dict[str, Account]
    folder: Path | None = None
    echo: bool = True
    """Whether the feed shows the upload id of a post."""
    skew: float = 0.0
    """Seconds by which this server's clock is ahead."""
    used: int = 0
    """Posts of the last day, as the official API counts them, besides those published here."""
    published: list[Medium] = field(default_factory=list)
    uploads: dict[str, Upload] = field(default_factory=dict)
    containers: dict[str, Container] = field(default_factory=dict)
    labelled: list[str] = field(default_factory=list)
    sessions: dict[str, str] = field(default_factory=dict)
    """Account by the hash of its session, so that no file holds one."""
    blobs: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    """Hash of what was put into the storage, by path."""
    renewed: dict[str, str] = field(default_factory=dict)
    """Accounts by the tokens they were given here. The old ones stay good."""
    count: int = 0

    def now(self) -> float:
        return time.time() + self.skew

    def number(self) -> str:
        """An id that was not given before."""
        self.count += 1
        return str(3_700_000_000_000_000_000 + self.count)

    def keep(self, data: bytes) -> str:
        """Hold the bytes; they are named by their hash."""
        name = hashlib.sha256(data).hexdigest()
        if name not in self.blobs:
            self.blobs[name] = data
            if self.folder:
                write(self.folder / "pictures" / f"{name}.jpg", data)
        return name

    def data(self, name: str) -> bytes | None:
        if name not in self.blobs and self.folder and (path := self.folder / "pictures" / f"{name}.jpg").is_file():
            self.blobs[name] = path.read_bytes()
        return self.blobs.get(name)

    def open_session(self, account: Account) -> str:
        """A new session of the account."""
        session = f"{account.user_id}%3A{secrets.token_hex(12)}%3A7"
        self.sessions[_hash(session)] = account.name
        return session

    def whose(self, session: str) -> Account | None:
        return self.accounts.get(self.sessions.get(_hash(session), ""))

    def by_token(self, token: str) -> Account | None:
        name = self.renewed.get(token, "")
        known = (each for each in self.accounts.values() if token and (each.token == token or each.name == name))
        return next(known, None)

    def publish(
        self,
        account: Account,
        kind: str,
        caption: str,
        pictures: list[str],
        alts: list[str],
        upload_id: str,
        **more: Any,
    ) -> Medium:
        """Make a post. Another call makes another post."""
        number = self.number()
        code = f"S{self.count:010d}"
        medium = Medium(number, code, account.name, kind, caption, pictures, alts, upload_id, self.now(), **more)
        self.published.append(medium)
        return medium

    def of(self, account: Account, stories: bool = False) -> list[Medium]:
        """The account's posts, newest first."""
        mine = (each for each in self.published if each.account == account.name and (each.kind == "story") == stories)
        return sorted(mine, key=lambda each: int(each.id), reverse=True)

    def save(self) -> None:
        if self.folder:
            lists = ("published", "uploads", "containers", "labelled", "sessions", "files", "count")
            kept = {name: _plain(getattr(self, name)) for name in lists}
            write(self.folder / "state.json", json.dumps(kept, indent=1).encode())

    def load(self) -> None:
        """Go on from what an earlier server of this folder knew."""
        file = self.folder / "state.json" if self.folder else None
        if not file or not file.exists():
            return
        kept = json.loads(file.read_text(encoding="utf-8"))
        self.published = [Medium(**each) for each in kept.pop("published")]
        self.uploads = {key: Upload(**each) for key, each in kept.pop("uploads").items()}
        self.containers = {key: Container(**each) for key, each in kept.pop("containers").items()}
        for name, value in kept.items():
            setattr(self, name, value)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return asdict(value) if isinstance(value, (Upload, Medium, Container)) else value


def _hash(session: str) -> str:
    return hashlib.sha256(session.encode()).hexdigest()
