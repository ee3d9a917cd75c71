"""What a backup holds: which files of a studio and of its project, under which names, and the pointers among them.

A pointer is a file that names other files and is written anew while work goes on: which references are current, how far a
training is. Its bytes are read before anything is listed, so that what it names is on the list.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from models.system.errors import UserError
from tasks.persona import persona
from tasks.settings.settings import secrets_dir
from tasks.store.store import FILE

STUDIO, PROJECT = "studio", "project"
SETTINGS = "settings.toml"
EXCLUDED_FOLDERS = ("accounts", "cache", "prefect", "replaced", "rehearsals")
"""Folders of the studio that no backup holds."""
LOCK = f"{STUDIO}/serve.lock"
"""Says who serves here just now. Backups of before hold it, and it is never put back: somebody may hold it."""
CURRENT, RECORD = "references/*/current.json", "trainings/*/*/training.json"
POINTERS = re.compile("|".join(f"{STUDIO}/{pattern}".replace("*", "[^/]+") for pattern in (CURRENT, RECORD)))
READ_ERROR = "read", "check its rights and the disk"
MAX_READS = 20  # a training writes a checkpoint every few seconds, and reading one takes milliseconds

Key = tuple[int, int]


def is_plain(name: str) -> bool:
    """Tell whether a name stands for something in the studio or the project's folder, and for nothing outside of them."""
    root, *parts = name.split("/")
    return root in (STUDIO, PROJECT) and parts != [] and not any(_leads_elsewhere(part) for part in parts)


def is_backed_up(name: str, settings: str = SETTINGS) -> bool:
    """Tell whether a backup holds the file of this name; `settings` is the name of the settings file in use."""
    root, *parts = name.split("/")
    if not is_plain(name):
        return False
    if root == STUDIO:
        return parts[0] not in EXCLUDED_FOLDERS and not parts[0].startswith(FILE) and not any(map(_is_hidden, parts))
    if parts[0] == persona.FOLDER:
        return not _is_hidden(parts[-1])
    return len(parts) == 1 and (parts[0] == SETTINGS or (parts[0] == settings and may_be_settings(settings)))


def may_be_settings(name: str) -> bool:
    """Tell whether a settings file of that name may be restored: `.env` and the files that shells read never are."""
    return not _is_hidden(name) or (name.endswith(".toml") and not name.startswith(".env"))


def list_files(studio: Path, project: Path, settings: Path) -> dict[str, Path]:
    """List the files of a backup by their names in it: no secrets, caches, unfinished files or pointers."""
    closed = {key for folder in (studio, project, secrets_dir(project)) if (key := _folder_key(folder))}
    closed |= {key for name in EXCLUDED_FOLDERS if (key := _folder_key(studio / name))}
    prompts = project / persona.FOLDER
    files = dict(_walk_folder(studio, STUDIO, is_backed_up, closed, set()))
    files |= dict(_walk_folder(prompts, f"{PROJECT}/{persona.FOLDER}", is_backed_up, closed, set()))
    settings_files = {f"{PROJECT}/{file.name}": file for file in (project / SETTINGS, settings) if file.is_file()}
    return {
        name: path for name, path in files.items() if name != LOCK and not POINTERS.fullmatch(name)
    } | settings_files


def read_pointers(studio: Path) -> dict[str, bytes]:
    """Read the pointers as they are now, each training's record together with the checkpoint that it names."""
    pointers: dict[str, bytes] = {}
    for path in sorted(studio.glob(CURRENT)):
        pointers[_name_in_backup(path, studio)] = _read_if_there(path)
    for path in sorted(studio.glob(RECORD)):
        pointers |= {_name_in_backup(file, studio): data for file, data in _read_training(path).items()}
    return {name: data for name, data in pointers.items() if data and is_backed_up(name)}


@contextmanager
def os_errors_about(path: Path, cannot: str, remedy: str) -> Iterator[None]:
    """Turn any error of the operating system into a sentence about this path."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"{path} cannot be {cannot} ({reason}): {remedy}") from None


def _leads_elsewhere(part: str) -> bool:
    """Tell whether a part of a name may lead somewhere else than one folder down."""
    return part in ("", ".", "..") or "\\" in part or "\0" in part


def _is_hidden(part: str) -> bool:
    return part.startswith(".")


def _name_in_backup(path: Path, studio: Path) -> str:
    return f"{STUDIO}/{path.relative_to(studio).as_posix()}"


def _read_if_there(path: Path) -> bytes:
    """Read a file; return nothing if it was deleted meanwhile."""
    with os_errors_about(path, *READ_ERROR):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return b""


def _read_training(path: Path) -> dict[Path, bytes]:
    """Read a training's record and its checkpoint. If a newer record replaced both meanwhile, read the newer one."""
    record = _read_if_there(path)
    for _ in range(MAX_READS):
        state = _checkpoint_name(record)
        if not state:
            return {path: record}
        if data := _read_if_there(path.with_name(state)):
            return {path.with_name(state): data, path: record}
        before, record = record, _read_if_there(path)
        if record == before:
            return {path: record}  # nobody is writing: it was missing before
    raise UserError(f"{path} changes faster than it can be read: make the backup again")


def _checkpoint_name(record: bytes) -> str:
    """Return the name of the checkpoint in a training's record, or an empty text if there is none that can be read."""
    try:
        state = json.loads(record)["state"]
    except (ValueError, TypeError, KeyError):
        return ""
    return state if isinstance(state, str) and not _leads_elsewhere(state) and "/" not in state else ""


def _walk_folder(
    folder: Path, name: str, is_included: Callable[[str], bool], closed: set[Key], entered: set[Key]
) -> Iterator[tuple[str, Path]]:
    """Yield all files below a folder. Links are followed, each folder once (so that loops end); closed ones are skipped."""
    for entry in _list_folder(folder):
        path, below = Path(entry.path), f"{name}/{entry.name}"
        if not is_included(below):
            continue
        with os_errors_about(path, "read", "check its rights and where it leads"):
            is_folder, is_file = entry.is_dir(), entry.is_file()
        if is_folder:
            key = _folder_key(path)
            if key and key not in closed and not (entry.is_symlink() and key in entered):
                entered.add(key)
                yield from _walk_folder(path, below, is_included, closed, entered)
        elif is_file:
            yield below, path
        elif entry.is_symlink() and not path.exists():
            raise UserError(
                f"{path} leads to {path.readlink()}, which is not there: bring it back or take the link away"
            )


def _list_folder(folder: Path) -> list[os.DirEntry[str]]:
    """List a folder's entries in order; a folder that was deleted meanwhile is empty."""
    with os_errors_about(folder, "read", "check its rights"):
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            return []


def _folder_key(folder: Path) -> Key | None:
    """Return the device and inode that identify a folder, whatever path leads to it."""
    with os_errors_about(folder, "read", "check its rights"):
        try:
            status = folder.stat()
        except FileNotFoundError:
            return None
    return status.st_dev, status.st_ino
