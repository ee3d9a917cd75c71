"""One post that somebody asks for by name: it goes out, or one sentence says why not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tasks.posts import post_store
from tasks.publish import accounts, publish
from tasks.publish import report as receipts
from tasks.publish.publish import PublishRun
from tasks.publishers.base import Publisher, PublishError
from tasks.store.store import Store
from tests.support.approved import ACCOUNT, FREE, One, Scene, Watched

YEARS = timedelta(days=4 * 365)


@pytest.fixture
def scene(store: Store, tmp_path: Path) -> Scene:
    studio = tmp_path / "studio"
    return Scene(store, studio, Watched(studio))


def resume(scene: Scene) -> None:
    with scene.store.writing() as connection:
        accounts.resume(connection, "folder", ACCOUNT, scene.clock())


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"person": True}, "{account} is logged out: log in; then run restage account {account} --resume"),
        ({"pause": 7200.0}, "the account is left alone until then ({account} is logged out: log in) (until {until})"),
    ],
)
def test_why_it_does_not_go_out_is_one_sentence(scene: Scene, asked: dict[str, float], says: str) -> None:
    first, post = scene.post(1), scene.post(2)
    scene.publisher.wrong = {"prepare": [PublishError(f"{ACCOUNT} is logged out: log in", **asked)]}
    scene.run(post=first.id)
    report = scene.run(post=post.id)
    until = (scene.clock() + timedelta(hours=2)).astimezone()
    said = says.format(account=ACCOUNT, until=f"{until:%Y-%m-%d %H:%M}")
    assert list(receipts.lines(report)) == [f"waiting: {ACCOUNT}: post {post.id} stays approved, since {said}"]
    assert receipts.summary(report)["waiting"][0]["post"] == post.id
    assert len(report.in_need) == ("person" in asked)
    assert scene.now(post).state == "approved"


class Quick(One):
    """Outlets that take so long to open that a person is quicker."""

    meanwhile: Callable[[], object]

    def open(self, name: str, account: str) -> Publisher:
        self.meanwhile()
        return super().open(name, account)


def test_a_person_who_was_quicker_is_told_of(scene: Scene) -> None:
    post, quick = scene.post(), Quick(scene.publisher)
    quick.meanwhile = lambda: post_store.change(scene.store, post, "awaiting review", "ann", "not yet")
    report = publish.publish(PublishRun(scene.store, scene.studio, quick, FREE, post=post.id, now=scene.clock))
    assert [each.why for each in report.waiting] == [f"post {post.id} is awaiting review by now: look at it again"]
    assert not scene.publisher.calls


def test_after_a_failure_it_waits_whoever_asks(scene: Scene) -> None:
    post = scene.post()
    scene.publisher.wrong = {"prepare": [PublishError("no answer")]}
    scene.run(post=post.id)
    scene.clock.sleep(accounts.COOL_DOWN + 1)
    report = scene.run(post=post.id)
    assert [each.why for each in report.waiting] == [f"post {post.id} is tried again then (no answer)"]
    assert scene.now(post).state == "approved"


@pytest.mark.parametrize("by_name", [True, False])
@pytest.mark.parametrize("failures", [1, 4])
def test_a_failure_while_the_clock_was_years_ahead_keeps_nobody_from_sending_it(
    scene: Scene, failures: int, by_name: bool
) -> None:
    post, before = scene.post(), scene.clock.at
    scene.clock.at += YEARS
    scene.publisher.wrong = {"prepare": [PublishError("no answer") for _ in range(failures)]}
    for _ in range(failures):
        scene.run(post=post.id)
        scene.clock.sleep(12 * 3600)
    scene.clock.at = before
    resume(scene)
    scene.run(post=post.id if by_name else "")
    assert scene.now(post).state == "published" and len(scene.publisher.sent) == 1


@pytest.mark.parametrize("call", ["look", "prepare", "snapshot"])
def test_who_lets_an_account_go_on_takes_it_from_the_run_that_holds_it(scene: Scene, call: str) -> None:
    post, other = scene.post(), Watched(scene.studio)

    def meanwhile() -> None:
        resume(scene)
        replace(scene, publisher=other).run()

    scene.publisher.meanwhile = {call: meanwhile}
    scene.run()
    assert not scene.publisher.sent and len(other.sent) == 1
    assert scene.now(post).state == "published" and len(scene.folders()) == 1


@pytest.mark.parametrize("back", [timedelta(0), YEARS])
def test_not_while_it_sends(scene: Scene, back: timedelta) -> None:
    """Somebody finds nothing on the account yet, which is no wonder; or the clock is set right at this very moment."""
    post, other = scene.post(), Watched(scene.studio)
    second = replace(scene, publisher=other)

    def meanwhile() -> None:
        scene.clock.at -= back
        if not back:
            resume(scene)
        assert next(each.why for each in second.run().waiting) == "another run publishes there just now"
        assert scene.now(post).state == "committing"

    scene.publisher.meanwhile = {"commit": meanwhile}
    scene.run()
    assert not other.calls
    assert scene.now(post).state == "published" and len(scene.folders()) == 1


def test_a_run_that_was_killed_while_it_sent_with_its_clock_ahead_is_mended_after_a_lease(scene: Scene) -> None:
    post, other = scene.post(), Watched(scene.studio)
    second = replace(scene, publisher=other)

    def meanwhile() -> None:
        scene.clock.at -= YEARS
        second.run()
        scene.clock.sleep(accounts.LEASE)
        second.run()
        assert scene.now(post).state == "unknown"

    scene.publisher.meanwhile = {"commit": meanwhile}
    scene.run()
    assert scene.now(post).state == "published" and not other.sent
