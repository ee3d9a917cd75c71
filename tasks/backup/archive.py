"""The file of a backup, opened and checked before anything of it is put anywhere."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tomllib
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from models.system.errors import UserError
from models.system.progress import bar
from tasks.backup.contents import LOCK, PROJECT, SETTINGS, STUDIO, belongs, is_plain
from tasks.store.store import FILE

FORMAT = 1
LIST = "backup.json"
# What reading a damaged archive raises, by where the damage is.
DAMAGE = (zipfile.BadZipFile, zlib.error, KeyError, EOFError, NotImplementedError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Archive:
    """A backup that is open."""

    file: Path
    source: zipfile.ZipFile
    files: Mapping[str, str]
    """The hash of each file, by its name in the backup."""
    settings: str
    """The name of the settings file that it was made with."""

    def read(self, name: str) -> bytes:
        with self._reading(name):
            return self.source.read(name)

    def check(self, studio: Path, project: Path) -> dict[str, Path]:
        """Where each file belongs. All are what they were, are what a backup holds, and have their place below ours."""
        places = {name: self._place(name, studio, project) for name in self.files if name not in (FILE, LOCK)}
        with bar("checking the backup", len(self.files), "files") as advance:
            for name, digest in self.files.items():
                if self._hash(name) != digest:
                    raise UserError(f"{self.file} is damaged at {name}: take another backup")
                advance(1)
        own = f"{PROJECT}/{self.settings}"
        if self.settings != SETTINGS and own in places:
            self._check_settings(self.read(own))
        return places

    def _place(self, name: str, studio: Path, project: Path) -> Path:
        where, _, rest = name.partition("/")
        root = studio if where == STUDIO else project
        if not is_plain(name) or not _is_below(root, root / rest):
            raise UserError(f"{self.file} holds {name!r}, which would lie outside of the studio: take another backup")
        if not belongs(name, self.settings):
            raise UserError(f"{self.file} holds {name!r}, which restage puts into no backup: take another backup")
        return root / rest

    def _check_settings(self, data: bytes) -> None:
        """It may have any name, so it has to be what it says: a list of values, and nothing that could be run."""
        try:
            tomllib.loads(data.decode("utf-8-sig"))
        except ValueError:
            raise UserError(
                f"{self.file} holds {self.settings!r} as settings, which it is not: take another backup"
            ) from None

    def _hash(self, name: str) -> str:
        with self._reading(name), self.source.open(name) as entry:
            return hashlib.file_digest(entry, "sha256").hexdigest()  # type: ignore[arg-type]

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except (*DAMAGE, OSError) as error:
            raise _told(self.file, error, f"{self.file} is damaged at {name}: take another backup") from None


@contextmanager
def opened(file: Path) -> Iterator[Archive]:
    """A backup to take things from, with its list."""
    try:
        source = zipfile.ZipFile(file)
    except FileNotFoundError:
        raise UserError(f"there is no backup at {file}: check the path") from None
    except (*DAMAGE, OSError) as error:
        raise _told(file, error, f"{file} is not a whole backup ({error}): take another one") from None
    with source:
        yield _listed(file, source)


def _listed(file: Path, source: zipfile.ZipFile) -> Archive:
    try:
        head = json.loads(source.read(LIST))
        files = dict(head["files"])
        if not all(isinstance(each, str) for each in (files[FILE], *files.values())):
            raise ValueError("its list is damaged")
    except (*DAMAGE, OSError, TypeError) as error:
        raise _told(file, error, f"{file} is not a whole backup ({error}): take another one") from None
    if head.get("format") != FORMAT:
        raise UserError(f"{file} was written by a newer restage: update restage to read it")
    return Archive(file, source, files, str(head.get("settings", SETTINGS)))


def _told(file: Path, error: Exception, damaged: str) -> UserError:
    """A disk that fails is no damage of the backup; a place in the file that cannot be is."""
    if isinstance(error, OSError) and error.errno != errno.EINVAL:
        why = (error.strerror or str(error)).lower()
        return UserError(f"{file} cannot be read ({why}): check its rights and the disk")
    return UserError(damaged)


def _is_below(root: Path, place: Path) -> bool:
    """By the name alone, since folders of a studio may be links that lead to a larger disk."""
    return Path(os.path.normpath(place.absolute())).is_relative_to(os.path.normpath(root.absolute()))
