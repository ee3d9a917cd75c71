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
LEFT = ("accounts", "cache", "prefect", "replaced", "rehearsals")
"""Folders of the studio that no backup holds."""
LOCK = f"{STUDIO}/serve.lock"
"""Says who serves here just now. Backups of before hold it, and it is never put back: somebody may hold it."""
CURRENT, RECORD = "references/*/current.json", "trainings/*/*/training.json"
POINTERS = re.compile("|".join(f"{STUDIO}/{each}".replace("*", "[^/]+") for each in (CURRENT, RECORD)))
READ = "read", "check its rights and the disk"
TRIES = 20  # a training writes a checkpoint every few seconds, and reading one takes milliseconds

Key = tuple[int, int]


def is_plain(name: str) -> bool:
    """Whether it names something in the studio or in the project's folder, and nothing anywhere else."""
    where, *parts = name.split("/")
    return where in (STUDIO, PROJECT) and parts != [] and not any(_leads(part) for part in parts)


def belongs(name: str, settings: str = SETTINGS) -> bool:
    """Whether a backup holds what has this name; `settings` is the name of the file that the command goes by."""
    where, *parts = name.split("/")
    if not is_plain(name):
        return False
    if where == STUDIO:
        return parts[0] not in LEFT and not parts[0].startswith(FILE) and not any(map(_is_hidden, parts))
    if parts[0] == persona.FOLDER:
        return not _is_hidden(parts[-1])
    return len(parts) == 1 and (parts[0] == SETTINGS or (parts[0] == settings and may_be_settings(settings)))


def may_be_settings(name: str) -> bool:
    """Whether a settings file of that name comes back: `.env` and what shells read never do."""
    return not _is_hidden(name) or (name.endswith(".toml") and not name.startswith(".env"))


def files(studio: Path, project: Path, settings: Path) -> dict[str, Path]:
    """The files of a backup by their names in it: no secrets, nothing that comes back by itself, no halves, no pointers."""
    closed = {key for each in (studio, project, secrets_dir(project)) if (key := _key(each))}
    closed |= {key for each in LEFT if (key := _key(studio / each))}
    prompts = project / persona.FOLDER
    found = dict(_walk(studio, STUDIO, belongs, closed, set()))
    found |= dict(_walk(prompts, f"{PROJECT}/{persona.FOLDER}", belongs, closed, set()))
    own = {f"{PROJECT}/{each.name}": each for each in (project / SETTINGS, settings) if each.is_file()}
    return {name: path for name, path in found.items() if name != LOCK and not POINTERS.fullmatch(name)} | own


def pointers(studio: Path) -> dict[str, bytes]:
    """The pointers as they are now, each training's record together with the checkpoint that it names."""
    found: dict[str, bytes] = {}
    for path in sorted(studio.glob(CURRENT)):
        found[_name(path, studio)] = _bytes(path)
    for path in sorted(studio.glob(RECORD)):
        found |= {_name(each, studio): data for each, data in _training(path).items()}
    return {name: data for name, data in found.items() if data and belongs(name)}


@contextmanager
def at(path: Path, cannot: str, remedy: str) -> Iterator[None]:
    """Whatever the system refuses meanwhile, it refuses of this path."""
    try:
        yield
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UserError(f"{path} cannot be {cannot} ({why}): {remedy}") from None


def _leads(part: str) -> bool:
    """Whether a part of a name may lead somewhere else than one folder down."""
    return part in ("", ".", "..") or "\\" in part or "\0" in part


def _is_hidden(part: str) -> bool:
    return part.startswith(".")


def _name(path: Path, studio: Path) -> str:
    return f"{STUDIO}/{path.relative_to(studio).as_posix()}"


def _bytes(path: Path) -> bytes:
    """Empty where it is gone meanwhile."""
    with at(path, *READ):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return b""


def _training(path: Path) -> dict[Path, bytes]:
    """A record and its checkpoint, which is taken away once a newer record names a newer one: then that is read."""
    record = _bytes(path)
    for _ in range(TRIES):
        state = _state(record)
        if not state:
            return {path: record}
        if data := _bytes(path.with_name(state)):
            return {path.with_name(state): data, path: record}
        before, record = record, _bytes(path)
        if record == before:
            return {path: record}  # nobody is writing: it was missing before
    raise UserError(f"{path} changes faster than it can be read: make the backup again")


def _state(record: bytes) -> str:
    """The checkpoint that a training's record names; nothing where it names none, or says nothing that can be read."""
    try:
        state = json.loads(record)["state"]
    except (ValueError, TypeError, KeyError):
        return ""
    return state if isinstance(state, str) and not _leads(state) and "/" not in state else ""


def _walk(
    folder: Path, name: str, kept: Callable[[str], bool], closed: set[Key], seen: set[Key]
) -> Iterator[tuple[str, Path]]:
    """All files below, links followed. Each link's folder is entered once, so that no loop goes on, and no closed one."""
    for each in _listed(folder):
        path, below = Path(each.path), f"{name}/{each.name}"
        if not kept(below):
            continue
        with at(path, "read", "check its rights and where it leads"):
            is_folder, is_file = each.is_dir(), each.is_file()
        if is_folder:
            key = _key(path)
            if key and key not in closed and not (each.is_symlink() and key in seen):
                seen.add(key)
                yield from _walk(path, below, kept, closed, seen)
        elif is_file:
            yield below, path
        elif each.is_symlink() and not path.exists():
            raise UserError(
                f"{path} leads to {path.readlink()}, which is not there: bring it back or take the link away"
            )


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    """Sorted; a folder that is gone meanwhile was somebody's to take away."""
    with at(folder, "read", "check its rights"):
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda each: each.name)
        except FileNotFoundError:
            return []


def _key(folder: Path) -> Key | None:
    """What folders are told apart by, whatever leads there."""
    with at(folder, "read", "check its rights"):
        try:
            found = folder.stat()
        except FileNotFoundError:
            return None
    return found.st_dev, found.st_ino
