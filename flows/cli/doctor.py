"""`restage doctor`: what would stop a run, found before it does, each with its remedy. It asks no network."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from models.system.errors import UserError
from tasks.settings.settings import Loaded, secrets_dir

AHEAD = timedelta(days=14)
GB = 1e9
LEAST_DISK = 1 * GB
LEAST_MEMORY = {True: 1 * GB, False: 8 * GB}
"""By whether the model is a small one. SDXL fits into 8 GB of a GPU in half precision."""
SLACK = 120.0
"""Seconds by which a file may be newer than now: network drives have clocks of their own."""
MOST_FILES = 20_000
OWN = "settings.toml"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `good` is None where it does not matter here."""

    name: str
    good: bool | None
    said: str
    remedy: str = ""

    @property
    def mark(self) -> str:
        return {True: "✓", False: "✗", None: "–"}[self.good]

    @property
    def line(self) -> str:
        return f"{self.mark} {self.name}: {self.said}" + (f"; {self.remedy}" if self.remedy else "")


def doctor(loaded: Loaded) -> Iterator[Check]:
    """Look at everything, one check at a time."""
    for check in (device, memory, disk, studio, clock, database, model, clip, personas, account, prefect):
        try:
            yield from check(loaded)
        except UserError as error:
            said, _, remedy = str(error).partition(": ")
            yield Check(check.__name__, False, said, remedy)


def device(loaded: Loaded) -> Iterator[Check]:
    from models.sdxl.pipeline import device_of, precision_of

    found = device_of(loaded.settings.models.device)
    slow = found == "cpu" and loaded.settings.models.name != "toybox"
    precision = precision_of(loaded.settings.models.precision, found)
    yield Check("device", True, f"{found}, {precision}" + (" (minutes for a picture)" if slow else ""))


def memory(loaded: Loaded) -> Iterator[Check]:
    from models.sdxl.pipeline import device_of

    free, where = _free(device_of(loaded.settings.models.device))
    if free is None:
        yield Check("memory", None, "unknown on this system")
        return
    least = LEAST_MEMORY[loaded.settings.models.name == "toybox"]
    spare = loaded.settings.models.memory in ("offload", "sequential")
    enough = free >= least or (spare and where != "memory")
    remedy = "" if enough else f'{least / GB:.0f} GB are wanted: end other programs, or set models.memory = "offload"'
    yield Check("memory", enough, f"{free / GB:.1f} GB free ({where})", remedy)


def _free(device: str) -> tuple[float | None, str]:
    """Bytes, and of what."""
    import torch

    if device.startswith("cuda"):
        return float(torch.cuda.mem_get_info(device)[0]), torch.cuda.get_device_name(device)
    try:
        text = Path("/proc/meminfo").read_text()
        return float(text.split("MemAvailable:")[1].split()[0]) * 1024, "memory"
    except (OSError, IndexError, ValueError):
        return None, "memory"


def disk(loaded: Loaded) -> Iterator[Check]:
    free = shutil.disk_usage(_existing(loaded.studio)).free
    enough = free >= LEAST_DISK
    remedy = "" if enough else "free some space, or choose another place for storage.studio"
    yield Check("disk", enough, f"{free / GB:.1f} GB free for {loaded.studio}", remedy)


def studio(loaded: Loaded) -> Iterator[Check]:
    folder = _existing(loaded.studio)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"restage")
    except OSError as error:
        yield Check("studio", False, f"{folder} cannot be written ({error.strerror})", "check its rights")
        return
    yield Check("studio", True, f"{loaded.studio} " + ("can be written" if folder == loaded.studio else "can be made"))


def clock(loaded: Loaded) -> Iterator[Check]:
    """A clock that was set back makes what is due look as if it were still to come."""
    ahead = [(path, when) for path, when in _times(loaded.studio) if when > loaded.clock().timestamp() + SLACK]
    if ahead:
        path, when = max(ahead, key=lambda each: each[1])
        at = datetime.fromtimestamp(when, UTC)
        remedy = "set this machine's clock right, or touch that file if the clock was wrong then"
        yield Check("clock", False, f"{path} was written at {at:%Y-%m-%d %H:%M} UTC, which is yet to come", remedy)
        return
    yield Check("clock", True, f"{loaded.clock():%Y-%m-%d %H:%M} UTC, and no file of the studio is newer")


def _times(folder: Path) -> Iterator[tuple[Path, float]]:
    number = 0
    for path in folder.rglob("*"):
        number += 1
        if number > MOST_FILES:
            return
        try:
            yield path, path.lstat().st_mtime
        except OSError:
            continue  # gone meanwhile


def database(loaded: Loaded) -> Iterator[Check]:
    from tasks.store.store import FILE, Store

    inside = not loaded.database.get_secret_value()
    if inside and not (loaded.studio / FILE).exists():
        yield Check("database", None, f"{loaded.studio / FILE} will be made when it is needed")
        return
    with closing(Store.open(loaded.database, loaded.studio, patience=5, clock=loaded.clock)):
        pass
    if inside and not _is_whole(loaded.studio / FILE):
        yield Check("database", False, f"{loaded.studio / FILE} is damaged", "put a backup back with restage restore")
        return
    yield Check("database", True, str(loaded.studio / FILE) if inside else "PostgreSQL answers")


def _is_whole(file: Path) -> bool:
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
        return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))


def model(loaded: Loaded) -> Iterator[Check]:
    """The settings' model and those of the personas."""
    from tasks.persona import persona
    from tasks.pictures import generate

    wanted = {loaded.settings.models.name: OWN}
    for name in persona.names(loaded.folder):
        try:
            wanted.setdefault(persona.find(name, loaded.folder).model or loaded.settings.models.name, name)
        except UserError:
            continue  # said where personas are looked at
    for name, whose in wanted.items():
        try:
            source = generate.machine(loaded, name).source
            yield Check("model", True, f"{name} is there ({source.family}, {source.side} pixels)")
        except UserError as error:
            said, _, remedy = str(error).partition(": ")
            # A persona that only ships with restage, and that nobody uses yet, is no reason to fail.
            good = None if "not on this machine" in said and whose != OWN else False
            yield Check("model", good, f"{said} (asked for by {whose})", remedy)


def clip(loaded: Loaded) -> Iterator[Check]:
    from models.scoring.clip_weights import find
    from tasks.pictures.scorers import check_identity

    name = loaded.settings.models.clip
    if name != "toybox":
        find(loaded.place(name))
    yield Check("clip", True, f"{name} is there")
    if who := loaded.settings.references.identity_scorer:
        check_identity(loaded)
        yield Check("clip", True, f"{who} is there, to compare characters")


def personas(loaded: Loaded) -> Iterator[Check]:
    """Their files, and what their calendars will ask for in the next days."""
    from tasks.calendar.wording import plan_ahead
    from tasks.persona import persona

    names = persona.names(loaded.folder)
    if not names:
        folder = loaded.folder / persona.FOLDER
        yield Check("persona", False, f"{folder} holds none", "make one with restage new persona NAME")
    now = loaded.clock()
    for name in names:
        try:
            who = persona.find(name, loaded.folder)
        except UserError as error:
            said, _, remedy = str(error).partition(": ")
            yield Check("persona", False, said, remedy)
            continue
        plan = plan_ahead(who, now, now + AHEAD)
        for problem in dict.fromkeys(str(each) for each in plan.problems):
            yield Check("calendar", False, problem)
        if not plan.problems:
            yield Check("persona", True, f"{name}, {len(plan.due)} posts due in {AHEAD.days} days")


def account(loaded: Loaded) -> Iterator[Check]:
    """Whether somebody has logged in. Whether Instagram still takes it, only Instagram knows."""
    from tasks.publishers.instagram.session import account_folder, session_file
    from tasks.publishers.instagram.session import load as read

    knobs, secrets = loaded.settings.publishing, loaded.settings.secrets
    if knobs.dry_run or knobs.publisher == "folder":
        yield Check("account", None, "posts are written to disk (publishing.dry_run or publisher = folder)")
        return
    if knobs.publisher == "graph":
        good = bool(secrets.graph_token)
        said = "a Graph token is set" if good else "secrets.graph_token is not set"
        file = secrets_dir(loaded.folder) / "graph_token"
        yield Check("account", good, said, "" if good else f"set RESTAGE_SECRETS__GRAPH_TOKEN, or write it to {file}")
        return
    name = knobs.account or (secrets.instagram_username.get_secret_value() if secrets.instagram_username else "")
    if not name:
        yield Check("account", False, "no account is named", "set publishing.account and run restage login ACCOUNT")
        return
    file = session_file(loaded.studio, name)
    if file.exists() and os.name == "posix" and stat.S_IMODE(file.stat().st_mode) & 0o077:
        yield Check("account", False, f"{file} can be read by others", f"run chmod 600 {file}")
        return
    account_folder(loaded.studio, name)
    read(file, name)
    yield Check("account", True, f"{name} has a session")


def prefect(loaded: Loaded) -> Iterator[Check]:
    from flows.serving.serve import LOCK, answers, places
    from models.system import file_lock

    where = places(loaded)
    runs = file_lock.holder(loaded.studio / LOCK)
    api = f"{runs['prefect']}/api" if runs and runs.get("prefect") else where.api
    if answers(api):
        yield Check("prefect", True, f"answers at {api}")
    elif where.port and not runs:
        yield Check("prefect", None, "does not run; restage serve starts it")
    else:
        yield Check("prefect", False, f"does not answer at {api}", "start it, or restage serve again")


def _existing(path: Path) -> Path:
    return next(each for each in (path, *path.parents) if each.exists())
