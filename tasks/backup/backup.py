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
from models.system.files import is_there, write
from models.system.progress import bar
from tasks.backup import archive, contents, rows
from tasks.backup.archive import FORMAT, LIST
from tasks.backup.contents import LEFT, READ, SETTINGS, STUDIO, at
from tasks.store.store import FILE, Store, instant

__all__ = ["LEFT", "Summary", "backup", "restore"]

BLOCK = 1 << 20
# What systems answer where a file cannot have two names: FAT, some network folders, some phones.
NO_LINKS = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK)


@dataclass(frozen=True)
class Summary:
    files: int
    rows: int
    size: int
    kept: Path | None = None
    """Where what was replaced lies now."""


def backup(file: Path, store: Store, studio: Path, project: Path, settings: Path | None = None) -> Summary:
    """Write everything into a new file: the studio, and of the project's folder settings and personas.

    `settings` is the settings file in force, where it is another than the project's settings.toml.
    """
    if is_there(file):
        raise _taken(file)
    settings = _settings(settings or project / SETTINGS)
    with _whole(file) as half:
        # Pointers, then rows, then the list: what each of them names was on disk before it, and stays there.
        held = contents.pointers(studio)
        held[FILE], count = rows.out(store)
        found = contents.files(studio, project, settings)
        # In the archive pointers stand last, so that what comes back before them is what they name.
        names = [*(name for name in found if name not in held), *held]
        hashes: dict[str, str] = {}
        with zipfile.ZipFile(half, "w", zipfile.ZIP_STORED) as made, bar("backup", len(names), "files") as advance:
            for name in names:
                digest = _put(made, name, held[name]) if name in held else _add(made, name, found[name])
                hashes |= {name: digest} if digest else {}
                advance(1)
            head = {
                "format": FORMAT,
                "made_at": instant(store.clock()),
                "rows": count,
                "settings": settings.name,
                "files": hashes,
            }
            made.writestr(LIST, json.dumps(head, indent=1))
    return Summary(len(hashes) - 1, count, file.stat().st_size)


def restore(
    file: Path,
    store: Store,
    studio: Path,
    project: Path,
    replace: bool = False,
    after: Callable[[Connection], None] = lambda _: None,
) -> Summary:
    """Put a backup back. What is there and differs is a reason to stop or, with `replace`, is moved to `studio/replaced`.

    Settings and personas come back only where they are missing. Stopped at any moment, the same call finishes it: the rows
    come last, all at once, with what `after` does to them.
    """
    with archive.opened(file) as source:
        wanted = source.check(studio, project)
        there = [name for name, place in wanted.items() if name.startswith(f"{STUDIO}/") and is_there(place)]
        other = [name for name in there if _hash(wanted[name]) != source.files[name]]
        has_rows = rows.are_there(store)
        if (other or has_rows) and not replace:
            what = f"{other[0]} differs from the backup's" if other else "the store holds posts or words already"
            raise UserError(
                f"{what}: restore into an empty studio, or give --replace, which moves what differs to"
                f" {studio / 'replaced'}"
            )
        kept = studio / "replaced" / f"{store.clock():%Y-%m-%dT%H-%M-%S}" if other or has_rows else None
        if kept and has_rows:
            write(kept / FILE, rows.out(store)[0])
        with bar("restore", len(wanted), "files") as advance:
            for name, place in wanted.items():
                if kept and name in other:
                    _move(place, kept / name)
                if not is_there(place):
                    write(place, source.read(name))
                advance(1)
        count = rows.put_back(source.read(FILE), store, after)
    return Summary(len(wanted), count, file.stat().st_size, kept)


def _settings(file: Path) -> Path:
    """The file itself, whose folder is the project's, however it was named."""
    file = file.resolve()
    if not contents.may_be_settings(file.name):
        raise UserError(f"the settings file {file} has a name that no backup holds: give it one that ends in .toml")
    return file


def _put(made: zipfile.ZipFile, name: str, data: bytes) -> str:
    made.writestr(name, data)
    return hashlib.sha256(data).hexdigest()


def _add(made: zipfile.ZipFile, name: str, path: Path) -> str:
    """Copy a file as it is now, and say the hash of that; one that is gone meanwhile was somebody's to take away."""
    with at(path, *READ):
        try:
            info = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
            source = path.open("rb")
        except FileNotFoundError:
            return ""
    digest = hashlib.sha256()
    with source, made.open(info, "w", force_zip64=True) as target:
        for block in _blocks(source, path):
            digest.update(block)
            target.write(block)
    return digest.hexdigest()


def _blocks(source: IO[bytes], path: Path) -> Iterator[bytes]:
    """What goes wrong here is of what is read, and not of what is written."""
    with at(path, *READ):
        while block := source.read(BLOCK):
            yield block


@contextmanager
def _whole(file: Path) -> Iterator[Path]:
    """A file to fill, which gets its name once it is complete."""
    half = file.with_name(f".{file.name}.{os.getpid()}.part")
    with at(file, "written", "free space, or choose another place"):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            yield half
            with half.open("rb+") as made:
                os.fsync(made.fileno())
            _name(half, file)
        finally:
            half.unlink(missing_ok=True)


def _name(half: Path, file: Path) -> None:
    """A file that came under this name meanwhile stays."""
    try:
        os.link(half, file)
    except FileExistsError:
        raise _taken(file) from None
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        _claim(half, file)
    half.unlink(missing_ok=True)
    if os.name == "posix":  # the name itself must survive a power cut
        handle = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _claim(half: Path, file: Path) -> None:
    """Without links: an empty file of our own holds the name until the backup takes its place."""
    try:
        file.open("xb").close()
    except FileExistsError:
        raise _taken(file) from None
    try:
        half.replace(file)
    except OSError:
        file.unlink(missing_ok=True)
        raise


def _taken(file: Path) -> UserError:
    return UserError(f"{file} is there already: give another name, since a backup never replaces anything")


def _hash(path: Path) -> str:
    with at(path, *READ), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _move(path: Path, to: Path) -> None:
    """Also onto another disk, where it is copied whole before it is taken away here; of a link, what it leads to."""
    with at(path, f"moved to {to}", "free space, or check the rights of both folders"):
        to.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_symlink():
            try:
                path.rename(to)
                return
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
    with at(path, *READ):
        data = path.read_bytes()
    write(to, data)
    with at(path, "taken away", "check the rights of its folder"):
        path.unlink()
