"""The folder publisher: a post's folder is there whole or not at all, and nobody else's is touched."""

import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from tasks.publishers.base import Absent, ApprovedPost, BeforeCommit, FoundOnAccount, PublishError
from tasks.publishers.folder import Folder

BEFORE = BeforeCommit(0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "studio", "pip_daily")


@pytest.mark.parametrize("kind", ["photo", "album", "story"])
def test_a_post_is_written_as_it_was_approved(kind: str, folder: Folder, parcel: Callable[..., ApprovedPost]) -> None:
    post = parcel(kind)
    receipt = folder.commit(post, folder.prepare(post, "17", {}))
    place = folder.root / "2026-11-21-pip-3f2a91c0"
    assert receipt.media_id == place.name
    assert receipt.permalink == place.absolute().as_uri()
    for number, picture in enumerate(post.pictures, start=1):
        assert (place / f"{number}.jpg").read_bytes() == picture.path.read_bytes()
    assert (place / "caption.txt").read_text() == post.caption + "\n"
    record = json.loads((place / "post.json").read_text())
    assert (record["upload_id"], record["post"], record["account"]) == ("17", post.post_id, "pip_daily")
    assert [each["alt"] for each in record["pictures"]] == list(post.alts)
    assert folder.list_recent_media("photo") == [place.name]


def test_nothing_is_seen_before_the_commit(folder: Folder, parcel: Callable[..., ApprovedPost]) -> None:
    post = parcel()
    prepared = folder.prepare(post, "17", {})
    assert [each for each in folder.root.iterdir() if not each.name.startswith(".")] == []
    assert isinstance(folder.find_published(post, prepared, BEFORE), Absent)
    receipt = folder.commit(post, prepared)
    found = folder.find_published(post, prepared, BEFORE)
    assert isinstance(found, FoundOnAccount)
    assert found.receipt == receipt
    assert {each.name for each in folder.root.iterdir()} == {"2026-11-21-pip-3f2a91c0", ".lock"}


def test_a_second_commit_changes_nothing(folder: Folder, parcel: Callable[..., ApprovedPost]) -> None:
    post = parcel()
    receipt = folder.commit(post, folder.prepare(post, "17", {}))
    files = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (folder.root / receipt.media_id).iterdir()}
    edited = replace(post, caption="another")
    assert folder.commit(edited, folder.prepare(edited, "17", {})) == receipt
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files} == files


def test_another_post_of_the_same_shot_gets_a_folder_of_its_own(
    folder: Folder, parcel: Callable[..., ApprovedPost]
) -> None:
    first, second, third = parcel(), parcel(), parcel()
    receipts = [folder.commit(each, folder.prepare(each, str(n), {})) for n, each in enumerate((first, second, third))]
    assert [each.media_id for each in receipts] == [f"2026-11-21-pip-3f2a91c0{end}" for end in ("", "-2", "-3")]
    assert (folder.root / receipts[0].media_id / "caption.txt").read_text() == first.caption + "\n"
    found = folder.find_published(second, folder.prepare(second, "1", {}), BEFORE)
    assert isinstance(found, FoundOnAccount)
    assert found.receipt == receipts[1]


def test_somebodys_own_folder_is_left_alone(folder: Folder, parcel: Callable[..., ApprovedPost]) -> None:
    own = folder.root / "2026-11-21-pip-3f2a91c0"
    own.mkdir(parents=True)
    (own / "notes.txt").write_text("mine")
    post = parcel()
    assert folder.commit(post, folder.prepare(post, "17", {})).media_id == "2026-11-21-pip-3f2a91c0-2"
    assert [each.name for each in own.iterdir()] == ["notes.txt"]


def test_names_do_not_lead_elsewhere(folder: Folder, parcel: Callable[..., ApprovedPost]) -> None:
    post = parcel(persona="../../pip", shot="a/b")
    receipt = folder.commit(post, folder.prepare(post, "../17", {}))
    assert (folder.root / receipt.media_id).parent == folder.root
    assert receipt.media_id == "2026-11-21-------pip-a-b"


def test_a_record_that_cannot_be_read_stops_the_look(folder: Folder, parcel: Callable[..., ApprovedPost]) -> None:
    post = parcel()
    prepared = folder.prepare(post, "17", {})
    receipt = folder.commit(post, prepared)
    (folder.root / receipt.media_id / "post.json").write_text("{")
    with pytest.raises(PublishError, match="cannot be read"):
        folder.find_published(post, prepared, BEFORE)


def test_what_was_prepared_and_lost_is_told(folder: Folder, parcel: Callable[..., ApprovedPost]) -> None:
    post = parcel()
    prepared = folder.prepare(post, "17", {})
    shutil.rmtree(folder.root)
    with pytest.raises(PublishError, match="prepare it again"):
        folder.commit(post, prepared)


def _publish(folder: Folder, post: ApprovedPost, upload_id: str) -> None:
    folder.commit(post, folder.prepare(post, upload_id, {}))


def _tell_and_publish(folder: Folder, post: ApprovedPost, upload_id: str, ready: Path) -> None:
    ready.parent.mkdir(parents=True, exist_ok=True)
    ready.touch()
    _publish(folder, post, upload_id)


def test_two_at_once_make_one_folder(folder: Folder, parcel: Callable[..., ApprovedPost]) -> None:
    post = parcel()
    context = multiprocessing.get_context("spawn")  # a fork of a process with torch's threads may crash by itself
    for upload_id in ("1", "2", "3"):
        both = [context.Process(target=_publish, args=(folder, post, upload_id)) for _ in range(2)]
        for each in both:
            each.start()
        for each in both:
            each.join(120)
        assert all(each.exitcode == 0 for each in both)
    records = [json.loads(path.read_text())["upload_id"] for path in folder.root.glob("[!.]*/post.json")]
    assert sorted(records) == ["1", "2", "3"]


def test_one_commit_waits_for_the_other(folder: Folder, parcel: Callable[..., ApprovedPost]) -> None:
    fcntl = pytest.importorskip("fcntl")
    post = parcel()
    prepared = folder.prepare(post, "17", {})
    with (folder.root / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = Thread(target=folder.commit, args=(post, prepared))
        waiting.start()
        waiting.join(0.5)
        assert isinstance(folder.find_published(post, prepared, BEFORE), Absent)
    waiting.join(120)
    assert isinstance(folder.find_published(post, prepared, BEFORE), FoundOnAccount)


def test_killed_anywhere_it_is_whole_or_not_there(folder: Folder, parcel: Callable[..., ApprovedPost]) -> None:
    post = parcel("album")
    context = multiprocessing.get_context("spawn")
    for number in range(12):
        ready = folder.root.parent / f"ready {number}"
        process = context.Process(target=_tell_and_publish, args=(folder, post, str(number), ready))
        process.start()
        deadline = time.monotonic() + 120
        while not ready.exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.001 * number)
        assert process.pid
        os.kill(process.pid, signal.SIGKILL)
        process.join(120)
        for place in folder.root.glob("[!.]*"):
            assert {each.name for each in place.iterdir()} == {"1.jpg", "2.jpg", "3.jpg", "caption.txt", "post.json"}
        _publish(folder, post, str(number))
    records = [json.loads(path.read_text())["upload_id"] for path in folder.root.glob("[!.]*/post.json")]
    assert sorted(records, key=int) == [str(number) for number in range(12)]


def test_it_is_well_where_it_can_write(tmp_path: Path) -> None:
    assert Folder(tmp_path / "studio", "pip_daily").check_health().ok


def test_what_a_killed_process_left_is_swept_away_in_time(folder: Folder, parcel: Callable[..., ApprovedPost]) -> None:
    post = parcel()
    old, young = (folder.root / f".2026-11-21-pip-3f2a91c0.17.{end}" for end in ("0ld", "y0ung"))
    for each in (old, young):
        each.mkdir(parents=True)
        (each / ".1.jpg.part").write_text("half")
    os.utime(old, (0, 0))
    folder.prepare(post, "17", {})
    assert not old.exists()
    assert young.exists()


def test_a_place_that_is_none_is_one_sentence(tmp_path: Path, parcel: Callable[..., ApprovedPost]) -> None:
    (tmp_path / "studio").mkdir()
    (tmp_path / "studio" / "posts").write_text("a file where the folder belongs")
    folder = Folder(tmp_path / "studio", "pip_daily")
    with pytest.raises(PublishError, match="posts cannot be read"):
        folder.prepare(parcel(), "17", {})


def test_many_at_once_never_trip_over_each_other(folder: Folder, parcel: Callable[..., ApprovedPost]) -> None:
    """Folders of other preparations come and go between a look at their names and a look at their age."""
    post, errors = parcel(), []

    def publish() -> None:
        try:
            for upload_id in range(8):
                _publish(folder, post, str(upload_id))
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=publish) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(120)
    assert not errors
    records = [json.loads(path.read_text())["upload_id"] for path in folder.root.glob("[!.]*/post.json")]
    assert sorted(records) == sorted(map(str, range(8)))
