"""`restage doctor`: find what would stop a run before it does, and name the remedy. It uses no network."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from models.system.errors import UserError
from tasks.settings.settings import LoadedSettings

LOOKAHEAD = timedelta(days=14)
GB = 1e9
MIN_DISK_BYTES = 1 * GB
MIN_MEMORY_BYTES = {True: 1 * GB, False: 8 * GB}
"""Bytes for a small model (True) and for any other. SDXL fits into 8 GB of a GPU in half precision."""
CLOCK_SLACK_SECONDS = 120.0
"""Seconds by which a file may be newer than now, because network drives have clocks of their own."""
MAX_FILES = 20_000
SETTINGS_FILE = "settings.toml"


@dataclass(frozen=True)
class DoctorCheck:
    """The result of one check. `good` is None if it does not matter here."""

    name: str
    good: bool | None
    message: str
    remedy: str = ""

    @property
    def mark(self) -> str:
        return {True: "✓", False: "✗", None: "–"}[self.good]

    @property
    def summary_line(self) -> str:
        return f"{self.mark} {self.name}: {self.message}" + (f"; {self.remedy}" if self.remedy else "")


def run_checks(loaded: LoadedSettings) -> Iterator[DoctorCheck]:
    """Run all checks, one at a time."""
    checks: dict[str, Callable[[LoadedSettings], Iterator[DoctorCheck]]] = {
        "device": check_device,
        "memory": check_memory,
        "disk": check_disk,
        "studio": check_studio,
        "clock": check_clock,
        "database": check_database,
        "model": check_models,
        "clip": check_clip,
        "personas": check_personas,
        "account": check_account,
        "prefect": check_prefect,
    }
    for name, check in checks.items():
        try:
            yield from check(loaded)
        except UserError as error:
            message, _, remedy = str(error).partition(": ")
            yield DoctorCheck(name, False, message, remedy)


def check_device(loaded: LoadedSettings) -> Iterator[DoctorCheck]:
    from models.sdxl.pipeline import resolve_device, resolve_precision

    device = resolve_device(loaded.settings.models.device)
    slow = device == "cpu" and loaded.settings.models.name != "toybox"
    precision = resolve_precision(loaded.settings.models.precision, device)
    yield DoctorCheck("device", True, f"{device}, {precision}" + (" (minutes for a picture)" if slow else ""))


def check_memory(loaded: LoadedSettings) -> Iterator[DoctorCheck]:
    from models.sdxl.pipeline import resolve_device

    free, source = _free_memory(resolve_device(loaded.settings.models.device))
    if free is None:
        yield DoctorCheck("memory", None, "unknown on this system")
        return
    least = MIN_MEMORY_BYTES[loaded.settings.models.name == "toybox"]
    spare = loaded.settings.models.memory in ("offload", "sequential")
    enough = free >= least or (spare and source != "memory")
    remedy = "" if enough else f'{least / GB:.0f} GB are wanted: end other programs, or set models.memory = "offload"'
    yield DoctorCheck("memory", enough, f"{free / GB:.1f} GB free ({source})", remedy)


def _free_memory(device: str) -> tuple[float | None, str]:
    """Return the free bytes, and the name of the device."""
    import torch

    if device.startswith("cuda"):
        return float(torch.cuda.mem_get_info(device)[0]), torch.cuda.get_device_name(device)
    try:
        text = Path("/proc/meminfo").read_text()
        return float(text.split("MemAvailable:")[1].split()[0]) * 1024, "memory"
    except (OSError, IndexError, ValueError):
        return None, "memory"


def check_disk(loaded: LoadedSettings) -> Iterator[DoctorCheck]:
    free = shutil.disk_usage(_nearest_existing(loaded.studio)).free
    enough = free >= MIN_DISK_BYTES
    remedy = "" if enough else "free some space, or choose another place for storage.studio"
    yield DoctorCheck("disk", enough, f"{free / GB:.1f} GB free for {loaded.studio}", remedy)


def check_studio(loaded: LoadedSettings) -> Iterator[DoctorCheck]:
    folder = _nearest_existing(loaded.studio)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"restage")
    except OSError as error:
        yield DoctorCheck("studio", False, f"{folder} cannot be written ({error.strerror})", "check its rights")
        return
    yield DoctorCheck(
        "studio", True, f"{loaded.studio} " + ("can be written" if folder == loaded.studio else "can be made")
    )


def check_clock(loaded: LoadedSettings) -> Iterator[DoctorCheck]:
    """Check that no file is from the future: if the clock was set back, what is due seems to be still to come."""
    ahead = [
        (path, modified_at)
        for path, modified_at in _file_times(loaded.studio)
        if modified_at > loaded.clock().timestamp() + CLOCK_SLACK_SECONDS
    ]
    if ahead:
        path, modified_at = max(ahead, key=lambda file: file[1])
        at = datetime.fromtimestamp(modified_at, UTC)
        remedy = "set this machine's clock right, or touch that file if the clock was wrong then"
        yield DoctorCheck(
            "clock", False, f"{path} was written at {at:%Y-%m-%d %H:%M} UTC, which is yet to come", remedy
        )
        return
    yield DoctorCheck("clock", True, f"{loaded.clock():%Y-%m-%d %H:%M} UTC, and no file of the studio is newer")


def _file_times(folder: Path) -> Iterator[tuple[Path, float]]:
    number = 0
    for path in folder.rglob("*"):
        number += 1
        if number > MAX_FILES:
            return
        try:
            yield path, path.lstat().st_mtime
        except OSError:
            continue  # gone meanwhile


def check_database(loaded: LoadedSettings) -> Iterator[DoctorCheck]:
    from tasks.store.store import FILE, Store

    inside = not loaded.database.get_secret_value()
    if inside and not (loaded.studio / FILE).exists():
        yield DoctorCheck("database", None, f"{loaded.studio / FILE} will be made when it is needed")
        return
    with closing(Store.open(loaded.database, loaded.studio, patience=5, clock=loaded.clock)):
        pass
    if inside and not _is_whole(loaded.studio / FILE):
        yield DoctorCheck(
            "database", False, f"{loaded.studio / FILE} is damaged", "put a backup back with restage restore"
        )
        return
    yield DoctorCheck("database", True, str(loaded.studio / FILE) if inside else "PostgreSQL answers")


def _is_whole(file: Path) -> bool:
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
        return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))


def check_models(loaded: LoadedSettings) -> Iterator[DoctorCheck]:
    """Check the model of the settings and those of the personas."""
    from tasks.persona import persona
    from tasks.pictures import generate

    models = {loaded.settings.models.name: SETTINGS_FILE}
    for name in persona.persona_names(loaded.folder):
        try:
            models.setdefault(persona.find_persona(name, loaded.folder).model or loaded.settings.models.name, name)
        except UserError:
            continue  # check_personas reports it
    for name, whose in models.items():
        try:
            source = generate.model_setup(loaded, name).source
            yield DoctorCheck("model", True, f"{name} is there ({source.family}, {source.side} pixels)")
        except UserError as error:
            message, _, remedy = str(error).partition(": ")
            # A persona that only ships with restage, and that nobody uses yet, is no reason to fail.
            good = None if "not on this machine" in message and whose != SETTINGS_FILE else False
            yield DoctorCheck("model", good, f"{message} (asked for by {whose})", remedy)


def check_clip(loaded: LoadedSettings) -> Iterator[DoctorCheck]:
    from models.scoring.clip_weights import find_clip
    from tasks.pictures.scorers import check_identity_model

    name = loaded.settings.models.clip
    if name != "toybox":
        find_clip(loaded.resolve_path(name))
    yield DoctorCheck("clip", True, f"{name} is there")
    if scorer := loaded.settings.references.identity_scorer:
        check_identity_model(loaded)
        yield DoctorCheck("clip", True, f"{scorer} is there, to compare characters")


def check_personas(loaded: LoadedSettings) -> Iterator[DoctorCheck]:
    """Check the persona files, and what their calendars need in the next days."""
    from tasks.calendar.wording import plan_ahead
    from tasks.persona import persona

    names = persona.persona_names(loaded.folder)
    if not names:
        folder = loaded.folder / persona.FOLDER
        yield DoctorCheck("persona", False, f"{folder} holds none", "make one with restage new persona NAME")
    now = loaded.clock()
    for name in names:
        try:
            loaded_persona = persona.find_persona(name, loaded.folder)
        except UserError as error:
            message, _, remedy = str(error).partition(": ")
            yield DoctorCheck("persona", False, message, remedy)
            continue
        plan = plan_ahead(loaded_persona, now, now + LOOKAHEAD)
        for problem in dict.fromkeys(map(str, plan.problems)):
            yield DoctorCheck("calendar", False, problem)
        if not plan.problems:
            yield DoctorCheck("persona", True, f"{name}, {len(plan.due)} posts due in {LOOKAHEAD.days} days")


def check_account(loaded: LoadedSettings) -> Iterator[DoctorCheck]:
    """Check whether posts can go to their publisher, as far as that can be seen without the network."""
    from tasks.publishers import configured_kind

    check = configured_kind(loaded).check_account(loaded)
    yield DoctorCheck("account", check.good, check.message, check.remedy)


def check_prefect(loaded: LoadedSettings) -> Iterator[DoctorCheck]:
    from flows.serving.serve import LOCK_FILE, find_addresses, is_reachable
    from models.system import file_lock

    addresses = find_addresses(loaded)
    runs = file_lock.lock_holder(loaded.studio / LOCK_FILE)
    api = f"{runs['prefect']}/api" if runs and runs.get("prefect") else addresses.api
    if is_reachable(api):
        yield DoctorCheck("prefect", True, f"answers at {api}")
    elif addresses.port and not runs:
        yield DoctorCheck("prefect", None, "does not run; restage serve starts it")
    else:
        yield DoctorCheck("prefect", False, f"does not answer at {api}", "start it, or restage serve again")


def _nearest_existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())
