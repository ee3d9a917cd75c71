"""Posts: only allowed steps, each with a line of history; approval is for what was looked at."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.system.errors import UserError
from tasks.posts import post_store
from tasks.posts.post import ChangedError, Post, PostCandidate, PostContent, PostPicture
from tasks.posts.states import NEXT, State
from tasks.store.store import Store
from tests.support.stores import Opened

BERLIN = ZoneInfo("Europe/Berlin")
NINE = datetime(2026, 11, 23, 9, tzinfo=BERLIN)
STATES: tuple[State, ...] = get_args(State)


def shown(name: str = "s1", alt: str = "A fox.") -> PostPicture:
    return PostPicture(name, f"ready/{name}.jpg", f"{name}-bytes", alt, 1080, 1080)


def content(*pictures: PostPicture, when: datetime = NINE, caption: str = "Hello — “fox” 🦊") -> PostContent:
    return PostContent("photo", pictures, caption, ("pip", "aiart"), "pip.fox", when)


def put(store: Store, key: str = "pip/walk/2026-11-23", of: PostContent | None = None, **more: object) -> Post:
    of = content(shown()) if of is None else of
    found = [
        PostCandidate(0, "s1", True, "the most like pip", {"identity": 0.5}, "00ff"),
        PostCandidate(1, "s2", False, "blurred"),
    ]
    persona, shot, _ = key.split("/")
    return post_store.create_post(store, key, persona, shot, "square", of, found, "restage", "rendered", **more)  # type: ignore[arg-type]


def test_a_post_comes_back_as_it_went_in(store: Store) -> None:
    made = put(store, prompt="a portrait", embedding="e1")
    assert (made.state, made.revision, made.content) == ("awaiting review", 1, content(shown()))
    assert made.content.when.tzinfo == BERLIN
    assert made.content.text == "Hello — “fox” 🦊\n\n#pip #aiart"
    assert (
        post_store.get_post(store, made.id)
        == post_store.get_post(store, made.id[:6])
        == post_store.find_by_key(store, made.key)
        == made
    )
    assert [each.reason for each in post_store.candidates(store, made.id)] == ["the most like pip", "blurred"]
    assert [(each.was, each.state, each.by) for each in post_store.history(store, made.id)] == [
        ("", "awaiting review", "restage")
    ]


def test_an_occurrence_is_a_post_once(store: Store) -> None:
    first = put(store)
    assert put(store, of=content(shown("other"))) == first
    assert len(post_store.candidates(store, first.id)) == 2


def test_without_a_picture_it_is_a_draft_and_can_be_filled(store: Store) -> None:
    draft = put(store, of=content(), problem="all are blurred")
    assert (draft.state, draft.problem) == ("draft", "all are blurred")
    with pytest.raises(UserError, match="cannot become approved|has no picture yet"):
        post_store.approve(store, draft, "ann")
    more = [PostCandidate(1, "s2", False, "said already"), PostCandidate(2, "s3", True, "good")]
    filled = post_store.add_render(store, draft, content(shown("s3")), more, "restage", "more seeds")
    assert (filled.state, filled.problem, filled.revision) == ("awaiting review", "", 2)
    assert [each.reason for each in post_store.candidates(store, draft.id)] == ["the most like pip", "blurred", "good"]


def test_approval_freezes_what_was_looked_at(store: Store) -> None:
    seen = put(store)
    approved = post_store.approve(store, seen, "ann", "lovely")
    held = post_store.approval(store, approved)
    assert held is not None
    assert (held.hash, held.content, held.by) == (seen.content.hash, seen.content, "ann")
    assert held.content.hash == held.hash


def test_nobody_approves_what_has_changed_meanwhile(store: Store) -> None:
    seen = put(store)
    post_store.edit(store, seen, replace(seen.content, caption="Other words"), "bob", "a word")
    with pytest.raises(ChangedError, match="changed meanwhile"):
        post_store.approve(store, seen, "ann")


def test_an_edit_after_approval_has_to_be_approved_again(store: Store) -> None:
    approved = post_store.approve(store, put(store), "ann")
    edited = post_store.edit(store, approved, replace(approved.content, when=NINE + timedelta(days=1)), "ann", "later")
    assert (edited.state, edited.revision) == ("awaiting review", 2)
    assert post_store.approval(store, edited) is None
    assert post_store.edit(store, edited, edited.content, "ann", "nothing") == edited


@pytest.mark.parametrize(
    "change",
    [
        {"caption": "x"},
        {"hashtags": ("pip",)},
        {"account": "other"},
        {"when": NINE + timedelta(seconds=1)},
        {"ai_label": False},
        {"kind": "story"},
        {"pictures": (shown("s2"),)},
        {"pictures": (shown(alt="Another."),)},
    ],
)
def test_whatever_would_go_out_differently_has_another_hash(change: dict) -> None:
    assert replace(content(shown()), **change).hash != content(shown()).hash


def test_where_a_file_lies_does_not_count() -> None:
    assert content(replace(shown(), file="ready/moved.jpg")).hash == content(shown()).hash


def test_posts_are_found_by_state_persona_and_time(store: Store) -> None:
    early = put(store, "pip/walk/1", content(shown(), when=NINE))
    late = put(store, "mara/walk/2", content(shown(), when=NINE + timedelta(days=2)))
    post_store.approve(store, late, "ann")
    assert [each.id for each in post_store.find(store)] == [early.id, late.id]
    assert [each.id for each in post_store.find(store, newest_first=True, limit=1)] == [late.id]
    assert [each.id for each in post_store.find(store, ("approved",))] == [late.id]
    assert [each.id for each in post_store.find(store, persona="pip", account="pip.fox")] == [early.id]
    assert [each.id for each in post_store.find(store, until=NINE.astimezone(UTC))] == [early.id]
    assert [each.id for each in post_store.find(store, since=NINE + timedelta(seconds=1))] == [late.id]
    assert post_store.count(store) == {"awaiting review": 1, "approved": 1}


def test_the_likenesses_are_those_of_the_pictures_shown(store: Store) -> None:
    made = put(store)
    assert [(post.id, likeness) for post, likeness in post_store.likenesses(store, ("awaiting review",))] == [
        (made.id, "00ff")
    ]
    assert (
        post_store.likenesses(store, ("published",))
        == post_store.likenesses(store, ("awaiting review",), but=made.id)
        == []
    )


def test_every_revision_is_kept_and_an_edit_with_a_picture_has_no_problem_left(store: Store) -> None:
    draft = put(store, of=content(), problem="all are blurred")
    worded = post_store.edit(store, draft, content(caption="Soon."), "ann", "a word")
    assert (worded.state, worded.problem) == ("draft", "all are blurred")
    shows = post_store.edit(store, worded, content(shown("s2")), "ann", "took candidate 1")
    assert (shows.state, shows.problem, shows.revision) == ("awaiting review", "", 3)
    post_store.approve(store, shows, "ann")
    assert post_store.revisions(store, draft.id) == {1: content(), 2: content(caption="Soon."), 3: content(shown("s2"))}


def test_a_picture_is_found_in_its_posts(store: Store) -> None:
    one = put(store)
    other = put(store, "mara/walk/2", content(shown("finished")))
    assert {each.id for each in post_store.with_picture(store, "s1")} == {one.id, other.id}
    assert [each.id for each in post_store.with_picture(store, "finished")] == [other.id]
    assert post_store.with_picture(store, "s") == post_store.with_picture(store, "%") == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(STATES), max_size=12), st.integers(0, 10**9))
def test_only_allowed_steps_happen_and_each_is_written_down(opened: Opened, steps: list[State], number: int) -> None:
    store = opened()
    post = put(store, f"pip/walk/{number}-{len(steps)}-{hash(tuple(steps))}")
    went = len(post_store.history(store, post.id))
    for to in steps:
        allowed = to in NEXT[post.state] or (to == post.state and to in ("draft", "awaiting review"))
        if not allowed:
            with pytest.raises(UserError):
                post_store.change(store, post, to, "ann", "why not")
            continue
        post, went = post_store.change(store, post, to, "ann", "so"), went + 1
    events = post_store.history(store, post.id)
    assert len(events) == went
    assert events[-1].state == post.state
    assert all(later.was == earlier.state for earlier, later in itertools.pairwise(events))
    store.close()


def test_from_the_commit_on_nothing_goes_back_to_be_sent_but_on_evidence() -> None:
    assert "preparing" not in NEXT["committing"]
    assert set(NEXT["published"]) == set()
    sendable = [state for state in STATES if "committing" in NEXT[state]]
    assert sendable == ["uploaded"]
