"""Backups: the whole studio in one file, taken while others work, and put back without losing what is there.

The rows come along as SQLite whatever the store is, so a backup also moves a store to another kind of database. Sessions of
accounts are secrets and stay behind, and so does what is made again by itself: caches, thumbnails, Prefect's own.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, delete, insert, select

from models.errors import UserError
from models.files import write
from models.progress import bar
from tasks.store import FILE, Store, instant
from tasks.tables import ALL, APPLIED

FORMAT = 1
LIST = "backup.json"
LEFT = ("accounts", "cache", "prefect", "replaced", "rehearsals")
"""Folders of the studio that no backup holds."""
STUDIO, PROJECT = "studio", "project"
BLOCK = 1 << 20
TABLES = [table for table in ALL.sorted_tables if table is not APPLIED]


@dataclass(frozen=True)
class Summary:
    files: int
    rows: int
    size: int
    kept: Path | None = None
    """Where what was replaced lies now."""


def backup(file: Path, store: Store, studio: Path, project: Path) -> Summary:
    """Write everything into a new file: the studio, and of the project's folder settings and personas."""
    if file.exists():
        raise UserError(f"{file} is there already: give another name, since a backup never replaces anything")
    with _whole(file) as half, tempfile.TemporaryDirectory() as scratch:
        # The rows first: what they name was on disk before they did, and stays there.
        rows = _copy_out(store, Path(scratch))
        found = {f"{STUDIO}/{name}": path for name, path in _files(studio)}
        found |= {f"{PROJECT}/{name}": path for name, path in _own(project)}
        with zipfile.ZipFile(half, "w", zipfile.ZIP_STORED) as made, bar("backup", len(found) + 1, "files") as advance:
            hashes = {FILE: _add(made, FILE, Path(scratch) / FILE)}
            advance(1)
            for name, path in found.items():
                digest = _add(made, name, path)
                hashes |= {name: digest} if digest else {}
                advance(1)
            head = {"format": FORMAT, "made_at": instant(), "rows": rows, "files": hashes}
            made.writestr(LIST, json.dumps(head, indent=1))
    return Summary(len(hashes) - 1, rows, file.stat().st_size)


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
    with _opened(file) as (source, head):
        _check(file, source, head)
        wanted = {name: _place(name, studio, project) for name in head["files"] if name != FILE}
        there = [name for name, place in wanted.items() if name.startswith(f"{STUDIO}/") and place.exists()]
        other = [wanted[name] for name in there if _hash(wanted[name]) != head["files"][name]]
        has_rows = _count(store) > 0
        if (other or has_rows) and not replace:
            what = f"{other[0]} differs from the backup's" if other else "the store holds posts or words already"
            raise UserError(
                f"{what}: restore into an empty studio, or give --replace, which moves what differs to"
                f" {studio / 'replaced'}"
            )
        kept = studio / "replaced" / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}" if other or has_rows else None
        if kept and has_rows:
            with tempfile.TemporaryDirectory() as scratch:
                _copy_out(store, Path(scratch))
                write(kept / FILE, (Path(scratch) / FILE).read_bytes())
        with bar("restore", len(wanted), "files") as advance:
            for name, place in wanted.items():
                if kept and place in other:
                    _move(place, kept / name)
                if not place.exists():
                    write(place, source.read(name))
                advance(1)
        rows = _copy_in(source.read(FILE), store, after)
    return Summary(len(wanted), rows, file.stat().st_size, kept)


def _files(studio: Path) -> Iterator[tuple[str, Path]]:
    """What a backup holds of a studio: no secrets, nothing that comes back by itself, no halves of files."""
    for folder, folders, files in os.walk(studio):
        place = Path(folder)
        hidden = LEFT if place == studio else ()
        folders[:] = sorted(each for each in folders if not each.startswith(".") and each not in hidden)
        for each in sorted(files):
            if not each.startswith(".") and not (place == studio and each.startswith(FILE)):
                yield (place / each).relative_to(studio).as_posix(), place / each


def _own(project: Path) -> Iterator[tuple[str, Path]]:
    """What a person wrote, which lies outside of the studio."""
    for path in (project / "settings.toml", *sorted((project / "prompts").rglob("*"))):
        if path.is_file() and not path.name.startswith("."):
            yield path.relative_to(project).as_posix(), path


def _place(name: str, studio: Path, project: Path) -> Path:
    where, _, rest = name.partition("/")
    return (studio if where == STUDIO else project) / rest


def _add(made: zipfile.ZipFile, name: str, path: Path) -> str:
    """Copy a file as it is now, and say the hash of that; one that is gone meanwhile was somebody's to take away."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as source:
            info = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
            with made.open(info, "w", force_zip64=True) as target:
                while block := source.read(BLOCK):
                    digest.update(block)
                    target.write(block)
    except FileNotFoundError:
        return ""
    return digest.hexdigest()


@contextmanager
def _whole(file: Path) -> Iterator[Path]:
    """A file to fill, which gets its name once it is complete."""
    half = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield half
        with half.open("rb") as made:
            os.fsync(made.fileno())
        half.rename(file)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UserError(f"{file} cannot be written ({why}): free space, or choose another place") from None
    finally:
        half.unlink(missing_ok=True)


@contextmanager
def _opened(file: Path) -> Iterator[tuple[zipfile.ZipFile, dict]]:
    try:
        with zipfile.ZipFile(file) as source:
            yield source, json.loads(source.read(LIST))
    except UserError:
        raise  # of what was done with it
    except FileNotFoundError:
        raise UserError(f"there is no backup at {file}: check the path") from None
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise UserError(f"{file} is not a whole backup ({error}): take another one") from None


def _check(file: Path, source: zipfile.ZipFile, head: dict) -> None:
    """Before anything is touched: every file is what it was, and belongs below the studio."""
    if head.get("format") != FORMAT:
        raise UserError(f"{file} was written by a newer restage: update restage to read it")
    with bar("checking the backup", len(head["files"]), "files") as advance:
        for name, digest in head["files"].items():
            first, *rest = name.split("/")
            if name != FILE and (first not in (STUDIO, PROJECT) or not rest or ".." in rest or "\\" in name):
                raise UserError(f"{file} holds {name!r}, which would lie outside of the studio: take another backup")
            if _hash_of(source, name) != digest:
                raise UserError(f"{file} is damaged at {name}: take another backup")
            advance(1)


def _hash_of(source: zipfile.ZipFile, name: str) -> str:
    with source.open(name) as entry:
        return hashlib.file_digest(entry, "sha256").hexdigest()  # type: ignore[arg-type]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _move(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    path.rename(to)


def _count(store: Store) -> int:
    with store.reading() as connection:
        return sum(len(connection.execute(select(table).limit(1)).all()) for table in TABLES)


def _copy_out(store: Store, folder: Path) -> int:
    """All rows, of one moment, as SQLite."""
    rows = 0
    with closing(Store.open("", folder)) as copy, store.reading() as source, copy.writing() as target:
        for table in TABLES:
            found = [dict(row) for row in source.execute(select(table)).mappings()]
            if found:
                target.execute(insert(table), found)
            rows += len(found)
    return rows


def _copy_in(data: bytes, store: Store, after: Callable[[Connection], None]) -> int:
    """In place of all rows that are there, in one transaction."""
    rows = 0
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / FILE).write_bytes(data)
        with (
            closing(Store.open("", Path(scratch))) as copy,
            copy.reading() as source,
            store.writing() as target,
        ):
            for table in reversed(TABLES):
                target.execute(delete(table))
            for table in TABLES:
                found = [dict(row) for row in source.execute(select(table)).mappings()]
                if found:
                    target.execute(insert(table), found)
                rows += len(found)
            after(target)
    return rows
