"""Backups taken while references are made, words are learned, and others write files: all of it goes on afterwards."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
from sqlalchemy import Connection

from models.system.errors import UserError
from tasks.backup import contents
from tasks.backup.backup import restore_backup, write_backup
from tasks.references.reference_set import ReferenceSetStore
from tasks.store.store import Store
from tasks.training.record import TrainingPlan, TrainingRecord, TrainingStore
from tests.tasks.references.test_reference_set import made

REPOSITORY = Path(__file__).parents[3]
LESSON = TrainingPlan("pip", "<pip>", "fox", "set", (), (), (), "toybox", (), {"steps": 1 << 20}, {"stop": "auto"}, {})


class Busy(Store):
    """A store beside which something happens whenever it is read."""

    meanwhile: Callable[[], object] | None = None

    def reading(self) -> AbstractContextManager[Connection]:
        if self.meanwhile:
            self.meanwhile()
        return super().reading()


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Busy]:
    opened = Busy.open("", tmp_path / "studio")
    assert isinstance(opened, Busy)
    with closing(opened):
        yield opened


def learn(studio: Path, step: int) -> None:
    desk = TrainingStore(studio, "pip")
    desk.save_training(desk.load_or_new(LESSON).with_changes(step=step), f"state of step {step}".encode())


def choose(studio: Path, round: int) -> None:
    ReferenceSetStore(studio, "pip").save_set(dataclasses.replace(SET, round=round))


SET = made()


@contextmanager
def going_on(work: Callable[[Path, int], None], studio: Path) -> Iterator[None]:
    """The work goes on and on meanwhile, and has begun."""
    begun, enough = Event(), Event()

    def run() -> None:
        for number in itertools.count(1):
            work(studio, number)
            begun.set()
            if enough.is_set():
                return

    thread = Thread(target=run)
    thread.start()
    try:
        assert begun.wait(60)
        yield
    finally:
        enough.set()
        thread.join()


def elsewhere(file: Path, place: Path) -> Path:
    """The studio of a backup that was put back."""
    studio = place / "studio"
    with closing(Store.open("", studio)) as store:
        restore_backup(file, store, studio, place)
    return studio


def check_training(studio: Path) -> TrainingRecord:
    """It can go on: the checkpoint that the record names is there, and is that record's."""
    desk = TrainingStore(studio, "pip")
    found = desk.load_or_new(LESSON)
    assert desk.read_checkpoint(found) == f"state of step {found.step}".encode()
    return found


def check_references(studio: Path) -> None:
    assert ReferenceSetStore(studio, "pip").current_set()


@pytest.mark.parametrize(("work", "check"), [(learn, check_training), (choose, check_references)])
def test_work_goes_on_from_a_backup_that_was_made_meanwhile(
    work: Callable[[Path, int], None], check: Callable[[Path], object], busy: Busy, tmp_path: Path
) -> None:
    studio = tmp_path / "studio"
    (studio / "artifacts").mkdir()
    for number in range(8):  # what takes a while to be copied, between the list and what stands behind on it
        with (studio / "artifacts" / str(number)).open("wb") as large:
            large.truncate(4 << 20)
    with going_on(work, studio):
        for number in range(3):
            write_backup(tmp_path / f"{number}.zip", busy, studio, tmp_path)
    for number in range(3):
        check(elsewhere(tmp_path / f"{number}.zip", tmp_path / f"there-{number}"))


def test_a_checkpoint_that_is_taken_away_meanwhile_is_in_the_backup_with_its_record(busy: Busy, tmp_path: Path) -> None:
    studio = tmp_path / "studio"
    learn(studio, 100)
    steps = itertools.count(150, 50)
    busy.meanwhile = lambda: learn(studio, next(steps))
    write_backup(tmp_path / "b.zip", busy, studio, tmp_path)
    assert check_training(studio).step > 100
    assert check_training(elsewhere(tmp_path / "b.zip", tmp_path / "there")).step == 100


def test_a_training_that_begins_meanwhile_begins_anew(busy: Busy, tmp_path: Path) -> None:
    studio = tmp_path / "studio"
    busy.meanwhile = lambda: learn(studio, 50)
    write_backup(tmp_path / "b.zip", busy, studio, tmp_path)
    assert TrainingStore(elsewhere(tmp_path / "b.zip", tmp_path / "there"), "pip").load_or_new(
        LESSON
    ) == TrainingRecord(LESSON)


def test_a_training_without_its_checkpoint_is_kept_as_it_is(tmp_path: Path) -> None:
    learn(tmp_path, 100)
    place = TrainingStore(tmp_path, "pip").training_folder(LESSON.id)
    (place / "state-000100.safetensors").unlink()
    assert list(contents.read_pointers(tmp_path)) == [f"studio/trainings/pip/{LESSON.id}/training.json"]


@pytest.mark.parametrize("record", [b"{", b"[]", b'{"state": 3}', b'{"state": "../../../outside"}', b"\xff"])
def test_a_record_that_says_nothing_is_kept_and_leads_nowhere(record: bytes, tmp_path: Path) -> None:
    place = tmp_path / "studio/trainings/pip/one"
    place.mkdir(parents=True)
    (tmp_path / "studio/outside").write_text("not a checkpoint")
    (place / "training.json").write_bytes(record)
    assert contents.read_pointers(tmp_path / "studio") == {"studio/trainings/pip/one/training.json": record}


def test_a_file_that_comes_meanwhile_under_the_backups_name_stays(busy: Busy, tmp_path: Path) -> None:
    file = tmp_path / "out" / "b.zip"
    busy.meanwhile = lambda: file.write_text("somebody's")
    with pytest.raises(UserError, match="is there already: give another name"):
        write_backup(file, busy, tmp_path / "studio", tmp_path)
    assert {path.name: path.read_text() for path in file.parent.iterdir()} == {"b.zip": "somebody's"}


NO_LINKS = """
import errno, os, sys
from pathlib import Path
from tasks.backup.backup import write_backup
from tasks.store.store import Store

def link(*_):
    raise OSError(int(sys.argv[2]), "as on some disks")

os.link = link
place = Path(sys.argv[1])
store = Store.open("", place / "studio")
if sys.argv[3]:
    plain = Store.reading
    Store.reading = lambda self: (place / "b.zip").write_text(sys.argv[3]) and plain(self)
write_backup(place / "b.zip", store, place / "studio", place)
"""


@pytest.mark.parametrize("taken", ["", "somebody's"])
@pytest.mark.parametrize("why", [errno.EPERM, errno.ENOTSUP])
def test_a_disk_without_links_gets_backups_too_and_keeps_its_files(why: int, taken: str, tmp_path: Path) -> None:
    """In a process of its own, whose system call is taken away."""
    call = [sys.executable, "-c", NO_LINKS, str(tmp_path), str(why), taken]
    done = subprocess.run(call, cwd=REPOSITORY, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"})
    assert [path.name for path in tmp_path.iterdir() if "b.zip" in path.name] == ["b.zip"]
    if taken:
        assert "is there already: give another name" in done.stderr
        assert (tmp_path / "b.zip").read_text() == taken
    else:
        assert done.returncode == 0, done.stderr
        elsewhere(tmp_path / "b.zip", tmp_path / "there")
