"""What a person or a late receipt says while a run looks stands, and the run goes on with the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tasks.posts.post import Post
from tasks.publish import accounts, attempts, publish, reconcile, resolve
from tasks.publish.publish import PublishRun
from tasks.publishers.base import PublishError, Receipt
from tasks.store.store import Store
from tests.support.approved import ACCOUNT, FREE, One, Scene, Watched

LINK = "https://www.instagram.com/p/abc/"
AMBIGUOUS = PublishError("no answer", ambiguous=True)
BLIND = {
    "absent": [],
    "blind": [PublishError("cannot be compared")],
    "logged out": [PublishError("log in first", person=True)],
}


@pytest.fixture
def scene(store: Store, tmp_path: Path) -> Scene:
    studio = tmp_path / "studio"
    return Scene(store, studio, Watched(studio))


def unanswered(scene: Scene, number: int = 1, call: str = "commit") -> Post:
    """A post that was sent, and nobody knows whether it arrived."""
    post = scene.post(number)
    scene.publisher.wrong = {call: [AMBIGUOUS]}
    scene.run()
    assert scene.now(post).state == "unknown"
    scene.clock.sleep(FREE.looks[0])
    return post


def seen_there(scene: Scene, post: Post) -> Callable[[], object]:
    return lambda: resolve.resolve(scene.store, scene.now(post), "ann", LINK, now=scene.clock)


def seen_nowhere(scene: Scene, post: Post) -> Callable[[], object]:
    return lambda: resolve.resolve(scene.store, scene.now(post), "ann", absent=True, now=scene.clock)


def late(scene: Scene, post: Post) -> Callable[[], object]:
    """The answer that the run which sent it gets after all."""
    receipt = Receipt("folder", "late", LINK)
    return lambda: reconcile.record(scene.store, post, receipt, "after all", scene.clock())


@pytest.mark.parametrize("sees", BLIND)
@pytest.mark.parametrize("told", [seen_there, late])
def test_where_it_is_out_stays_written_down(scene: Scene, sees: str, told: Callable[..., Callable[[], object]]) -> None:
    post = unanswered(scene)
    scene.publisher.meanwhile, scene.publisher.wrong = {"look": told(scene, post)}, {"look": [*BLIND[sees]]}
    report = scene.run()
    assert scene.now(post).state == "published"
    assert [each.post.state for each in report.last] == ["published"]
    assert (scene.attempt(post).permalink, bool(scene.attempt(post).published_at)) == (LINK, True)
    with scene.store.reading() as connection:
        since = scene.clock() - timedelta(days=1)
        assert len(attempts.sent_since(connection, "folder", ACCOUNT, since, scene.clock())) == 1, (
            "it counts for distance and cap"
        )


@pytest.mark.parametrize("sees", ["absent", "blind"])
def test_what_a_person_saw_nowhere_starts_anew(scene: Scene, sees: str) -> None:
    scene.rules = replace(FREE, tries=1)
    post = unanswered(scene)
    scene.publisher.meanwhile, scene.publisher.wrong = {"look": seen_nowhere(scene, post)}, {"look": [*BLIND[sees]]}
    scene.run()
    assert (scene.now(post).state, scene.attempt(post).tries, scene.attempt(post).next_at) == ("approved", 0, "")
    scene.clock.sleep(accounts.COOL_DOWN)
    scene.run()
    assert scene.now(post).state == "published"
    assert scene.attempt(post).tries == 1 and len(scene.publisher.sent) == 2 and len(scene.folders()) == 1


def test_what_the_account_asks_for_is_kept_whatever_became_of_the_post(scene: Scene) -> None:
    post = unanswered(scene)
    scene.publisher.meanwhile = {"look": seen_there(scene, post)}
    scene.publisher.wrong = {"look": [PublishError("log in first", person=True)]}
    scene.run()
    with scene.store.reading() as connection:
        assert accounts.standing(connection, "folder", ACCOUNT).person


@pytest.mark.parametrize("reconciling", [False, True])
@pytest.mark.parametrize("place", [1, 4])
def test_who_acts_during_a_look_stops_nobody_else(scene: Scene, reconciling: bool, place: int) -> None:
    first = unanswered(scene, 1)
    for _ in range(place - 1):
        scene.clock.sleep(3600)
        scene.run()
    scene.clock.sleep(accounts.COOL_DOWN)
    second = unanswered(scene, 2, "after commit")
    scene.clock.sleep(3600)
    assert scene.now(first).state == "unknown"
    scene.publisher.meanwhile = {"look": seen_there(scene, first)}
    if reconciling:
        publish.reconcile(PublishRun(scene.store, scene.studio, One(scene.publisher), now=scene.clock))
    else:
        scene.run()
    assert [scene.now(each).state for each in (first, second)] == ["published", "published"]
    assert scene.attempt(first).permalink == LINK


def test_who_acts_while_a_run_stays_for_an_answer_is_believed(scene: Scene) -> None:
    scene.rules = replace(FREE, looks=(30.0,))
    post = scene.post()

    def meanwhile() -> None:
        scene.publisher.meanwhile = {"look": seen_there(scene, post)}

    scene.publisher.wrong = {"commit": [AMBIGUOUS]}
    scene.publisher.meanwhile = {"commit": meanwhile}
    report = scene.run(patience=60.0)
    assert [(each.post.state, each.says) for each in report.last] == [
        ("published", "settled by somebody else while this run looked for it")
    ]
    assert scene.attempt(post).permalink == LINK


def test_a_receipt_that_arrives_before_the_first_look_ends_is_kept(scene: Scene) -> None:
    post = scene.post()
    scene.publisher.meanwhile = {"look": late(scene, post)}
    scene.run()
    assert scene.now(post).state == "published"
    assert scene.attempt(post).permalink == LINK and not scene.publisher.sent
