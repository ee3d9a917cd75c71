"""Versions of learned words: all are kept, one counts, and going back is a row."""

import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import torch
from sqlalchemy import func, select

from models.sdxl import embedding
from models.sdxl.embedding import Embedding, EmbeddingMetadata
from models.system.errors import UserError
from tasks.store.store import Store
from tasks.store.tables import EMBEDDING_CURRENT
from tasks.training import versions
from tasks.training.versions import VersionChange
from tests.support.stores import Opened

REPOSITORY = Path(__file__).parents[3]
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ABOUT = EmbeddingMetadata(
    base_model="b" * 64, base_model_name="toybox", seed=7, metrics={"identity": 0.75, "leak": float("nan")}
)


def word(seed: int = 0, token: str = "<pip>") -> Embedding:
    generator = torch.Generator().manual_seed(seed)
    return Embedding(token, tuple(torch.randn(2, width, generator=generator) for width in (8, 12)))


@pytest.fixture
def three(store: Store, tmp_path: Path) -> list[versions.Version]:
    return [versions.save_version(store, tmp_path, "pip", word(seed), ABOUT) for seed in range(3)]


def test_a_version_is_kept_as_it_was_given(store: Store, tmp_path: Path) -> None:
    made = versions.save_version(
        store, tmp_path, "pip", word(), ABOUT, reference_set="r1", training="t1", score=0.5, note="first", at=NOON
    )
    assert [made] == versions.list_versions(store, "pip") == versions.list_versions(store)
    assert (made.name, made.id, made.file) == ("pip@1", word().hash, "embeddings/pip/v1.safetensors")
    assert (made.token, made.vectors, made.score, made.note) == ("<pip>", 2, 0.5, "first")
    assert (made.reference_set, made.training, made.base_model_name) == ("r1", "t1", "toybox")
    assert made.metrics == {"identity": 0.75, "leak": None}
    assert made.created_at == "2026-11-20T12:00:00.000+00:00"
    assert not made.current
    found, about = versions.load_version(tmp_path, made)
    assert found == word()
    assert (about.persona, about.seed) == ("pip", 7)


def test_numbers_count_from_one_for_each_persona(store: Store, three: list[versions.Version], tmp_path: Path) -> None:
    versions.save_version(store, tmp_path, "mara", word(), ABOUT)
    assert [each.name for each in versions.list_versions(store)] == ["mara@1", "pip@1", "pip@2", "pip@3"]


def test_the_same_word_is_the_same_version(store: Store, three: list[versions.Version], tmp_path: Path) -> None:
    path = tmp_path / three[1].file
    before = path.read_bytes()
    again = versions.save_version(store, tmp_path, "pip", word(1), EmbeddingMetadata(), note="again")
    assert again == versions.register_version(store, "pip", word(1), "elsewhere.safetensors", ABOUT) == three[1]
    assert path.read_bytes() == before
    path.unlink()
    versions.save_version(store, tmp_path, "pip", word(1), ABOUT)
    assert embedding.read_embedding(path) == word(1)


def test_a_file_written_by_the_caller_is_registered_where_it_is(store: Store, tmp_path: Path) -> None:
    embedding.write_embedding(tmp_path / "training" / "best.safetensors", word(), ABOUT)
    made = versions.register_version(store, "pip", word(), "training/best.safetensors", ABOUT, training="t1", at=NOON)
    assert (made.number, made.file) == (1, "training/best.safetensors")
    assert versions.load_version(tmp_path, made)[0] == word()


def test_half_precision_is_registered_as_what_the_file_gives_back(store: Store, tmp_path: Path) -> None:
    made = versions.save_version(store, tmp_path, "pip", word(), ABOUT, half=True)
    assert made.id != word().hash
    found, _ = versions.load_version(tmp_path, made)
    assert found.hash == made.id == embedding.round_to_half(word()).hash
    assert versions.save_version(store, tmp_path, "pip", word(), ABOUT, half=True) == made


def test_the_newest_choice_counts_and_going_back_is_one_more(store: Store, three: list[versions.Version]) -> None:
    assert versions.current_version(store, "pip") is None
    later = [NOON + timedelta(days=day) for day in range(4)]
    versions.make_current(store, "pip", 2, "better", "ann", later[0])
    versions.make_current(store, "pip", 3, "", "ann", later[1])
    chosen = versions.make_current(store, "pip", 2, "3 forgot the stripe", "bob", later[2])
    assert chosen == versions.current_version(store, "pip") == versions.find_version(store, "pip")
    assert [each.current for each in versions.list_versions(store, "pip")] == [False, True, False]
    assert versions.list_changes(store, "pip") == [
        VersionChange(2, "2026-11-20T12:00:00.000+00:00", "ann", "better"),
        VersionChange(3, "2026-11-21T12:00:00.000+00:00", "ann", ""),
        VersionChange(2, "2026-11-22T12:00:00.000+00:00", "bob", "3 forgot the stripe"),
    ]
    versions.make_current(store, "pip", 2, "again", "ann", later[3])
    assert len(versions.list_changes(store, "pip")) == 3  # it was current already


def test_a_choice_for_one_persona_is_none_for_another(
    store: Store, three: list[versions.Version], tmp_path: Path
) -> None:
    versions.save_version(store, tmp_path, "mara", word(0), ABOUT)  # the very same word
    versions.make_current(store, "pip", 1, "", "ann")
    assert versions.current_version(store, "mara") is None
    assert [each.current for each in versions.list_versions(store)] == [False, True, False, False]
    assert versions.list_changes(store, "mara") == []


def test_times_are_kept_in_utc(store: Store, three: list[versions.Version]) -> None:
    east = datetime(2026, 11, 20, 12, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    versions.make_current(store, "pip", 1, "", "ann", east)
    assert versions.list_changes(store, "pip")[0].since == "2026-11-20T06:30:00.000+00:00"
    with pytest.raises(AssertionError, match="without its zone"):
        versions.make_current(store, "pip", 2, "", "ann", datetime(2026, 11, 20))


def test_what_is_not_there_is_said(store: Store, three: list[versions.Version], tmp_path: Path) -> None:
    versions.save_version(store, tmp_path, "mara", word(), ABOUT)
    for call, sentence in {
        lambda: versions.make_current(store, "pip", 7, "", "ann"): "pip has no version 7: there are 1 to 3",
        lambda: versions.find_version(store, "mara", 2): "mara has no version 2: there is only 1",
        lambda: versions.find_version(
            store, "pip"
        ): "pip has no current version: choose one with restage embeddings use",
        lambda: versions.find_version(
            store, "none"
        ): "none has no versions yet: teach one with restage train none, or import a file",
        lambda: versions.save_version(
            store, tmp_path, "../pip", word(), ABOUT
        ): r"'../pip' cannot be the name of a persona",
    }.items():
        with pytest.raises(UserError, match=sentence):
            call()
    with store.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(EMBEDDING_CURRENT)) == 0


def test_a_file_that_is_gone_or_another_is_refused(store: Store, three: list[versions.Version], tmp_path: Path) -> None:
    (tmp_path / three[0].file).unlink()
    with pytest.raises(UserError, match=r"the file of pip@1 is gone from .*: put it back from a backup"):
        versions.load_version(tmp_path, three[0])
    embedding.write_embedding(tmp_path / three[1].file, word(9), ABOUT)
    with pytest.raises(UserError, match=r"v2\.safetensors is not what was registered as pip@2"):
        versions.load_version(tmp_path, three[1])


@pytest.mark.parametrize("content", [b"somebody's own", None])
def test_a_file_that_the_store_does_not_know_is_never_replaced(
    content: bytes | None, store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "embeddings" / "pip" / "v1.safetensors"
    embedding.write_embedding(path, word(5), ABOUT)
    if content:
        path.write_bytes(content)
    before = path.read_bytes()
    made = versions.save_version(store, tmp_path, "pip", word(), ABOUT)
    assert made.file == f"embeddings/pip/v1-{word().hash[:10]}.safetensors"
    assert path.read_bytes() == before
    assert versions.load_version(tmp_path, made)[0] == word()


KILLED = """
import os, signal, sys
from pathlib import Path
from models.system import files
from tasks.training import versions
from tasks.store.store import Store
from tests.tasks.training.test_versions import ABOUT, word
store = Store.open(sys.argv[1], Path(sys.argv[2]))
if sys.argv[3] == "before":
    os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
else:
    versions._insert_version = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
versions.save_version(store, Path(sys.argv[2]), "pip", word(), ABOUT)
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_while_it_is_kept(moment: str, url: str, opened: Opened, tmp_path: Path) -> None:
    """Before the file has its name, and between file and row."""
    run = subprocess.run([sys.executable, "-c", KILLED, url, str(tmp_path), moment], cwd=REPOSITORY)
    assert run.returncode == -signal.SIGKILL
    store = opened()
    assert versions.list_versions(store) == []
    made = versions.save_version(store, tmp_path, "pip", word(), ABOUT)
    assert (made.number, made.file) == (1, "embeddings/pip/v1.safetensors")
    assert versions.load_version(tmp_path, made)[0] == word()


REGISTER = """
import sys
from pathlib import Path
from tasks.training import versions
from tasks.store.store import Store
from tests.tasks.training.test_versions import ABOUT, word
store, studio = Store.open(sys.argv[1], Path(sys.argv[2])), Path(sys.argv[2])
for seed in range(4):
    made = versions.save_version(store, studio, "pip", word(seed), ABOUT)
    versions.make_current(store, "pip", made.number, "", sys.argv[3])
"""


def test_processes_that_keep_the_same_words_agree(url: str, opened: Opened, tmp_path: Path) -> None:
    commands = [[sys.executable, "-c", REGISTER, url, str(tmp_path), str(number)] for number in range(2)]
    running = [subprocess.Popen(command, cwd=REPOSITORY) for command in commands]
    assert [each.wait(240) for each in running] == [0, 0]
    store = opened()
    found = versions.list_versions(store, "pip")
    assert [each.number for each in found] == [1, 2, 3, 4]
    assert {each.id for each in found} == {word(seed).hash for seed in range(4)}
    assert [versions.load_version(tmp_path, each)[0].hash for each in found] == [each.id for each in found]
    assert sum(each.current for each in found) == 1
    files = (tmp_path / "embeddings" / "pip").iterdir()
    assert sorted(path.name for path in files) == [f"v{number}.safetensors" for number in range(1, 5)]
