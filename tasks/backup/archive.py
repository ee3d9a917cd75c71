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
from models.system.progress import show_progress
from tasks.backup.contents import LOCK, PROJECT, SETTINGS, STUDIO, is_backed_up, is_plain
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

    def read_file(self, name: str) -> bytes:
        with self._explaining_damage(name):
            return self.source.read(name)

    def check_files(self, studio: Path, project: Path) -> dict[str, Path]:
        """Return where each file belongs, after checking that all are undamaged, allowed in a backup and below our folders."""
        places = {name: self._check_place(name, studio, project) for name in self.files if name not in (FILE, LOCK)}
        with show_progress("checking the backup", len(self.files), "files") as advance:
            for name, digest in self.files.items():
                if self._file_hash(name) != digest:
                    raise UserError(f"{self.file} is damaged at {name}: take another backup")
                advance(1)
        settings_name = f"{PROJECT}/{self.settings}"
        if self.settings != SETTINGS and settings_name in places:
            self._check_settings(self.read_file(settings_name))
        return places

    def _check_place(self, name: str, studio: Path, project: Path) -> Path:
        root_name, _, rest = name.partition("/")
        root = studio if root_name == STUDIO else project
        if not is_plain(name) or not _is_below(root, root / rest):
            raise UserError(f"{self.file} holds {name!r}, which would lie outside of the studio: take another backup")
        if not is_backed_up(name, self.settings):
            raise UserError(f"{self.file} holds {name!r}, which restage puts into no backup: take another backup")
        return root / rest

    def _check_settings(self, data: bytes) -> None:
        """Check that the settings file is TOML: it may have any name, and nothing that could be run may come back."""
        try:
            tomllib.loads(data.decode("utf-8-sig"))
        except ValueError:
            raise UserError(
                f"{self.file} holds {self.settings!r} as settings, which it is not: take another backup"
            ) from None

    def _file_hash(self, name: str) -> str:
        with self._explaining_damage(name), self.source.open(name) as entry:
            return hashlib.file_digest(entry, "sha256").hexdigest()  # type: ignore[arg-type]

    @contextmanager
    def _explaining_damage(self, name: str) -> Iterator[None]:
        try:
            yield
        except (*DAMAGE, OSError) as error:
            raise _read_error(self.file, error, f"{self.file} is damaged at {name}: take another backup") from None


@contextmanager
def open_archive(file: Path) -> Iterator[Archive]:
    """Open a backup and read its list of files."""
    try:
        source = zipfile.ZipFile(file)
    except FileNotFoundError:
        raise UserError(f"there is no backup at {file}: check the path") from None
    except (*DAMAGE, OSError) as error:
        raise _read_error(file, error, f"{file} is not a whole backup ({error}): take another one") from None
    with source:
        yield _read_list(file, source)


def _read_list(file: Path, source: zipfile.ZipFile) -> Archive:
    try:
        head = json.loads(source.read(LIST))
        files = dict(head["files"])
        if not all(isinstance(value, str) for value in (files[FILE], *files.values())):
            raise ValueError("its list is damaged")
    except (*DAMAGE, OSError, TypeError) as error:
        raise _read_error(file, error, f"{file} is not a whole backup ({error}): take another one") from None
    if head.get("format") != FORMAT:
        raise UserError(f"{file} was written by a newer restage: update restage to read it")
    return Archive(file, source, files, str(head.get("settings", SETTINGS)))


def _read_error(file: Path, error: Exception, damaged: str) -> UserError:
    """Return the error to raise: a failing disk is named as such; anything else means that the backup is damaged."""
    if isinstance(error, OSError) and error.errno != errno.EINVAL:
        reason = (error.strerror or str(error)).lower()
        return UserError(f"{file} cannot be read ({reason}): check its rights and the disk")
    return UserError(damaged)


def _is_below(root: Path, place: Path) -> bool:
    """Tell whether a path lies below a folder, judged by names only: a studio's folders may be links to a larger disk."""
    return Path(os.path.normpath(place.absolute())).is_relative_to(os.path.normpath(root.absolute()))
