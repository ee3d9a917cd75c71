"""Write posts as folders on disk, for a dry run or for publishing by hand."""

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
from typing import TYPE_CHECKING, Any

from models.system.files import is_abandoned
from tasks.publishers.base import (
    Absent,
    ApprovedPost,
    BeforeCommit,
    FoundOnAccount,
    Health,
    Kind,
    PreparedUpload,
    PublishError,
    Receipt,
    check_account,
    write_or_raise,
)
from tasks.publishers.instagram_rules import INSTAGRAM_RULES
from tasks.publishers.kind import AccountCheck, PublisherKind
from tasks.publishers.picture_rules import read_approved

if TYPE_CHECKING:
    from tasks.settings.settings import LoadedSettings

RECORD_VERSION = 1
MAX_RECENT_POSTS = 100
POSTS_FOLDER = "posts"
MAX_NAMESAKES = 100  # posts of one shot on one day


class Folder:
    """`studio/posts/<date>-<persona>-<shot>/` with the JPEGs, caption.txt and post.json. A rename is the commit."""

    name = "folder"
    idempotent = True

    def __init__(self, studio: Path, account: str) -> None:
        self.root = studio / POSTS_FOLDER
        self.account = account

    def check_health(self) -> Health:
        existing_folder = next(path for path in (self.root, *self.root.absolute().parents) if path.is_dir())
        ok = os.access(existing_folder, os.W_OK)
        status = f"posts are written to {self.root}" if ok else f"{existing_folder} cannot be written: check its rights"
        return Health(self.account, ok, status, person=not ok)

    def list_recent_media(self, kind: Kind) -> list[str]:
        return [folder.name for folder, _ in self._read_posts()][-MAX_RECENT_POSTS:]

    def prepare(self, parcel: ApprovedPost, upload_id: str, progress: MutableMapping[str, str]) -> PreparedUpload:
        check_account(parcel, self.account)
        prepared = PreparedUpload(upload_id)
        if self._find_folder(parcel, upload_id):
            return prepared
        work_folder = self._new_work_folder(parcel, upload_id)
        names = [f"{number}.jpg" for number in range(1, len(parcel.pictures) + 1)]
        for name, picture in zip(names, parcel.pictures, strict=True):
            write_or_raise(work_folder / name, read_approved(picture))
        write_or_raise(work_folder / "caption.txt", (parcel.caption + "\n").encode())
        write_or_raise(work_folder / "post.json", _encode_record(parcel, upload_id, names))
        self._make_pending(work_folder, self._pending_folder(parcel, upload_id))
        progress["folder"] = self._pending_folder(parcel, upload_id).name
        return prepared

    def commit(self, parcel: ApprovedPost, prepared: PreparedUpload) -> Receipt:
        check_account(parcel, self.account)
        with _exclusive_commit(self.root):
            published_folder, pending = (
                self._find_folder(parcel, prepared.upload_id),
                self._pending_folder(parcel, prepared.upload_id),
            )
            if published_folder:
                shutil.rmtree(pending, ignore_errors=True)  # a copy of a post that is published already
                return _folder_receipt(published_folder)
            folder = next(self._free_folders(parcel))
            try:
                pending.rename(folder)
            except FileNotFoundError:
                raise PublishError(
                    f"what was prepared for post {parcel.post_id} is gone from {self.root}: prepare it again"
                ) from None
            except OSError as error:
                raise PublishError(
                    f"{folder} cannot be written ({_error_text(error)}): check the rights and the disk"
                ) from None
            _sync_folder(self.root)
            return _folder_receipt(folder)

    def find_published(
        self, parcel: ApprovedPost, prepared: PreparedUpload, before: BeforeCommit
    ) -> FoundOnAccount | Absent:
        folder = self._find_folder(parcel, prepared.upload_id)
        if folder:
            return FoundOnAccount(_folder_receipt(folder), f"{folder} holds upload id {prepared.upload_id}")
        return Absent(f"no folder in {self.root} holds upload id {prepared.upload_id}")

    def _pending_folder(self, parcel: ApprovedPost, upload_id: str) -> Path:
        return self.root / f".{_folder_stem(parcel)}.{_safe_file_name(upload_id)}"

    def _new_work_folder(self, parcel: ApprovedPost, upload_id: str) -> Path:
        """Return a folder path that no other process writes to, and delete abandoned ones of killed processes."""
        pending = self._pending_folder(parcel, upload_id)
        for old in self.root.glob(f"{pending.name}.*"):
            if is_abandoned(old):
                shutil.rmtree(old, ignore_errors=True)
        return pending.with_name(f"{pending.name}.{secrets.token_hex(4)}")

    def _make_pending(self, work_folder: Path, pending: Path) -> None:
        """Rename the work folder to the one that the commit takes. If another process was quicker, use its folder."""
        try:
            work_folder.rename(pending)
        except OSError as error:
            shutil.rmtree(work_folder, ignore_errors=True)
            # The other process may have committed its folder by now.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise PublishError(
                    f"{pending} cannot be written ({_error_text(error)}): check the rights and the disk"
                ) from None

    def _free_folders(self, parcel: ApprovedPost) -> Iterator[Path]:
        names = [_folder_stem(parcel), *(f"{_folder_stem(parcel)}-{number}" for number in range(2, MAX_NAMESAKES + 1))]
        yield from (self.root / name for name in names if not (self.root / name).exists())

    def _find_folder(self, parcel: ApprovedPost, upload_id: str) -> Path | None:
        stem = _folder_stem(parcel)
        namesakes = (post for post in self._read_posts() if re.fullmatch(re.escape(stem) + r"(-\d+)?", post[0].name))
        return next((folder for folder, record in namesakes if record.get("upload_id") == upload_id), None)

    def _read_posts(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """List the post folders and their records, oldest name first. Raise if a record cannot be read: it may be any post."""
        if not self.root.exists():
            return
        try:
            folders = sorted(self.root.iterdir())
        except OSError as error:
            raise PublishError(f"{self.root} cannot be read ({_error_text(error)}): check its rights") from None
        for folder in folders:
            record = folder / "post.json"
            if folder.name.startswith(".") or not record.is_file():
                continue
            try:
                yield folder, dict(json.loads(record.read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError) as error:
                raise PublishError(f"{record} cannot be read ({error}): mend it, or move its folder away") from None


def _encode_record(parcel: ApprovedPost, upload_id: str, names: list[str]) -> bytes:
    pictures = [
        {"file": name, "sha256": picture.sha256, "alt": alt}
        for name, picture, alt in zip(names, parcel.pictures, parcel.alts, strict=True)
    ]
    record = {
        "version": RECORD_VERSION,
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


def _folder_receipt(folder: Path) -> Receipt:
    return Receipt("folder", folder.name, folder.absolute().as_uri())


def _folder_stem(parcel: ApprovedPost) -> str:
    return f"{parcel.when:%Y-%m-%d}-{_safe_file_name(parcel.persona)}-{_safe_file_name(parcel.shot)}"


def _safe_file_name(name: str) -> str:
    """Replace every character that could lead out of the folder."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)


@contextmanager
def _exclusive_commit(folder: Path) -> Iterator[None]:
    """Allow one commit at a time among all processes; the lock of a killed process ends by itself."""
    try:
        import fcntl
    except ImportError:  # no fcntl on Windows: only the leases on accounts protect there
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sync_folder(folder: Path) -> None:
    """Sync the folder to disk, without which a rename may be lost in a power cut."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _error_text(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def open_publisher(loaded: LoadedSettings, account: str) -> Folder:
    return Folder(loaded.studio, account)


def describe_account(loaded: LoadedSettings) -> AccountCheck:
    """Report that a folder needs no account."""
    return AccountCheck(None, "posts are written to disk (publishing.dry_run or publisher = folder)")


KIND = PublisherKind("folder", open_publisher, describe_account, INSTAGRAM_RULES, is_feed=False)
