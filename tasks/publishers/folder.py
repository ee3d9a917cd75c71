"""Posts as folders on disk: the dry run, and the way out for whoever publishes by hand."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models.system.files import is_abandoned
from tasks.publishers.base import (
    Absent,
    Before,
    Found,
    Health,
    Kind,
    Parcel,
    Prepared,
    PublishError,
    Receipt,
    check_account,
    keep,
)
from tasks.publishers.instagram_picture_rules import read_approved

VERSION = 1
RECENT = 100
FOLDER = "posts"
NAMESAKES = 100  # posts of one shot on one day


class Folder:
    """`studio/posts/<date>-<persona>-<shot>/` with the JPEGs, caption.txt and post.json. A rename is the commit."""

    name = "folder"
    idempotent = True

    def __init__(self, studio: Path, account: str) -> None:
        self.root = studio / FOLDER
        self.account = account

    def check(self) -> Health:
        place = next(each for each in (self.root, *self.root.absolute().parents) if each.is_dir())
        ok = os.access(place, os.W_OK)
        says = f"posts are written to {self.root}" if ok else f"{place} cannot be written: check its rights"
        return Health(self.account, ok, says, person=not ok)

    def snapshot(self, kind: Kind) -> list[str]:
        return [folder.name for folder, _ in self._posts()][-RECENT:]

    def prepare(self, parcel: Parcel, upload_id: str, progress: MutableMapping[str, str]) -> Prepared:
        check_account(parcel, self.account)
        prepared = Prepared(upload_id)
        if self._find(parcel, upload_id):
            return prepared
        place = self._own(parcel, upload_id)
        names = [f"{number}.jpg" for number in range(1, len(parcel.pictures) + 1)]
        for name, picture in zip(names, parcel.pictures, strict=True):
            keep(place / name, read_approved(picture))
        keep(place / "caption.txt", (parcel.caption + "\n").encode())
        keep(place / "post.json", _record(parcel, upload_id, names))
        self._hand_over(place, self._waiting(parcel, upload_id))
        progress["folder"] = self._waiting(parcel, upload_id).name
        return prepared

    def commit(self, parcel: Parcel, prepared: Prepared) -> Receipt:
        check_account(parcel, self.account)
        with _alone(self.root):
            there, waiting = self._find(parcel, prepared.upload_id), self._waiting(parcel, prepared.upload_id)
            if there:
                shutil.rmtree(waiting, ignore_errors=True)  # a copy of a post that is there
                return _receipt(there)
            place = next(self._free(parcel))
            try:
                waiting.rename(place)
            except FileNotFoundError:
                raise PublishError(
                    f"what was prepared for post {parcel.post_id} is gone from {self.root}: prepare it again"
                ) from None
            except OSError as error:
                raise PublishError(
                    f"{place} cannot be written ({_why(error)}): check the rights and the disk"
                ) from None
            _settle(self.root)
            return _receipt(place)

    def look(self, parcel: Parcel, prepared: Prepared, before: Before) -> Found | Absent:
        there = self._find(parcel, prepared.upload_id)
        if there:
            return Found(_receipt(there), f"{there} holds upload id {prepared.upload_id}")
        return Absent(f"no folder in {self.root} holds upload id {prepared.upload_id}")

    def _waiting(self, parcel: Parcel, upload_id: str) -> Path:
        return self.root / f".{_stem(parcel)}.{_plain(upload_id)}"

    def _own(self, parcel: Parcel, upload_id: str) -> Path:
        """A folder to fill that nobody else writes to; those of processes that were killed are swept away in time."""
        waiting = self._waiting(parcel, upload_id)
        for old in self.root.glob(f"{waiting.name}.*"):
            if is_abandoned(old):
                shutil.rmtree(old, ignore_errors=True)
        return waiting.with_name(f"{waiting.name}.{secrets.token_hex(4)}")

    def _hand_over(self, place: Path, waiting: Path) -> None:
        """From now on it is what the commit takes. Where another preparation was quicker, that one is as good."""
        try:
            place.rename(waiting)
        except OSError as error:
            shutil.rmtree(place, ignore_errors=True)
            # The other one may be committed by now, and its folder no longer wait.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise PublishError(
                    f"{waiting} cannot be written ({_why(error)}): check the rights and the disk"
                ) from None

    def _free(self, parcel: Parcel) -> Iterator[Path]:
        names = [_stem(parcel), *(f"{_stem(parcel)}-{number}" for number in range(2, NAMESAKES + 1))]
        yield from (self.root / name for name in names if not (self.root / name).exists())

    def _find(self, parcel: Parcel, upload_id: str) -> Path | None:
        stem = _stem(parcel)
        namesakes = (each for each in self._posts() if re.fullmatch(re.escape(stem) + r"(-\d+)?", each[0].name))
        return next((folder for folder, record in namesakes if record.get("upload_id") == upload_id), None)

    def _posts(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """The folders that are posts, oldest name first. One whose record cannot be read might be any post: it stops us."""
        if not self.root.exists():
            return
        try:
            folders = sorted(self.root.iterdir())
        except OSError as error:
            raise PublishError(f"{self.root} cannot be read ({_why(error)}): check its rights") from None
        for folder in folders:
            record = folder / "post.json"
            if folder.name.startswith(".") or not record.is_file():
                continue
            try:
                yield folder, dict(json.loads(record.read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError) as error:
                raise PublishError(f"{record} cannot be read ({error}): mend it, or move its folder away") from None


def _record(parcel: Parcel, upload_id: str, names: list[str]) -> bytes:
    pictures = [
        {"file": name, "sha256": picture.sha256, "alt": alt}
        for name, picture, alt in zip(names, parcel.pictures, parcel.alts, strict=True)
    ]
    record = {
        "version": VERSION,
        "post": parcel.post_id,
        "upload_id": upload_id,
        "account": parcel.account,
        "persona": parcel.persona,
        "shot": parcel.shot,
        "kind": parcel.kind,
        "when": parcel.when.isoformat(),
        "ai_label": parcel.ai_label,
        "caption": parcel.caption,
        "pictures": pictures,
    }
    return (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode()


def _receipt(folder: Path) -> Receipt:
    return Receipt("folder", folder.name, folder.absolute().as_uri())


def _stem(parcel: Parcel) -> str:
    return f"{parcel.when:%Y-%m-%d}-{_plain(parcel.persona)}-{_plain(parcel.shot)}"


def _plain(name: str) -> str:
    """No name leads out of the folder it is put into."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One commit at a time, over all processes; a killed one lets go by itself."""
    try:
        import fcntl
    except ImportError:  # elsewhere the claims on posts have to do
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _settle(folder: Path) -> None:
    """A rename survives a power cut only once the folder that holds the name is on disk."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
