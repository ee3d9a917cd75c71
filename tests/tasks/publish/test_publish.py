"""From approval to publication: each step written down first, what is sent is what was approved, and nothing goes out twice."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import time, timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import update

from models.system.errors import UserError
from tasks.posts import post_store
from tasks.posts.post import canonical_json
from tasks.publish import accounts, attempts, publish, resolve
from tasks.publish.accounts import LEASE
from tasks.publish.claimed_account import PublishingRules
from tasks.publish.pacing import PacingRules
from tasks.publish.publish import PublishReport, PublishRun
from tasks.publishers.base import BeforeCommit, PublishError, Receipt
from tasks.publishers.disclosure import DisclosureRules
from tasks.publishers.graph.picture_hosting import Bucket, S3Credentials
from tasks.publishers.graph.publisher import Graph
from tasks.publishers.instagram.publisher import Instagram
from tasks.publishers.instagram.session import save_session, session_file
from tasks.publishers.stand_in.server import StandIn
from tasks.publishers.stand_in.state import Account
from tasks.store.store import Store, utc_text
from tasks.store.tables import APPROVAL
from tests.support import approved
from tests.support.approved import ACCOUNT, FREE, One, Scene, Watched


@dataclass
class Two:
    """Outlets of two accounts."""

    first: Watched
    second: Watched
    name: str = "folder"

    def open(self, name: str, account: str) -> Watched:
        return self.first if account == self.first.account else self.second


@pytest.fixture
def scene(store: Store, tmp_path: Path) -> Scene:
    studio = tmp_path / "studio"
    return Scene(store, studio, Watched(studio))


def test_an_approved_post_is_published_once_and_every_step_is_in_its_history(scene: Scene) -> None:
    post = scene.post()
    report = scene.run()
    assert [each.post.state for each in report.outcomes] == ["published"]
    assert scene.states(post) == ["awaiting review", "approved", "preparing", "uploaded", "committing", "published"]
    assert scene.publisher.calls == ["look", "prepare", "snapshot", "commit", "after commit"]
    (folder,) = scene.folders()
    attempt = scene.attempt(post)
    assert (attempt.media_id, attempt.receipt) == (folder.name, report.outcomes[0].receipt)
    assert scene.run() == PublishReport()
    assert len(scene.folders()) == 1


def test_what_is_sent_is_what_was_approved(scene: Scene) -> None:
    post = scene.post(kind="album", caption="Zwei Füchse 🦊", ai_label=True)
    scene.run()
    (sent,) = scene.publisher.sent
    said = post.content
    assert (sent.caption, sent.alts, sent.kind) == (said.text, ("a fox & <0>", "a fox & <1>"), "album")
    assert (sent.account, sent.when, sent.ai_label) == (said.account, said.when, True)
    assert [each.sha256 for each in sent.pictures] == [each.sha256 for each in said.pictures]
    (folder,) = scene.folders()
    digests = [hashlib.sha256((folder / f"{each}.jpg").read_bytes()).hexdigest() for each in (1, 2)]
    assert digests == [each.sha256 for each in said.pictures]


def test_an_approval_that_was_tampered_with_is_refused(scene: Scene) -> None:
    post = scene.post()
    other = replace(post.content, caption="Something nobody saw").as_dict()
    with scene.store.writing() as connection:
        connection.execute(update(APPROVAL).values(content=canonical_json(other)))
    scene.run()
    assert scene.now(post).state == "failed"
    assert "not what was approved" in scene.now(post).problem
    assert not scene.publisher.sent and not scene.folders()


def test_a_file_that_changed_after_approval_is_refused(scene: Scene) -> None:
    post = scene.post()
    (scene.studio / post.content.pictures[0].file).write_bytes(approved.picture(99))
    scene.run()
    assert scene.now(post).state == "failed"
    assert "is not the file that was approved" in scene.now(post).problem
    assert scene.publisher.calls == []


def test_a_state_alone_approves_nothing(scene: Scene) -> None:
    post = scene.post()
    with scene.store.writing() as connection:
        connection.execute(APPROVAL.delete())
    scene.run()
    assert scene.now(post).state == "awaiting review"
    assert scene.publisher.calls == []


@pytest.mark.parametrize("kind", ["photo", "story"])
def test_what_does_not_say_that_ai_made_it_stays_here(scene: Scene, kind: str) -> None:
    scene.rules = replace(FREE, wanted=DisclosureRules(True, "Made with AI"))
    missing, said = scene.post(1, kind=kind), scene.post(2, kind=kind, caption="Pip. made with ai")
    scene.run()
    # a story shows no caption, so only the file can say it
    assert scene.now(missing).state == ("published" if kind == "story" else "failed")
    assert scene.now(said).state == "published"
    if kind == "photo":
        assert "the caption does not hold 'Made with AI'" in scene.now(missing).problem


def test_a_file_without_the_label_stays_here(scene: Scene) -> None:
    from PIL import Image

    post = approved.put(scene.store, scene.studio, 1, when=scene.clock() - timedelta(hours=1))
    Image.new("RGB", (320, 320)).save(scene.studio / "ready" / "bare.jpg")
    digest = hashlib.sha256((scene.studio / "ready" / "bare.jpg").read_bytes()).hexdigest()
    shown = replace(post.content.pictures[0], file="ready/bare.jpg", sha256=digest)
    post = post_store.edit(scene.store, post, replace(post.content, pictures=(shown,)), "ann", "another")
    post_store.approve(scene.store, post, "ann")
    scene.run()
    assert "bare.jpg does not say inside that it is made by AI" in scene.now(post).problem
    assert scene.publisher.calls == []


@pytest.mark.parametrize("call", ["look", "prepare", "snapshot", "commit"])
def test_what_surely_failed_is_tried_again_later_and_then_fails(scene: Scene, call: str) -> None:
    post = scene.post()
    scene.publisher.wrong = {call: [PublishError("no answer: try again") for _ in range(9)]}
    for number in range(1, FREE.tries + 1):
        assert scene.now(post).state == "approved"
        scene.run()
        assert scene.attempt(post).tries == number
        scene.run()  # at once: nothing happens
        assert scene.attempt(post).tries == number
        scene.clock.sleep(12 * 3600)
    assert scene.now(post).state == "failed"
    assert scene.now(post).problem == "no answer: try again"
    assert not scene.folders()


def test_after_a_failure_the_same_upload_goes_on(scene: Scene) -> None:
    post = scene.post()
    scene.publisher.wrong = {"snapshot": [PublishError("no answer")]}
    scene.run()
    first = scene.attempt(post)
    assert first.progress and first.parts is not None
    scene.clock.sleep(3600)
    scene.run()
    assert scene.now(post).state == "published"
    assert scene.attempt(post).upload_id == first.upload_id
    assert scene.publisher.calls.count("look") == 1


def test_other_posts_of_the_account_go_on_after_one_that_fails_for_good(scene: Scene) -> None:
    first, second = scene.post(1), scene.post(2)
    scene.publisher.wrong = {"prepare": [PublishError("refused", permanent=True)]}
    scene.run()
    assert (scene.now(first).state, scene.now(second).state) == ("failed", "published")


def test_a_post_that_failed_waits_longer_than_its_account(scene: Scene) -> None:
    first, second = scene.post(1), scene.post(2)
    scene.publisher.wrong = {"prepare": [PublishError("no answer")]}
    scene.run()
    scene.clock.sleep(accounts.COOL_DOWN + 1)
    report = scene.run()
    assert (scene.now(first).state, scene.now(second).state) == ("approved", "published")
    assert "is tried again then (no answer)" in report.waiting[0].why


@pytest.mark.parametrize("call", ["look", "prepare", "commit"])
def test_where_a_person_has_to_log_in_nothing_goes_on_until_then(scene: Scene, call: str) -> None:
    post, other = scene.post(1), scene.post(2)
    scene.publisher.wrong = {call: [PublishError("log in first", person=True)]}
    report = scene.run()
    assert (scene.now(post).state, scene.now(other).state) == ("approved", "approved")
    said = f"log in first; then run restage account {ACCOUNT} --resume"
    assert [each.why for each in report.waiting] == [said]
    assert report.in_need == [f"post {post.id}: log in first"]
    assert scene.run().in_need == [f"{ACCOUNT}: {said}"]
    scene.clock.sleep(5 * 86400)
    scene.run()
    assert len(scene.publisher.sent) == (call == "commit")
    with scene.store.writing() as connection:
        accounts.resume(connection, "folder", ACCOUNT, scene.clock())
    scene.run()
    assert (scene.now(post).state, scene.now(other).state) == ("published", "published")
    assert scene.attempt(post).tries == 1


def test_an_account_that_asks_for_a_pause_gets_it(scene: Scene) -> None:
    post = scene.post()
    scene.publisher.wrong = {"prepare": [PublishError("wait", pause=7200.0)]}
    scene.run()
    scene.clock.sleep(7100)
    assert [each.why for each in scene.run().waiting] == ["the account is left alone until then (wait)"]
    scene.clock.sleep(200)
    scene.run()
    assert scene.now(post).state == "published"


@pytest.mark.parametrize("arrived", [True, False])
def test_an_unanswered_commit_is_never_sent_again_and_looks_decide(scene: Scene, arrived: bool) -> None:
    post = scene.post()
    scene.publisher.wrong = {"after commit" if arrived else "commit": [PublishError("no answer", ambiguous=True)]}
    scene.run()
    assert scene.now(post).state == "unknown"
    looked = scene.publisher.calls.count("look")
    scene.run()
    assert scene.publisher.calls.count("look") == looked, "too early"
    for seconds in FREE.looks:
        scene.clock.sleep(seconds)
        scene.run()
    assert scene.now(post).state == ("published" if arrived else "needs a person")
    assert len(scene.publisher.sent) == 1
    event = post_store.history(scene.store, post.id)[-1]
    assert ("holds upload id" in event.why) if arrived else ("absent at 4 looks" in event.why)
    assert len(scene.folders()) == arrived


def test_a_run_with_patience_ends_with_an_answer(scene: Scene) -> None:
    post = scene.post()
    scene.publisher.wrong = {"after commit": [PublishError("no answer", ambiguous=True)]}
    scene.publisher.hidden = 1
    report = scene.run(patience=200.0)
    assert [each.post.state for each in report.outcomes] == ["unknown", "unknown", "published"]
    assert [each.post.state for each in report.last] == ["published"]
    assert scene.now(post).state == "published"


def test_a_look_that_fails_is_no_answer_and_a_person_is_asked_in_the_end(scene: Scene) -> None:
    post = scene.post()
    scene.publisher.wrong = {"after commit": [PublishError("no answer", ambiguous=True)]}
    scene.run()
    scene.publisher.wrong = {"look": [PublishError("cannot be compared") for _ in range(12)]}
    for _ in range(11):
        scene.clock.sleep(3601)
        scene.run()
        assert scene.now(post).state == "unknown"
    scene.clock.sleep(3601)
    scene.run()
    assert scene.now(post).state == "needs a person"
    resolved = resolve.resolve(scene.store, scene.now(post), "ann", absent=True)
    assert resolved.state == "approved"


def test_it_is_sent_again_only_where_the_settings_say_so(scene: Scene) -> None:
    scene.rules = replace(FREE, resend=True)
    post = scene.post()
    scene.publisher.wrong = {"commit": [PublishError("no answer", ambiguous=True)]}
    scene.run(patience=2 * sum(FREE.looks))
    assert scene.now(post).state == "approved"
    scene.run()
    assert scene.now(post).state == "published"
    assert len(scene.publisher.sent) == 2 and len(scene.folders()) == 1
    assert scene.publisher.calls[-5:-3] == ["look", "prepare"], "looked for once more before"


def test_who_stops_the_run_while_it_sends_finds_out_later(scene: Scene) -> None:
    post = scene.post()

    def meanwhile() -> None:
        raise KeyboardInterrupt

    scene.publisher.meanwhile = {"after commit": meanwhile}
    with pytest.raises(KeyboardInterrupt):
        scene.run()
    assert scene.now(post).state == "committing"
    scene.run(patience=60.0)  # at once: whoever stops lets go of the account
    assert scene.now(post).state == "published" and len(scene.publisher.sent) == 1


@pytest.mark.parametrize(("stopped", "commits"), [("commit", 2), ("after commit", 1)])
def test_where_a_second_commit_does_no_harm_nobody_waits(scene: Scene, stopped: str, commits: int) -> None:
    scene.publisher.idempotent = True
    post = scene.post()

    def meanwhile() -> None:
        raise KeyboardInterrupt

    scene.publisher.meanwhile = {stopped: meanwhile}
    with pytest.raises(KeyboardInterrupt):
        scene.run()
    assert scene.now(post).state == "committing"
    scene.run()
    assert scene.now(post).state == "published"
    assert len(scene.publisher.sent) == commits and len(scene.folders()) == 1
    assert "look" in scene.publisher.calls[scene.publisher.calls.index(stopped) :], "never without a look"


def test_a_person_says_where_it_is(scene: Scene) -> None:
    post = scene.post()
    scene.publisher.wrong = {"commit": [PublishError("no answer", ambiguous=True)]}
    scene.run(patience=2 * sum(FREE.looks))
    with pytest.raises(UserError, match="no link to a post"):
        resolve.resolve(scene.store, scene.now(post), "ann", "javascript:alert(1)")
    with pytest.raises(UserError, match="say what you saw"):
        resolve.resolve(scene.store, scene.now(post), "ann")
    done = resolve.resolve(scene.store, scene.now(post), "ann", "https://www.instagram.com/p/abc/")
    assert done.state == "published"
    assert scene.attempt(post).permalink == "https://www.instagram.com/p/abc/"
    with pytest.raises(UserError, match="only one that needs a person"):
        resolve.resolve(scene.store, done, "ann", absent=True)


def test_a_receipt_that_comes_late_counts(scene: Scene) -> None:
    """The commit takes so long that another run takes over, looks four times and asks a person."""
    post, other = scene.post(), Watched(scene.studio)

    def meanwhile() -> None:
        scene.clock.sleep(LEASE)
        second = replace(scene, publisher=other)
        second.run(patience=2 * sum(FREE.looks))
        assert scene.now(post).state == "needs a person"

    scene.publisher.meanwhile = {"commit": meanwhile}
    scene.run()
    assert scene.now(post).state == "published"
    assert scene.attempt(post).media_id == scene.folders()[0].name
    assert not other.sent


@pytest.mark.parametrize("call", ["look", "prepare", "snapshot"])
def test_who_was_overtaken_sends_nothing(scene: Scene, call: str) -> None:
    post, other = scene.post(), Watched(scene.studio)

    def meanwhile() -> None:
        scene.clock.sleep(LEASE)
        replace(scene, publisher=other).run()

    scene.publisher.meanwhile = {call: meanwhile}
    report = scene.run()
    assert not scene.publisher.sent and len(other.sent) == 1
    # Its own look finds what the other one published; whatever else it does, it is told that it was overtaken.
    assert call == "look" or any("another run publishes" in each.why for each in report.waiting)
    assert scene.now(post).state == "published" and len(scene.folders()) == 1


def test_while_one_run_publishes_another_leaves_the_account_alone(scene: Scene) -> None:
    scene.post()
    seen: list[PublishReport] = []
    other = Watched(scene.studio)
    scene.publisher.meanwhile = {"prepare": lambda: seen.append(replace(scene, publisher=other).run())}
    scene.run()
    assert not other.calls
    assert "another run publishes there" in seen[0].waiting[0].why


def test_what_another_revision_published_is_not_published_again(scene: Scene) -> None:
    post = scene.post()
    scene.publisher.wrong = {"commit": [PublishError("no answer", ambiguous=True)]}
    scene.run(patience=2 * sum(FREE.looks))
    edited = post_store.edit(
        scene.store, scene.now(post), replace(post.content, caption="Other words"), "ann", "as it is not there"
    )
    post_store.approve(scene.store, edited, "ann")
    from tasks.publish import reconcile

    receipt = Receipt("folder", "late", "file:///late")
    reconcile.record(scene.store, post, receipt, "after all", scene.clock())
    scene.run()
    assert scene.now(post).state == "needs a person"
    assert "out already as revision 1" in scene.now(post).problem
    assert len(scene.publisher.sent) == 1


def test_a_backup_older_than_what_was_published(scene: Scene, tmp_path: Path) -> None:
    """Four posts: one was only due later, one approved later, one in flight, one made later; all are out by now."""
    from tasks.backup.backup import restore_backup, write_backup

    first, waiting = scene.post(1), approved.put(scene.store, scene.studio, 2, when=scene.clock() - timedelta(hours=2))
    write_backup(tmp_path / "old.zip", scene.store, tmp_path / "nothing", tmp_path / "nothing")
    post_store.approve(scene.store, waiting, "ann")
    scene.post(3)
    scene.run()
    assert len(scene.folders()) == 3
    restore_backup(
        tmp_path / "old.zip",
        scene.store,
        tmp_path / "empty",
        tmp_path / "empty",
        True,
        partial(resolve.mark_restored, now=scene.clock()),
    )
    assert scene.now(first).state == "approved"
    post_store.approve(scene.store, scene.now(waiting), "ann")
    third = scene.post(3)
    report = scene.run()
    assert [scene.now(each).state for each in (first, waiting, third)] == ["published"] * 3
    assert all("out already" in each.says for each in report.outcomes)
    assert len(scene.folders()) == 3 and len(scene.publisher.sent) == 3


@pytest.mark.parametrize("call", ["prepare", "commit", "after commit"])
def test_a_backup_of_a_moment_in_flight(scene: Scene, call: str, tmp_path: Path) -> None:
    from tasks.backup.backup import restore_backup, write_backup

    post, file = scene.post(), tmp_path / "moment.zip"
    scene.publisher.meanwhile = {
        call: lambda: write_backup(file, scene.store, tmp_path / "none", tmp_path / "none") and None
    }
    scene.run()
    assert scene.now(post).state == "published"
    restore_backup(
        file,
        scene.store,
        tmp_path / "empty",
        tmp_path / "empty",
        True,
        partial(resolve.mark_restored, now=scene.clock()),
    )
    assert scene.now(post).state == ("approved" if call == "prepare" else "unknown")
    with scene.store.reading() as connection:
        assert not accounts.standing(connection, "folder", ACCOUNT).claimed(scene.clock())
    scene.run()
    assert scene.now(post).state == "published"
    assert len(scene.folders()) == 1 and len(scene.publisher.sent) == 1


def test_the_oldest_goes_first_and_none_before_its_time(scene: Scene) -> None:
    late, early = scene.post(2), scene.post(1)
    future = scene.post(3, when=scene.clock() + timedelta(hours=1))
    scene.run()
    assert [each.post_id for each in scene.publisher.sent] == [early.id, late.id]
    assert scene.now(future).state == "approved"
    scene.run(post=future.id)
    assert scene.now(future).state == "published"


def test_what_is_weeks_late_is_told_and_kept(scene: Scene) -> None:
    post = scene.post(when=scene.clock() - timedelta(days=8))
    report = scene.run()
    assert scene.now(post).state == "approved" and not scene.publisher.calls
    assert f"post {post.id} was due on" in report.waiting[0].why
    scene.run(rules=PublishingRules(FREE.pace.at_once))
    assert scene.now(post).state == "published"


def test_a_cap_and_a_distance_hold_over_runs(scene: Scene) -> None:
    scene.rules = PublishingRules(PacingRules(2, timedelta(minutes=30)))
    made = [scene.post(number) for number in range(4)]

    def out() -> int:
        return sum(scene.now(each).state == "published" for each in made)

    for seconds, expected in ((0, 1), (1700, 1), (200, 2), (3600, 2), (82_000, 3)):
        scene.clock.sleep(seconds)
        scene.run()
        assert out() == expected


@pytest.mark.parametrize("ambiguous", [False, True])
def test_a_time_written_by_a_clock_that_was_wrong_holds_nothing_back(scene: Scene, ambiguous: bool) -> None:
    post = scene.post()
    scene.publisher.wrong = {"commit": [PublishError("no answer", ambiguous=ambiguous)]}
    now = scene.clock()
    scene.clock.sleep(400 * 86400)
    scene.rules = replace(scene.rules, pace=PacingRules(late=timedelta(0)))
    scene.run()
    assert scene.now(post).state == ("unknown" if ambiguous else "approved")
    assert scene.attempt(post).next_at > utc_text(now + timedelta(days=300))
    scene.clock.at = now
    with scene.store.writing() as connection:
        accounts.resume(connection, "folder", ACCOUNT, now)  # the account's pause is a person's to end
    for _ in range(6):
        scene.run()
        scene.clock.sleep(3700)
    assert scene.now(post).state == ("needs a person" if ambiguous else "published")


def test_the_cap_holds_for_one_that_is_asked_for_by_name_too(scene: Scene) -> None:
    made = [scene.post(number) for number in range(3)]
    scene.rules = PublishingRules(PacingRules(2, timedelta(minutes=30), quiet=(time(0), time(23, 59))))
    for post in made:
        report = scene.run(post=post.id)
    assert [scene.now(each).state for each in made] == ["published", "published", "approved"]
    assert [each.why for each in report.waiting] == ["2 posts went out within 24 hours"]


def test_only_one_persona_where_that_is_asked(scene: Scene) -> None:
    post = scene.post()
    assert scene.run(persona="mara") == PublishReport()
    scene.run(persona="pip")
    assert scene.now(post).state == "published"


def test_one_post_goes_to_its_own_account_whatever_else_is_in_flight(scene: Scene) -> None:
    other = scene.post(1)
    scene.publisher.wrong = {"commit": [PublishError("no answer", ambiguous=True)]}
    scene.run()
    mine = scene.post(2, account="zoe_daily")
    scene.clock.sleep(accounts.COOL_DOWN + 1)
    assert scene.now(other).state == "unknown"
    publishers = Two(scene.publisher, Watched(scene.studio, "zoe_daily"))
    publish.publish(PublishRun(scene.store, scene.studio, publishers, FREE, post=mine.id, now=scene.clock))
    assert scene.now(mine).state == "published"
    assert [each.account for each in publishers.second.sent] == ["zoe_daily"]


@pytest.fixture
def insta(store: Store, tmp_path: Path) -> Iterator[tuple[Scene, StandIn, Instagram]]:
    studio = tmp_path / "studio"
    with StandIn([Account(ACCOUNT)]) as server:
        save_session(session_file(studio, ACCOUNT), server.new_session(ACCOUNT))
        publisher = Instagram(studio, ACCOUNT, address=server.address, request_pause=0)
        yield Scene(store, studio, publisher), server, publisher  # type: ignore[arg-type]


@pytest.mark.parametrize("echo", [True, False])
@pytest.mark.parametrize("kind", ["photo", "album", "story"])
def test_a_store_that_forgot_everything_does_not_post_twice(
    insta: tuple[Scene, StandIn, Instagram], echo: bool, kind: str, tmp_path: Path
) -> None:
    scene, server, _ = insta
    server.state.echo = echo
    for number in (1, 2):
        scene.post(number, kind=kind)
    scene.run()
    assert len(server.published) == 2
    fresh = replace(scene, store=Store.open("", tmp_path / "fresh"))
    posts_again = [fresh.post(number, kind=kind) for number in (1, 2)]
    other = fresh.post(3, kind=kind)
    fresh.run()
    # Stories come back without a caption; a picture alone may be chance, so a person says what it is.
    sure = echo or kind != "story"
    assert {fresh.now(each).state for each in posts_again} == {"published" if sure else "needs a person"}
    assert fresh.now(other).state == "published"
    assert len(server.published) == 3
    fresh.store.close()


@pytest.mark.parametrize("kind", ["photo", "album", "story"])
def test_through_the_official_api_nothing_is_posted_twice_either(scene: Scene, kind: str, tmp_path: Path) -> None:
    with StandIn([Account(ACCOUNT, "41", token="t")]) as server:
        bucket = Bucket(server.address, "pictures", S3Credentials("AK", "secret"))
        made = Graph(ACCOUNT, "41", "t", bucket, api=f"{server.address}/v25.0", poll=0.0)
        scene.publisher = made  # type: ignore[assignment]
        scene.post(1, kind=kind)
        scene.run()
        fresh = replace(scene, store=Store.open("", tmp_path / "fresh"))
        again, other = fresh.post(1, kind=kind), fresh.post(2, kind=kind)
        fresh.run()
        assert fresh.now(again).state == ("needs a person" if kind == "story" else "published")
        assert fresh.now(other).state == "published"
        assert len(server.published) == 2
        fresh.store.close()


def test_what_somebody_posted_by_hand_stands_in_nobodys_way(insta: tuple[Scene, StandIn, Instagram]) -> None:
    """A film, say, of which no picture can be had. It says something else, and nothing was sent yet."""
    scene, server, _ = insta
    with server.lock:
        server.state.add_medium(
            server.state.accounts[ACCOUNT], "photo", "My own words", ["0" * 64], [""], "1700000000000"
        )
    post = scene.post(1)
    scene.run()
    assert scene.now(post).state == "published"


def test_what_was_forgotten_is_found_behind_what_came_since(
    insta: tuple[Scene, StandIn, Instagram], tmp_path: Path
) -> None:
    scene, server, _ = insta
    server.state.echo = False
    scene.post(1)
    scene.run()
    fresh = replace(scene, store=Store.open("", tmp_path / "fresh"))
    waiting = approved.put(fresh.store, scene.studio, 1, when=scene.clock() - timedelta(minutes=59))
    for number in range(2, 16):  # more than a page of the feed, all of them known
        fresh.post(number)
    fresh.run()
    post_store.approve(fresh.store, waiting, "ann")
    fresh.run()
    assert "it is out already" in post_store.history(fresh.store, waiting.id)[-1].why
    assert len(server.published) == 15
    fresh.store.close()


def test_a_twin_of_another_post_is_a_post_of_its_own(insta: tuple[Scene, StandIn, Instagram]) -> None:
    """The same picture and caption, published for another day: what is known to be that one is not this one."""
    scene, server, _ = insta
    server.state.echo = False
    first = scene.post(1, caption="The same")
    scene.run()
    twin = approved.put(scene.store, scene.studio, 2, when=scene.clock() - timedelta(minutes=5), caption="The same")
    twin = post_store.edit(scene.store, twin, replace(twin.content, pictures=first.content.pictures), "ann", "the same")
    post_store.approve(scene.store, twin, "ann")
    scene.run()
    assert scene.now(twin).state == "published"
    assert len(server.published) == 2


def test_upload_ids_are_derived_and_keep_apart(scene: Scene) -> None:
    when = scene.clock() - timedelta(hours=1)
    made = [scene.post(number, when=when) for number in range(60)]
    scene.run()
    ids = sorted(int(scene.attempt(each).upload_id) for each in made)
    assert all(later - earlier >= 11 for earlier, later in itertools.pairwise(ids))
    assert all(len(str(each)) == 13 and each / 1000 <= when.timestamp() for each in ids)


def test_upload_ids_that_would_collide_step_aside(scene: Scene) -> None:
    first, second = scene.post(1), scene.post(2, when=scene.clock() - timedelta(minutes=59))
    with scene.store.writing() as connection:
        one = attempts.begin(connection, first, "folder")
        wanted = attempts._new_upload_id(connection, second)
        attempts.change(connection, one, upload_id=str(int(wanted) + 10))
        two = attempts.begin(connection, second, "folder")
    assert abs(int(two.upload_id) - int(wanted) - 10) >= 11


def test_an_attempt_comes_back_as_it_went_in(scene: Scene) -> None:
    post = scene.post()
    with scene.store.writing() as connection:
        made = attempts.begin(connection, post, "folder")
        look = attempts.LookupRecord("2026-11-21T09:00:00.000+00:00", "nothing", True, True)
        values = {"progress": {"a": "1"}, "parts": {"b": "2"}, "before": BeforeCommit(1.5, ("m",)), "looks": (look,)}
        changed = attempts.change(connection, made, **values)
        assert attempts.get(connection, post) == changed == dataclasses.replace(made, **values)
    assert json.loads(canonical_json(vars(look)))["first"] is True
    assert changed.looked_first and not made.looked_first


def test_reconcile_looks_at_everything_and_sends_nothing(scene: Scene) -> None:
    post, other = scene.post(1), scene.post(2, when=scene.clock() + timedelta(hours=1))
    scene.publisher.wrong = {"after commit": [PublishError("no answer", ambiguous=True)]}
    scene.run()
    report = publish.reconcile(PublishRun(scene.store, scene.studio, One(scene.publisher), now=scene.clock))
    assert [each.post.id for each in report.outcomes] == [post.id]
    assert scene.now(post).state == "published" and scene.now(other).state == "approved"
