"""A lock file that a dead process does not hold."""

import subprocess
import sys
from pathlib import Path

import pytest

from models.system import file_lock
from models.system.errors import UserError

HOLD = """
import sys, time
from pathlib import Path
from models.system import file_lock as lock
with lock.hold_lock(Path(sys.argv[1]), {"prefect": "there"}):
    print("held", flush=True)
    time.sleep(60)
"""


def holding(path: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_one_holds_it_at_a_time_and_says_who(tmp_path: Path) -> None:
    path = tmp_path / "studio" / "a.lock"
    assert file_lock.lock_holder(path) is None
    with file_lock.hold_lock(path, {"prefect": "here"}):
        with pytest.raises(file_lock.LockHeldError) as held, file_lock.hold_lock(path, {}):
            pass
        assert held.value.holder["prefect"] == "here"
        assert file_lock.lock_holder(path) == held.value.holder
    assert file_lock.lock_holder(path) is None
    with file_lock.hold_lock(path, {}):
        pass


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    process = holding(path)
    try:
        found = file_lock.lock_holder(path)
        assert found is not None
        assert found["pid"] == str(process.pid)
    finally:
        process.kill()
        process.wait()
    assert file_lock.lock_holder(path) is None
    with file_lock.hold_lock(path, {}):
        assert file_lock.lock_holder(path) != found


def test_where_nothing_can_be_written_is_said_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "studio").write_text("a file")
    with (
        pytest.raises(
            UserError, match=r"studio/a\.lock cannot be written \(.*\): free space, check the rights, or set"
        ),
        file_lock.hold_lock(tmp_path / "studio" / "a.lock", {}),
    ):
        pass
    assert file_lock.lock_holder(tmp_path / "studio" / "a.lock") is None


def test_what_stands_there_may_be_torn(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with file_lock.hold_lock(path, {}):
        path.write_text('{"pid": ')
        assert file_lock.lock_holder(path) == {}
