"""A store that is locked and a disk that is full, at the worst moments: nothing goes out twice, nothing is lost."""

import resource
import sqlite3
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from models.system.errors import UserError
from tasks.publish.accounts import LEASE
from tasks.publishers.base import ApprovedPost, PreparedUpload
from tasks.store.databases import StoreError
from tasks.store.store import Store
from tests.support.approved import Scene, Watched


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    studio = tmp_path / "studio"
    with closing(Store.open("", studio, patience=0.1)) as store:
        yield Scene(store, studio, Watched(studio))


def lock(scene: Scene) -> sqlite3.Connection:
    other = sqlite3.connect(scene.studio / "restage.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    return other


def test_a_receipt_waits_for_a_locked_store(scene: Scene) -> None:
    post = scene.post()

    def meanwhile() -> None:
        other = lock(scene)
        threading.Timer(0.7, other.close).start()

    scene.publisher.meanwhile = {"after commit": meanwhile}
    scene.run()
    assert scene.now(post).state == "published"
    assert "unknown" not in scene.states(post)


def test_a_receipt_that_could_not_be_written_is_found_by_looking(scene: Scene) -> None:
    post, held = scene.post(), []
    scene.publisher.meanwhile = {"after commit": lambda: held.append(lock(scene))}
    with pytest.raises(StoreError, match="held by another program"):
        scene.run()
    held[0].close()
    scene.clock.sleep(LEASE)
    scene.run(patience=60.0)
    assert scene.states(post)[-3:] == ["committing", "unknown", "published"]
    assert len(scene.publisher.sent) == 1


def test_nothing_is_sent_that_could_not_be_written_down_before(scene: Scene) -> None:
    post, held = scene.post(), []
    scene.publisher.meanwhile = {"snapshot": lambda: held.append(lock(scene))}
    with pytest.raises(StoreError):
        scene.run()
    assert not scene.publisher.sent
    held[0].close()
    scene.clock.sleep(LEASE)
    scene.run()
    assert scene.now(post).state == "published" and len(scene.publisher.sent) == 1


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """No file may grow beyond this."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Cramped(Watched):
    def prepare(self, parcel: ApprovedPost, upload_id: str, progress: MutableMapping[str, str]) -> PreparedUpload:
        with full_disk(100):
            return super().prepare(parcel, upload_id, progress)


def test_a_post_that_finds_no_room_is_tried_again_later(scene: Scene) -> None:
    post = scene.post()
    scene.publisher, roomy = Cramped(scene.studio), scene.publisher
    scene.run()
    assert scene.now(post).state == "approved"
    assert "cannot be written (file too large): free space" in scene.now(post).problem
    scene.publisher = roomy
    scene.clock.sleep(3600)
    scene.run()
    assert scene.now(post).state == "published"


def test_on_a_full_disk_everything_stops_and_goes_on_when_there_is_room(scene: Scene) -> None:
    made = [scene.post(number) for number in range(3)]
    with full_disk(1000), pytest.raises(UserError):
        scene.run()
    assert not scene.publisher.sent
    scene.clock.sleep(LEASE)
    scene.run()
    assert [scene.now(each).state for each in made] == ["published"] * 3
    assert len(scene.folders()) == 3
