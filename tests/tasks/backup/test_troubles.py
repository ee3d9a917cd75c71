"""What goes wrong with a backup is told as what it is, with the path that it is about."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from models.system.errors import UserError
from tasks.backup import archive
from tasks.backup.backup import restore_backup, write_backup
from tasks.store.store import Store

REPOSITORY = Path(__file__).parents[3]
UNREADABLE = Path("/proc/self/mem")  # opens for everybody, and reading it from its start is refused by the system
needs_linux = pytest.mark.skipif(not UNREADABLE.exists(), reason="only Linux has a file that nobody can read")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store.open("", tmp_path / "studio")) as opened:
        yield opened


@pytest.fixture
def file(store: Store, tmp_path: Path) -> Path:
    """A backup of a studio that then holds something else."""
    picture = tmp_path / "studio" / "artifacts" / "one.png"
    picture.parent.mkdir()
    picture.write_text("picture")
    write_backup(tmp_path / "b.zip", store, tmp_path / "studio", tmp_path)
    picture.write_text("newer")
    return tmp_path / "b.zip"


@needs_linux
def test_a_file_of_the_studio_that_cannot_be_read_is_named(store: Store, tmp_path: Path) -> None:
    place = tmp_path / "studio" / "artifacts" / "bad.png"
    place.parent.mkdir()
    place.symlink_to(UNREADABLE)
    with pytest.raises(UserError, match=r"studio/artifacts/bad\.png cannot be read \(.*\): check its rights"):
        write_backup(tmp_path / "b.zip", store, tmp_path / "studio", tmp_path)
    assert not [path for path in tmp_path.iterdir() if "b.zip" in path.name]


@needs_linux
def test_a_pointer_that_cannot_be_read_is_named(store: Store, tmp_path: Path) -> None:
    place = tmp_path / "studio" / "references" / "pip" / "current.json"
    place.parent.mkdir(parents=True)
    place.symlink_to(UNREADABLE)
    with pytest.raises(UserError, match=r"pip/current\.json cannot be read \(.*\): check its rights"):
        write_backup(tmp_path / "b.zip", store, tmp_path / "studio", tmp_path)


FULL = """
import resource, sys
from pathlib import Path
from tasks.backup.backup import write_backup
from tasks.store.store import Store

place = Path(sys.argv[1])
store = Store.open("", place / "studio")
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
write_backup(place / "b.zip", store, place / "studio", place)
"""


def test_a_backup_that_finds_no_space_is_told_so_and_leaves_nothing(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("resource")
    with (tmp_path / "studio" / "large.png").open("wb") as large:
        large.truncate(2 << 20)
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], cwd=REPOSITORY, capture_output=True, text=True)
    assert f"{tmp_path / 'b.zip'} cannot be written (file too large): free space" in done.stderr
    assert not [path for path in tmp_path.iterdir() if "b.zip" in path.name]


@needs_linux
def test_a_file_that_cannot_be_compared_is_no_fault_of_the_backup(file: Path, store: Store, tmp_path: Path) -> None:
    place = tmp_path / "studio" / "artifacts" / "one.png"
    place.unlink()
    place.symlink_to(UNREADABLE)
    with pytest.raises(UserError, match=r"studio/artifacts/one\.png cannot be read \(.*\): check its rights"):
        restore_backup(file, store, tmp_path / "studio", tmp_path, replace=True)


def test_a_folder_where_a_file_belongs_is_named(file: Path, store: Store, tmp_path: Path) -> None:
    place = tmp_path / "studio" / "artifacts" / "one.png"
    place.unlink()
    place.mkdir()
    with pytest.raises(UserError, match=r"studio/artifacts/one\.png cannot be read \(is a directory\)"):
        restore_backup(file, store, tmp_path / "studio", tmp_path, replace=True)


def test_what_cannot_be_moved_is_named_and_stays(file: Path, store: Store, tmp_path: Path) -> None:
    (tmp_path / "studio" / "replaced").write_text("in the way")
    with pytest.raises(UserError, match=r"one\.png cannot be moved to .*/replaced/.* \(.*\): free space, or check"):
        restore_backup(file, store, tmp_path / "studio", tmp_path, replace=True)
    assert (tmp_path / "studio" / "artifacts" / "one.png").read_text() == "newer"


def test_no_space_for_what_comes_back_is_told_of_its_place(file: Path, store: Store, tmp_path: Path) -> None:
    place = tmp_path / "studio" / "artifacts"
    (place / "one.png").unlink()
    place.rmdir()
    place.write_text("in the way")
    with pytest.raises(UserError, match=r"studio/artifacts/one\.png cannot be written"):
        restore_backup(file, store, tmp_path / "studio", tmp_path, replace=True)


def test_a_folder_for_temporary_files_that_is_missing_is_named(
    file: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(UserError, match=r"gone.* cannot be written \(no such file or directory\): free space there"):
        write_backup(tmp_path / "c.zip", store, tmp_path / "studio", tmp_path)


def test_a_folder_is_no_damaged_backup(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"studio cannot be read \(is a directory\): check"):
        restore_backup(tmp_path / "studio", store, tmp_path / "studio", tmp_path)


@pytest.mark.parametrize("head", ["", "[]", "3", "{}", '{"files": {}}', '{"files": {"restage.db": 3}}', '{"files": 3}'])
def test_a_list_that_is_none_is_no_whole_backup(head: str, store: Store, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as made:
        made.writestr(archive.LIST, head)
    with pytest.raises(UserError, match="is not a whole backup .*: take another one"):
        restore_backup(tmp_path / "b.zip", store, tmp_path / "studio", tmp_path)


def test_a_byte_that_is_another_now_is_damage(file: Path, store: Store, tmp_path: Path) -> None:
    data = bytearray(file.read_bytes())
    data[data.index(b"picture")] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"is damaged at studio/artifacts/one\.png: take another backup"):
        restore_backup(file, store, tmp_path / "studio", tmp_path, replace=True)
    assert (tmp_path / "studio" / "artifacts" / "one.png").read_text() == "newer"
