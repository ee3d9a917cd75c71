"""Backups: the whole studio in one file, taken while others work, and put back without losing what is there.

The rows come along as SQLite whatever the store is, so a backup also moves a store to another kind of database. Sessions of
accounts are secrets and stay behind, and so does what is made again by itself: caches, thumbnails, Prefect's own.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sqlalchemy import Connection

from models.system.errors import UserError
from models.system.files import path_exists, write_file
from models.system.progress import show_progress
from tasks.backup import archive, contents, rows
from tasks.backup.archive import FORMAT, LIST
from tasks.backup.contents import EXCLUDED_FOLDERS, READ_ERROR, SETTINGS, STUDIO, os_errors_about
from tasks.store.store import FILE, Store, utc_text

__all__ = ["EXCLUDED_FOLDERS", "BackupSummary", "restore_backup", "write_backup"]

BLOCK_BYTES = 1 << 20
# What systems answer where a file cannot have two names: FAT, some network folders, some phones.
NO_LINKS = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK)


@dataclass(frozen=True)
class BackupSummary:
    files: int
    rows: int
    size: int
    replaced: Path | None = None
    """Where what was replaced lies now."""


def write_backup(file: Path, store: Store, studio: Path, project: Path, settings: Path | None = None) -> BackupSummary:
    """Write everything into a new file: the studio, and the settings and personas of the project's folder.

    `settings` is the settings file in force, if it is not the project's settings.toml.
    """
    if path_exists(file):
        raise _name_taken_error(file)
    settings = _settings_file(settings or project / SETTINGS)
    with _complete_file(file) as half:
        # Pointers, then rows, then the list: what each of them names was on disk before it, and stays there.
        pointers = contents.read_pointers(studio)
        pointers[FILE], count = rows.export_rows(store)
        files = contents.list_files(studio, project, settings)
        # In the archive pointers stand last, so that what comes back before them is what they name.
        names = [*(name for name in files if name not in pointers), *pointers]
        hashes: dict[str, str] = {}
        with (
            zipfile.ZipFile(half, "w", zipfile.ZIP_STORED) as zip_file,
            show_progress("backup", len(names), "files") as advance,
        ):
            for name in names:
                digest = (
                    _add_data(zip_file, name, pointers[name])
                    if name in pointers
                    else _add_file(zip_file, name, files[name])
                )
                hashes |= {name: digest} if digest else {}
                advance(1)
            head = {
                "format": FORMAT,
                "made_at": utc_text(store.clock()),
                "rows": count,
                "settings": settings.name,
                "files": hashes,
            }
            zip_file.writestr(LIST, json.dumps(head, indent=1))
    return BackupSummary(len(hashes) - 1, count, file.stat().st_size)


def restore_backup(
    file: Path,
    store: Store,
    studio: Path,
    project: Path,
    replace: bool = False,
    after: Callable[[Connection], None] = lambda _: None,
) -> BackupSummary:
    """Restore a backup. Files that exist and differ stop it or, with `replace`, are moved to `studio/replaced`.

    Settings and personas are restored only where they are missing. After an interruption the same call finishes the work:
    the rows come last, in one transaction, together with the changes that `after` makes to them.
    """
    with archive.open_archive(file) as source:
        places = source.check_files(studio, project)
        existing = [name for name, place in places.items() if name.startswith(f"{STUDIO}/") and path_exists(place)]
        different = [name for name in existing if _file_hash(places[name]) != source.files[name]]
        has_rows = rows.has_rows(store)
        if (different or has_rows) and not replace:
            reason = (
                f"{different[0]} differs from the backup's" if different else "the store holds posts or words already"
            )
            raise UserError(
                f"{reason}: restore into an empty studio, or give --replace, which moves what differs to"
                f" {studio / 'replaced'}"
            )
        replaced = studio / "replaced" / f"{store.clock():%Y-%m-%dT%H-%M-%S}" if different or has_rows else None
        if replaced and has_rows:
            write_file(replaced / FILE, rows.export_rows(store)[0])
        with show_progress("restore", len(places), "files") as advance:
            for name, place in places.items():
                if replaced and name in different:
                    _move_away(place, replaced / name)
                if not path_exists(place):
                    write_file(place, source.read_file(name))
                advance(1)
        count = rows.import_rows(source.read_file(FILE), store, after)
    return BackupSummary(len(places), count, file.stat().st_size, replaced)


def _settings_file(file: Path) -> Path:
    """Return the path of the settings file itself, with links resolved: its folder is the project's folder."""
    file = file.resolve()
    if not contents.may_be_settings(file.name):
        raise UserError(f"the settings file {file} has a name that no backup holds: give it one that ends in .toml")
    return file


def _add_data(zip_file: zipfile.ZipFile, name: str, data: bytes) -> str:
    zip_file.writestr(name, data)
    return hashlib.sha256(data).hexdigest()


def _add_file(zip_file: zipfile.ZipFile, name: str, path: Path) -> str:
    """Copy a file as it is now and return the hash of what was copied; return an empty text where it was deleted meanwhile."""
    with os_errors_about(path, *READ_ERROR):
        try:
            info = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
            source = path.open("rb")
        except FileNotFoundError:
            return ""
    digest = hashlib.sha256()
    with source, zip_file.open(info, "w", force_zip64=True) as target:
        for block in _read_blocks(source, path):
            digest.update(block)
            target.write(block)
    return digest.hexdigest()


def _read_blocks(source: IO[bytes], path: Path) -> Iterator[bytes]:
    """Read a file block by block and report errors as errors of reading it, not of writing the backup."""
    with os_errors_about(path, *READ_ERROR):
        while block := source.read(BLOCK_BYTES):
            yield block


@contextmanager
def _complete_file(file: Path) -> Iterator[Path]:
    """Give a temporary file to fill, and rename it once it is complete."""
    half = file.with_name(f".{file.name}.{os.getpid()}.part")
    with os_errors_about(file, "written", "free space, or choose another place"):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            yield half
            with half.open("rb+") as handle:
                os.fsync(handle.fileno())
            _name_finished(half, file)
        finally:
            half.unlink(missing_ok=True)


def _name_finished(half: Path, file: Path) -> None:
    """Give the finished file its name; a file that appeared under this name meanwhile is kept."""
    try:
        os.link(half, file)
    except FileExistsError:
        raise _name_taken_error(file) from None
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        _claim_name(half, file)
    half.unlink(missing_ok=True)
    if os.name == "posix":  # the name itself must survive a power cut
        handle = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _claim_name(half: Path, file: Path) -> None:
    """Reserve the name with an empty file where links are not supported, then put the backup in its place."""
    try:
        file.open("xb").close()
    except FileExistsError:
        raise _name_taken_error(file) from None
    try:
        half.replace(file)
    except OSError:
        file.unlink(missing_ok=True)
        raise


def _name_taken_error(file: Path) -> UserError:
    return UserError(f"{file} is there already: give another name, since a backup never replaces anything")


def _file_hash(path: Path) -> str:
    with os_errors_about(path, *READ_ERROR), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _move_away(path: Path, to: Path) -> None:
    """Move a file, also onto another disk: it is copied completely before it is deleted here. A link's target is copied."""
    with os_errors_about(path, f"moved to {to}", "free space, or check the rights of both folders"):
        to.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_symlink():
            try:
                path.rename(to)
                return
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
    with os_errors_about(path, *READ_ERROR):
        data = path.read_bytes()
    write_file(to, data)
    with os_errors_about(path, "taken away", "check the rights of its folder"):
        path.unlink()
