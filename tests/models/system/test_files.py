"""Files written whole or not at all, beside others who write the same ones."""

import os
import time
from pathlib import Path

from models.system.files import ABANDONED_SECONDS, is_abandoned, write_file


def test_what_is_gone_meanwhile_is_nobodys_trouble(tmp_path: Path) -> None:
    assert not is_abandoned(tmp_path / ".a.json.1234.part")


def test_halves_of_killed_processes_are_swept_away_and_young_ones_left(tmp_path: Path) -> None:
    old, young, other = (tmp_path / name for name in (".a.json.1.part", ".a.json.2.part", ".b.json.1.part"))
    for half in (old, young, other):
        half.write_bytes(b"half")
    long_ago = time.time() - 2 * ABANDONED_SECONDS
    os.utime(old, (long_ago, long_ago))
    os.utime(other, (long_ago, long_ago))
    write_file(tmp_path / "a.json", b"whole")
    assert (tmp_path / "a.json").read_bytes() == b"whole"
    assert not old.exists()
    assert young.exists()
    assert other.exists(), "another file's half is not this one's business"
