"""What a person does with a post, and what is refused because somebody was quicker or it may be out already."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.system.errors import UserError
from tasks.posts import post_store, review
from tasks.posts.post import ChangedError, Post
from tasks.posts.review import Changes
from tasks.posts.states import State
from tasks.settings.settings import LoadedSettings
from tasks.store.store import Store
from tests.support.studios import BERLIN, NINE, put, studio


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedSettings:
    return studio(tmp_path)


@pytest.fixture
def one(loaded: LoadedSettings) -> Store:
    return Store.open("", loaded.studio)


@pytest.fixture
def post(one: Store, loaded: LoadedSettings) -> Post:
    return put(one, loaded)


def into(store: Store, post: Post, *states: State) -> Post:
    for state in states:
        post = post_store.change(store, post, state, "restage", "on its way")
    return post


def words(store: Store, post: Post) -> list[str]:
    return [each.why for each in post_store.history(store, post.id)]


def test_one_approves_what_one_has_seen(one: Store, post: Post) -> None:
    seen = review.looked_at(one, post.id, post.revision, post.content.hash)
    assert review.approve(one, seen, "ann").state == "approved"
    held = post_store.approval(one, post_store.get_post(one, post.id))
    assert held is not None
    assert (held.by, held.hash) == ("ann", post.content.hash)


def test_what_changed_meanwhile_is_looked_at_again(one: Store, post: Post, loaded: LoadedSettings) -> None:
    review.edit(one, post, "bob", Changes(caption="Other words"), loaded)
    with pytest.raises(ChangedError, match="look at it again"):
        review.looked_at(one, post.id, post.revision, post.content.hash)
    with pytest.raises(ChangedError, match="look at it again"):
        review.approve(one, post, "ann")


def test_many_are_approved_and_each_that_cannot_be_is_told(one: Store, loaded: LoadedSettings) -> None:
    first, second = put(one, loaded), put(one, loaded, "pip/walk/2026-11-24")
    review.reject(one, second, "ann", "no")
    done, problems = review.approve_all(one, [first, post_store.get_post(one, second.id)], "ann")
    assert [each.id for each in done] == [first.id]
    assert len(problems) == 1
    assert second.id in problems[0]


def test_a_rejection_keeps_its_reason_on_one_line(one: Store, post: Post) -> None:
    assert review.reject(one, post, "ann", "the ears\nare\x00 wrong").state == "rejected"
    assert words(one, post)[-1] == "the ears are wrong"


def test_an_edit_is_a_new_revision_that_awaits_review(one: Store, post: Post, loaded: LoadedSettings) -> None:
    approved = review.approve(one, post, "ann")
    edited = review.edit(
        one, approved, "ann", Changes(caption="New\r\nwords ", hashtags=["#Fox", "fox", "art"]), loaded
    )
    assert (edited.state, edited.revision) == ("awaiting review", 2)
    assert (edited.content.caption, edited.content.hashtags) == ("New\nwords", ("Fox", "art"))
    assert edited.content.pictures == post.content.pictures
    assert words(one, post)[-1] == "changed: caption, hashtags"


def test_an_edit_that_changes_nothing_is_none(one: Store, post: Post, loaded: LoadedSettings) -> None:
    assert review.edit(one, post, "ann", Changes(caption=post.content.caption), loaded) == post
    assert len(words(one, post)) == 1


def test_another_alt_text_is_in_another_file(one: Store, post: Post, loaded: LoadedSettings) -> None:
    edited = review.edit(one, post, "ann", Changes(alts=["A blue fox."]), loaded)
    (before,), (after,) = post.content.pictures, edited.content.pictures
    assert (after.alt, after.picture) == ("A blue fox.", before.picture)
    assert after.sha256 != before.sha256
    assert b"A blue fox." in (loaded.studio / after.file).read_bytes()
    assert (loaded.studio / before.file).exists()


def test_a_time_is_one_on_the_clock_of_the_post(one: Store, post: Post, loaded: LoadedSettings) -> None:
    later = review.edit(one, post, "ann", Changes(when=datetime(2026, 12, 1, 18, 30)), loaded)
    assert later.content.when == datetime(2026, 12, 1, 18, 30, tzinfo=BERLIN)
    again = review.edit(one, later, "ann", Changes(when=datetime(2027, 3, 28, 2, 30)), loaded)  # the clocks skip it
    assert again.content.when == datetime(2027, 3, 28, 3, tzinfo=BERLIN)
    utc = review.edit(one, again, "ann", Changes(when=datetime(2026, 12, 1, 8, tzinfo=UTC)), loaded)
    assert utc.content.when.tzinfo == BERLIN
    assert utc.content.when.hour == 9


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (Changes(caption="x" * 2196), "has 2202 characters with its hashtags: 2200 are the most"),
        (Changes(hashtags=[f"t{n}" for n in range(31)]), "are 31 with those in the caption: 30 are the most"),
        (Changes(hashtags=["two words"]), "'two words' is no hashtag"),
        (Changes(alts=["x" * 1001]), "has 1001 characters: write at most 1000"),
        (Changes(alts=["a", "b"]), "has 1 pictures and 2 alt texts"),
        (Changes(account="../x"), "is no name of an account"),
        (Changes(when=datetime(1, 1, 1)), "out of range"),
    ],
)
def test_what_cannot_go_out_is_refused_in_a_sentence(
    changes: Changes, said: str, one: Store, post: Post, loaded: LoadedSettings
) -> None:
    with pytest.raises(UserError, match=said):
        review.edit(one, post, "ann", changes, loaded)
    assert post_store.get_post(one, post.id) == post


def test_the_longest_that_may_go_out_does(one: Store, post: Post, loaded: LoadedSettings) -> None:
    changes = Changes(caption="x" * 2194, alts=["y" * 1000])
    assert len(review.edit(one, post, "ann", changes, loaded).content.text) == 2200


def test_a_runner_up_or_a_dropped_one_takes_the_place(one: Store, post: Post, loaded: LoadedSettings) -> None:
    for number in (1, 2):
        post = review.swap(one, post, "ann", number, loaded)
        (shown,) = post.content.pictures
        assert shown.picture == post_store.candidates(one, post.id)[number].picture
        assert (shown.width, shown.height, shown.alt) == (1080, 1080, "A fox in the snow.")
        assert (loaded.studio / shown.file).is_file()
    assert (post.revision, post.state) == (3, "awaiting review")
    with pytest.raises(UserError, match="shows candidate 2 already"):
        review.swap(one, post, "ann", 2, loaded)
    with pytest.raises(UserError, match="has no candidate 9"):
        review.swap(one, post, "ann", 9, loaded)


def test_a_draft_takes_a_dropped_candidate_all_the_same(one: Store, loaded: LoadedSettings) -> None:
    draft = put(one, loaded, problem="none passed: 3 blurred")
    taken = review.swap(one, draft, "ann", 2, loaded)
    assert (taken.state, taken.problem, len(taken.content.pictures)) == ("awaiting review", "", 1)


def test_words_of_a_draft_can_be_mended_before_it_has_a_picture(one: Store, loaded: LoadedSettings) -> None:
    draft = put(one, loaded, problem="none passed: 3 blurred")
    edited = review.edit(one, draft, "ann", Changes(caption="Soon."), loaded)
    assert (edited.state, edited.problem, edited.content.caption) == ("draft", "none passed: 3 blurred", "Soon.")


def test_a_picture_that_is_gone_is_told(one: Store, post: Post, loaded: LoadedSettings) -> None:
    from tasks.store.picture_files import PictureFiles

    PictureFiles(loaded.studio).picture_path(post_store.candidates(one, post.id)[1].picture).unlink()
    with pytest.raises(UserError, match="there is no picture at"):
        review.swap(one, post, "ann", 1, loaded)


def test_an_album_grows_and_shrinks(one: Store, loaded: LoadedSettings) -> None:
    post = put(one, loaded, candidates=11)
    post = review.add(one, post, "ann", 1, loaded)
    assert (post.content.kind, len(post.content.pictures)) == ("album", 2)
    for number in range(2, 10):
        post = review.add(one, post, "ann", number, loaded)
    with pytest.raises(UserError, match="takes no more"):
        review.add(one, post, "ann", 10, loaded)
    assert len({(each.width, each.height) for each in post.content.pictures}) == 1
    post = review.swap(one, post, "ann", 10, loaded, place=1)
    assert post.content.pictures[1].picture == post_store.candidates(one, post.id)[10].picture
    while len(post.content.pictures) > 1:
        post = review.take_out(one, post, "ann", 0)
    assert post.content.kind == "photo"
    with pytest.raises(UserError, match="no further picture"):
        review.take_out(one, post, "ann", 0)


def test_a_story_stays_one_picture(one: Store, loaded: LoadedSettings) -> None:
    story = put(one, loaded, size="story")
    with pytest.raises(UserError, match="is a story"):
        review.add(one, story, "ann", 1, loaded)
    assert review.swap(one, story, "ann", 1, loaded).content.kind == "story"


@pytest.mark.parametrize("before", [(), ("approved",), ("rejected",)])
def test_new_pictures_are_asked_for_from_wherever_it_is(before: tuple[State, ...], one: Store, post: Post) -> None:
    asked = review.regenerate(one, into(one, post, *before), "ann", "its ears")
    assert (asked.state, asked.problem) == ("draft", "")
    assert words(one, post)[-1] == "its ears"


def test_the_wish_for_new_pictures_takes_a_drafts_problem_away(one: Store, loaded: LoadedSettings) -> None:
    draft = put(one, loaded, problem="none passed")
    assert review.regenerate(one, draft, "ann").problem == ""


def test_undo_takes_the_last_step_back(one: Store, post: Post, loaded: LoadedSettings) -> None:
    for step in ("approve", "reject", "regenerate"):
        done = getattr(review, step)(one, post, "ann")
        post = review.undo(one, done, "ann")
        assert (post.state, post.revision) == ("awaiting review", 1)
        assert words(one, post)[-1].startswith(review.UNDONE)


def test_undo_of_a_change_brings_the_words_and_the_picture_back(one: Store, post: Post, loaded: LoadedSettings) -> None:
    approved = review.approve(one, post, "ann")
    edited = review.edit(one, approved, "ann", Changes(caption="Oops"), loaded)
    back = review.undo(one, edited, "ann")
    assert (back.content, back.state) == (post.content, "awaiting review")
    back = review.undo(one, review.swap(one, back, "ann", 1, loaded), "ann")
    assert back.content == post.content
    assert back.revision == 5
    assert post_store.revisions(one, post.id)[1] == post.content


@pytest.mark.parametrize("edited", [False, True])
def test_undo_never_approves_and_goes_one_step_only(
    edited: bool, one: Store, post: Post, loaded: LoadedSettings
) -> None:
    if edited:
        post = review.edit(one, post, "ann", Changes(caption="Mine"), loaded)
    back = review.undo(one, review.approve(one, post, "ann"), "ann")
    assert back.content == post.content
    with pytest.raises(UserError, match="cannot be taken back"):
        review.undo(one, back, "ann")


def test_nothing_is_taken_back_of_what_the_render_did(one: Store, post: Post, loaded: LoadedSettings) -> None:
    with pytest.raises(UserError, match="cannot be taken back"):
        review.undo(one, post, "ann")
    with pytest.raises(UserError, match="cannot be taken back"):
        review.undo(one, put(one, loaded, "pip/walk/2026-11-25", problem="none passed"), "ann")


@pytest.mark.parametrize(
    "states",
    [
        ("preparing",),
        ("preparing", "uploaded"),
        ("preparing", "uploaded", "committing"),
        ("preparing", "uploaded", "committing", "published"),
        ("preparing", "uploaded", "committing", "unknown"),
        ("preparing", "uploaded", "committing", "unknown", "needs a person"),
    ],
)
def test_what_may_be_out_already_is_left_alone(
    states: tuple[State, ...], one: Store, post: Post, loaded: LoadedSettings
) -> None:
    there = into(one, review.approve(one, post, "ann"), *states)
    for attempt in (
        lambda: review.approve(one, there, "ann"),
        lambda: review.reject(one, there, "ann"),
        lambda: review.regenerate(one, there, "ann"),
        lambda: review.edit(one, there, "ann", Changes(caption="x"), loaded),
        lambda: review.swap(one, there, "ann", 1, loaded),
        lambda: review.add(one, there, "ann", 1, loaded),
        lambda: review.take_out(one, there, "ann", 0),
        lambda: review.undo(one, there, "ann"),
    ):
        with pytest.raises(UserError, match=f"is {there.state}"):
            attempt()
    assert post_store.get_post(one, post.id) == there


def test_what_failed_for_sure_can_be_mended_and_sent_again(one: Store, post: Post, loaded: LoadedSettings) -> None:
    failed = into(one, review.approve(one, post, "ann"), "preparing", "failed")
    edited = review.edit(one, failed, "ann", Changes(caption="Shorter"), loaded)
    assert edited.state == "awaiting review"


STEPS = st.sampled_from(["approve", "reject", "regenerate", "undo", "edit", "swap", "add", "take out"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEPS, max_size=8), st.integers(0, 10**9))
def test_whatever_people_do_only_what_was_approved_is_approved(
    one: Store, loaded: LoadedSettings, steps: list[str], number: int
) -> None:
    post = put(one, loaded, f"pip/walk/{number}-{'-'.join(steps)}".replace(" ", ""), seed=7)
    for turn, step in enumerate(steps):
        was = post
        try:
            post = {
                "approve": lambda p: review.approve(one, p, "ann"),
                "reject": lambda p: review.reject(one, p, "ann"),
                "regenerate": lambda p: review.regenerate(one, p, "ann"),
                "undo": lambda p: review.undo(one, p, "ann"),
                "edit": lambda p, turn=turn: review.edit(one, p, "ann", Changes(caption=f"c{turn}"), loaded),
                "swap": lambda p: review.swap(one, p, "ann", 1, loaded),
                "add": lambda p: review.add(one, p, "ann", 2, loaded),
                "take out": lambda p: review.take_out(one, p, "ann", 0),
            }[step](post)
        except UserError:
            post = post_store.get_post(one, post.id)
            if step != "regenerate":
                assert post == was
        if post.state == "approved":
            assert step == "approve" or post == was
            held = post_store.approval(one, post)
            assert held is not None
            assert held.hash == post.content.hash
        assert post_store.revisions(one, post.id)[post.revision] == post.content
        assert (post.content.kind == "album") == (len(post.content.pictures) > 1)
    assert replace(post.content, when=NINE + timedelta(days=1)).hash != post.content.hash


def test_after_a_failure_it_starts_from_the_beginning(one: Store, post: Post) -> None:
    failed = into(one, review.approve(one, post, "ann"), "preparing", "failed")
    assert review.approve(one, failed, "ann").state == "approved", "seen by its name, as the terminal does"
    failed = into(one, post_store.get_post(one, post.id), "preparing", "failed")
    again = review.reopen(one, failed, "ann")
    assert (again.state, again.revision, again.content, again.problem) == ("awaiting review", 3, post.content, "")
    assert post_store.approval(one, again) is None
    failed = into(one, review.approve(one, again, "ann"), "preparing", "failed")
    rejected = review.reject(one, failed, "ann", "enough")
    assert review.undo(one, rejected, "ann").revision == 4
    with pytest.raises(UserError, match="only one that failed"):
        review.reopen(one, post_store.get_post(one, post.id), "ann")
