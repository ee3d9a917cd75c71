"""What the page's script asks for: every deed, and how each is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from board.context import BoardContext
from tasks.posts import post_store
from tasks.posts.post import Post
from tests.board.conftest import Browser
from tests.support.studios import put


@pytest.fixture
def post(desk: BoardContext) -> Post:
    return put(desk.store, desk.loaded)


def seen(post: Post) -> dict[str, Any]:
    return {"revision": post.revision, "hash": post.content.hash}


def now(desk: BoardContext, post: Post) -> Post:
    return post_store.get_post(desk.store, post.id)


def test_the_list_says_how_many_there_are(browser: Browser, desk: BoardContext) -> None:
    made = [put(desk.store, desk.loaded, f"pip/walk/2026-11-2{day}") for day in range(3, 6)]
    found = browser.get("/api/posts", params={"state": "awaiting review", "limit": 2}).json()
    assert (found["count"], len(found["posts"])) == (3, 2)
    assert {each["id"] for each in found["posts"]} <= {each.id for each in made}
    assert browser.get("/api/posts", params={"persona": "mara"}).json()["count"] == 0


def test_approval_is_of_what_was_seen_and_says_who(browser: Browser, desk: BoardContext, post: Post) -> None:
    answer = browser.do(f"/api/posts/{post.id}/approve", seen(post))
    assert (answer.status_code, answer.json()["state"], answer.json()["undo"]) == (200, "approved", "approval")
    held = post_store.approval(desk.store, now(desk, post))
    assert held is not None
    assert (held.hash, held.by) == (post.content.hash, desk.by)


def test_what_somebody_changed_meanwhile_is_not_approved(browser: Browser, desk: BoardContext, post: Post) -> None:
    post_store.edit(desk.store, post, replace(post.content, caption="Mine"), "bob", "a word")
    answer = browser.do(f"/api/posts/{post.id}/approve", seen(post))
    assert answer.status_code == 409
    assert "look at it again" in answer.json()["problem"]
    assert now(desk, post).state == "awaiting review"


def test_every_deed_does_what_it_says(browser: Browser, desk: BoardContext, post: Post) -> None:
    first = post.content.pictures[0].picture
    deeds: list[tuple[str, dict[str, Any], str]] = [
        ("edit", {"caption": "New", "hashtags": ["#fox"], "alts": ["A fox!"], "account": "other"}, "awaiting review"),
        ("reschedule", {"when": "2026-12-24T18:00"}, "awaiting review"),
        ("swap", {"candidate": 1}, "awaiting review"),
        ("add", {"candidate": 2}, "awaiting review"),
        ("take-out", {"place": 1}, "awaiting review"),
        ("approve", {}, "approved"),
        ("undo", {}, "awaiting review"),
        ("reject", {"why": "no"}, "rejected"),
        ("undo", {}, "awaiting review"),
        ("regenerate", {"why": "other light"}, "draft"),
        ("undo", {}, "awaiting review"),
    ]
    for deed, said, state in deeds:
        there = now(desk, post)
        answer = browser.do(f"/api/posts/{post.id}/{deed}", seen(there) | said)
        assert (answer.status_code, answer.json().get("state")) == (200, state), (deed, answer.text)
    there = now(desk, post)
    assert (there.content.caption, there.content.hashtags, there.content.account) == ("New", ("fox",), "other")
    assert f"{there.content.when:%Y-%m-%d %H:%M}" == "2026-12-24 18:00"
    assert there.content.pictures[0].picture != first
    assert there.content.pictures[0].alt == "A fox!"


def test_many_are_approved_at_once_and_the_others_told(browser: Browser, desk: BoardContext) -> None:
    made = [put(desk.store, desk.loaded, f"pip/walk/2026-11-2{day}") for day in range(3, 6)]
    post_store.edit(desk.store, made[2], replace(made[2].content, caption="Mine"), "bob", "a word")
    wanted = [{"post": each.id, **seen(each)} for each in made]
    found = browser.do("/api/approve", {"posts": wanted}).json()
    assert {each["id"] for each in found["done"]} == {made[0].id, made[1].id}
    assert len(found["problems"]) == 1
    assert made[2].id in found["problems"][0]


@pytest.mark.parametrize(
    ("deed", "said", "status"),
    [
        ("edit", {"caption": "x" * 2300}, 400),
        ("edit", {"capton": "x"}, 422),
        ("edit", {"when": "yesterday"}, 422),
        ("edit", {"caption": "\ud800"}, 422),
        ("swap", {"candidate": 99}, 400),
        ("swap", {"candidate": -1}, 422),
        ("undo", {}, 400),
        ("dance", {}, 404),
    ],
)
def test_what_cannot_be_done_changes_nothing_and_says_why(
    deed: str, said: dict[str, Any], status: int, browser: Browser, desk: BoardContext, post: Post
) -> None:
    import json

    body = json.dumps(seen(post) | said)  # what a browser would never send arrives all the same
    known = {"origin": "http://127.0.0.1:8420", "x-restage-token": browser.token(), "content-type": "application/json"}
    answer = browser.post(f"/api/posts/{post.id}/{deed}", content=body, headers=known)
    assert answer.status_code == status, answer.text
    assert answer.json()["problem"]
    assert now(desk, post) == post


def test_what_failed_is_reviewed_again(browser: Browser, desk: BoardContext, post: Post) -> None:
    for state in ("approved", "preparing", "failed"):
        post = post_store.change(desk.store, post, state, "x", "y", problem="no" if state == "failed" else "")
    assert "Review it again" in browser.get("/post/" + post.id).text
    answer = browser.do(f"/api/posts/{post.id}/reopen", seen(post))
    assert (answer.json()["state"], answer.json()["revision"], answer.json()["problem"]) == ("awaiting review", 2, "")


def test_a_post_that_is_not_there_is_said(browser: Browser, post: Post) -> None:
    assert browser.do("/api/posts/ffffffff/approve", seen(post)).status_code == 404
    assert browser.get("/api/posts/ffffffff").status_code == 404


def test_a_replay_of_what_has_no_record_is_refused_at_once(browser: Browser, desk: BoardContext, post: Post) -> None:
    from PIL import Image

    path = desk.artifacts.picture_path("ab" * 12)
    path.parent.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(path)
    assert "carries no record" in browser.do(f"/api/pictures/{'ab' * 12}/replay").json()["problem"]
    assert browser.do(f"/api/pictures/{'cd' * 12}/replay").status_code == 404
    assert browser.get(f"/api/pictures/{'cd' * 12}/replay").status_code == 404
