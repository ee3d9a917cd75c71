"""Backups: whole, without secrets, put back without losing what is there, whatever the database."""

import json
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from sqlalchemy import Connection

from models.system.errors import UserError
from tasks.backup import backup, contents
from tasks.posts import post_store
from tasks.store.store import Store
from tests.support.stores import Opened
from tests.tasks.posts.test_post_store import put

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def full(store: Store, tmp_path: Path) -> Path:
    """A project with a post, a picture, a persona, and things that no backup may hold."""
    post_store.approve(store, put(store), "ann")
    for name, text in {
        "studio/artifacts/ab/abc.png": "picture",
        "studio/ready/00/one.jpg": "jpeg",
        "studio/ready/00/.one.jpg.1a.part": "half",
        "studio/accounts/pip/session.json": "hush",
        "studio/cache/vectors.db": "again",
        "settings.toml": "[models]",
        "prompts/pip.toml": "name = 'pip'",
        ".env": "hush",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def made(full: Path, store: Store) -> Path:
    file = full / "out" / "b.zip"
    backup.write_backup(file, store, full / "studio", full)
    return file


def empty(place: Path) -> Store:
    return Store.open("", place / "studio")


def files(place: Path) -> dict[str, str]:
    found = (path for path in place.rglob("*") if path.is_file() and not path.name.startswith("restage.db"))
    return {path.relative_to(place).as_posix(): path.read_text() for path in found}


def test_everything_comes_back_elsewhere(full: Path, store: Store) -> None:
    there = full / "elsewhere"
    other = empty(there)
    backup.restore_backup(made(full, store), other, there / "studio", there)
    assert post_store.find(other) == post_store.find(store)
    assert post_store.approval(other, post_store.find(other)[0]) == post_store.approval(
        store, post_store.find(store)[0]
    )
    assert files(there) == {
        "studio/artifacts/ab/abc.png": "picture",
        "studio/ready/00/one.jpg": "jpeg",
        "settings.toml": "[models]",
        "prompts/pip.toml": "name = 'pip'",
    }
    other.close()


def test_no_secret_and_no_cache_is_in_it(full: Path, store: Store) -> None:
    file = made(full, store)
    assert b"hush" not in file.read_bytes()
    with zipfile.ZipFile(file) as source:
        assert not [name for name in source.namelist() if "cache" in name or "accounts" in name or ".part" in name]


def test_a_backup_never_replaces_a_file(full: Path, store: Store) -> None:
    file = made(full, store)
    with pytest.raises(UserError, match="is there already: give another name"):
        backup.write_backup(file, store, full / "studio", full)


def test_who_serves_here_keeps_the_lock_whatever_an_earlier_backup_holds(
    full: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = full / "studio/serve.lock"
    lock.write_text("then")
    with monkeypatch.context() as before:
        before.setattr(contents, "LOCK", "")
        file = made(full, store)
    lock.write_text("now")
    backup.restore_backup(file, empty(full), full / "studio", full, replace=True)
    assert lock.read_text() == "now"
    assert not list((full / "studio").glob("replaced/*/studio/serve.lock"))
    file.unlink()
    with zipfile.ZipFile(made(full, store)) as source:
        assert "studio/serve.lock" not in source.namelist()


def test_what_differs_is_not_touched_unless_asked_and_is_kept_even_then(full: Path, store: Store) -> None:
    file = made(full, store)
    picture = full / "studio/artifacts/ab/abc.png"
    picture.write_text("newer")
    other = empty(full)
    with pytest.raises(UserError, match=r"abc\.png differs from the backup's: .*--replace"):
        backup.restore_backup(file, other, full / "studio", full)
    assert picture.read_text() == "newer"
    done = backup.restore_backup(file, other, full / "studio", full, replace=True)
    assert picture.read_text() == "picture"
    assert done.replaced is not None
    assert (done.replaced / "studio/artifacts/ab/abc.png").read_text() == "newer"
    other.close()


def test_rows_that_are_there_are_replaced_only_when_asked_and_kept(full: Path, store: Store) -> None:
    file = made(full, store)
    later = put(store, "pip/walk/later")
    with pytest.raises(UserError, match="^the store holds posts or words already"):
        backup.restore_backup(file, store, full / "studio", full)
    done = backup.restore_backup(file, store, full / "studio", full, replace=True)
    assert [each.key for each in post_store.find(store)] == ["pip/walk/2026-11-23"]
    assert done.replaced is not None
    before = Store.open("", done.replaced)
    assert later in post_store.find(before)
    before.close()


def test_settings_and_personas_come_back_only_where_they_are_missing(full: Path, store: Store) -> None:
    file = made(full, store)
    (full / "settings.toml").write_text("mine")
    (full / "prompts/pip.toml").unlink()
    backup.restore_backup(file, store, full / "studio", full, replace=True)
    assert (full / "settings.toml").read_text() == "mine"
    assert (full / "prompts/pip.toml").exists()


def test_what_is_done_to_the_rows_comes_with_them_or_they_do_not_come(full: Path, store: Store) -> None:
    there = full / "elsewhere"
    other = empty(there)

    def fail(_: Connection) -> None:
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError):
        backup.restore_backup(made(full, store), other, there / "studio", there, after=fail)
    assert post_store.find(other) == []
    other.close()


def damaged(file: Path, name: str, data: bytes, to: str = "") -> Path:
    other = file.with_name("damaged.zip")
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(other, "w") as target:
        for each in source.namelist():
            target.writestr(to if to and each == name else each, data if each == name else source.read(each))
    return other


def test_a_damaged_backup_changes_nothing(full: Path, store: Store) -> None:
    file = made(full, store)
    there = full / "elsewhere"
    other = empty(there)
    before = files(there)
    half = file.with_name("half.zip")
    half.write_bytes(file.read_bytes()[:-200])
    for bad, sentence in (
        (full / "nowhere.zip", "there is no backup at"),
        (half, "is not a whole backup"),
        (damaged(file, "studio/ready/00/one.jpg", b"other"), "is damaged at studio/ready/00/one.jpg"),
    ):
        with pytest.raises(UserError, match=sentence):
            backup.restore_backup(bad, other, there / "studio", there)
    assert (files(there), post_store.find(other)) == (before, [])
    other.close()


@pytest.mark.parametrize("name", ["studio/../../escape", "/etc/passwd", "other/x", "studio"])
def test_nothing_leads_out_of_the_studio(full: Path, store: Store, name: str) -> None:
    file = made(full, store)
    with zipfile.ZipFile(file) as source:
        head = json.loads(source.read("backup.json"))
    head["files"][name] = head["files"].pop("studio/ready/00/one.jpg")
    bad = damaged(file, "backup.json", json.dumps(head).encode())
    with pytest.raises(UserError, match="would lie outside of the studio"):
        backup.restore_backup(bad, store, full / "studio", full, replace=True)


KILLED = """
import os, signal, sys
from pathlib import Path
from tasks.backup import backup
from tasks.store.store import Store

left = int(sys.argv[3])

def write(path, data, plain=backup.write_file):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    plain(path, data)

backup.write_file = write
place = Path(sys.argv[2])
backup.restore_backup(Path(sys.argv[1]), Store.open("", place / "studio"), place / "studio", place)
"""


@pytest.mark.parametrize("left", [0, 1, 3])
def test_kill_9_and_the_same_command_again(full: Path, store: Store, left: int) -> None:
    file, there = made(full, store), full / "elsewhere"
    done = subprocess.run([sys.executable, "-c", KILLED, str(file), str(there), str(left)], cwd=REPOSITORY)
    assert done.returncode == -signal.SIGKILL
    other = empty(there)
    assert post_store.find(other) == []
    backup.restore_backup(file, other, there / "studio", there)
    assert post_store.find(other) == post_store.find(store)
    assert (there / "prompts/pip.toml").exists()
    other.close()


def test_a_backup_moves_a_store_to_another_database(full: Path, opened: Opened) -> None:
    """From SQLite into whichever this is."""
    there = full / "elsewhere"
    source = empty(there)
    put(source)
    file = full / "moved.zip"
    backup.write_backup(file, source, there / "studio", there)
    target = opened()
    backup.restore_backup(file, target, full / "studio", full, replace=True)
    assert post_store.find(target) == post_store.find(source)
    source.close()
