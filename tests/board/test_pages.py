"""What the pages show, and what they say where there is nothing to show."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image

from board.calendar import calendar_weeks
from board.context import BoardContext
from models.system.files import write_file
from tasks.posts import post_store, review
from tasks.posts.states import State
from tasks.references.reference_set import ReferenceCandidate as Reference
from tasks.references.reference_set import ReferenceChoice, ReferenceSet, ReferenceSetStore, Verdict
from tasks.settings.sections import ReferenceSettings
from tasks.store.picture_files import PictureFiles
from tests.board.conftest import NOW, Browser, Opened
from tests.support import calendars
from tests.support.studios import NINE, picture, put, studio


def into(desk: BoardContext, key: str, *states: State, problem: str = "") -> str:
    post = put(desk.store, desk.loaded, key)
    for state in states:
        post = post_store.change(desk.store, post, state, "x", "y", problem=problem)
    return post.id


def references(desk: BoardContext, count: int = 2) -> list[str]:
    ids = [picture(desk.loaded, 900 + number) for number in range(count)]
    artifacts = PictureFiles(desk.loaded.studio)
    verdicts = [
        Verdict(Reference(each, artifacts.relative_path(each), "a fox"), "chosen", "diversity", "", "") for each in ids
    ]
    persona = calendars.pip(desk.loaded.folder, {"at": "09:00"})
    made = ReferenceSet.from_choice(persona, 1, ReferenceSettings(), "toybox", ReferenceChoice(verdicts, ids, {}))
    ReferenceSetStore(desk.loaded.studio, "pip").save_set(made)
    return ids


def test_the_first_page_shows_what_waits_with_its_reasons(browser: Browser, desk: BoardContext) -> None:
    ids = references(desk)
    post = put(desk.store, desk.loaded)
    text = browser.get("/").text
    assert "<h1>1 to review</h1>" in text
    for part in ("passed: 0.91 like the references", 'value="0.9"', "blurred: it is", "Hello — “fox” 🦊"):
        assert part in text
    assert f'data-revision="1" data-hash="{post.content.hash}"' in text
    assert all(f"/references/pip/{each}/96" in text for each in ids)
    assert f"{len(post.content.text)} of 2200 characters" in text
    assert 'alt="A fox in the snow."' in text


def test_what_needs_a_person_comes_first(browser: Browser, desk: BoardContext) -> None:
    way: tuple[State, ...] = ("approved", "preparing", "uploaded", "committing", "unknown")
    unknown = into(desk, "pip/walk/2026-11-20", *way, problem="no answer")
    text = browser.get("/").text
    assert "1 post needs you" in text
    assert f"/post/{unknown}" in text
    assert "no answer" in text
    assert f"restage resolve {unknown} --published LINK" in browser.get(f"/post/{unknown}").text


def test_todays_approved_posts_are_there_and_tomorrows_are_not(browser: Browser, desk: BoardContext) -> None:
    today = into(desk, "pip/walk/2026-11-23", "approved")
    tomorrow = put(desk.store, desk.loaded, "pip/walk/2026-11-24", when=NINE + timedelta(days=1))
    post_store.approve(desk.store, tomorrow, "ann")
    text = browser.get("/").text
    assert f'id="post-{today}"' in text
    assert tomorrow.id not in text


def test_the_words_of_a_page_say_what_to_do_next(browser: Browser, desk: BoardContext) -> None:
    assert "restage references pip" in browser.get("/").text
    references(desk)
    assert "restage train pip" in browser.get("/").text
    (desk.loaded.folder / "prompts" / "pip.toml").unlink()
    assert "restage new persona NAME" in browser.get("/").text


def test_a_persona_that_cannot_be_read_is_told_and_the_rest_is_shown(browser: Browser, desk: BoardContext) -> None:
    put(desk.store, desk.loaded)
    (desk.loaded.folder / "prompts" / "bad.toml").write_text("name = ")
    for page in ("/", "/calendar", "/posts", "/feed"):
        assert browser.get(page).status_code == 200
    assert "bad.toml" in browser.get("/").text


@pytest.mark.parametrize("page", ["/", "/posts", "/calendar", "/feed", "/reports"])
def test_an_empty_studio_has_every_page(page: str, browser: Browser) -> None:
    assert browser.get(page).status_code == 200


def test_one_post_shows_its_history(browser: Browser, desk: BoardContext) -> None:
    post = put(desk.store, desk.loaded)
    review.reject(desk.store, post, "ann", "the ears <are> wrong")
    text = browser.get(f"/post/{post.id}").text
    assert "the ears &lt;are&gt; wrong" in text
    assert "<td>ann</td>" in text
    assert "Take the rejection back" in text
    assert browser.get("/post/ffffffff").status_code == 400


def test_posts_are_filtered_and_paged(browser: Browser, desk: BoardContext) -> None:
    for number in range(50):
        put(desk.store, desk.loaded, f"pip/walk/{number}", when=NINE + timedelta(hours=number), seed=5)
    into(desk, "mara/walk/1", "rejected")
    first, second = browser.get("/posts").text, browser.get("/posts?page=2").text
    assert "51 posts" in first
    assert "Page 1 of 2" in first
    assert (first.count('class="tile"'), second.count('class="tile"')) == (48, 3)
    assert browser.get("/posts?state=rejected").text.count('class="tile"') == 1
    assert browser.get("/posts?persona=mara").text.count('class="tile"') == 1
    assert browser.get("/posts?page=99").status_code == 200
    assert browser.get("/posts?state=lost").status_code == 422


def test_the_calendar_knows_what_is_missing_and_what_is_due(desk: BoardContext) -> None:
    put(desk.store, desk.loaded, "pip/walk/2026-11-20", when=NINE - timedelta(days=3))
    found = calendar_weeks(desk, NOW.date() - timedelta(days=7))
    days = {str(day.date): [each.state for each in day.entries] for week in found.days for day in week}
    assert len(found.days) == 5
    assert days["2026-11-19"] == []  # before its first post nobody waited for one
    assert days["2026-11-20"] == ["awaiting review"]
    assert days["2026-11-21"] == ["missing"]
    assert days["2026-11-23"] == ["due"]
    assert [day.date for week in found.days for day in week if day.today] == [NOW.date()]


def test_the_calendar_goes_on_and_back_and_to_no_end(browser: Browser) -> None:
    assert browser.get("/calendar?from=2030-01-01&persona=pip").status_code == 200
    for day in ("0001-01-01", "9999-12-31"):
        assert browser.get(f"/calendar?from={day}").status_code == 404
    assert browser.get("/calendar?from=soon").status_code == 422


def test_the_feed_is_what_is_out_and_before_it_what_comes(browser: Browser, desk: BoardContext) -> None:
    way: tuple[State, ...] = ("approved", "preparing", "uploaded", "committing", "published")
    out = into(desk, "pip/walk/2026-11-20", *way)
    coming = into(desk, "pip/walk/2026-11-23", "approved")
    waiting = into(desk, "pip/walk/2026-11-25")
    story = put(desk.store, desk.loaded, "pip/walk/2026-11-26", size="story")
    post_store.approve(desk.store, story, "ann")
    text = browser.get("/feed").text
    assert text.index(coming) < text.index(out)
    assert waiting not in text
    assert story.id not in text


def test_the_jpeg_is_the_very_one_that_would_go_out(browser: Browser, desk: BoardContext) -> None:
    post = put(desk.store, desk.loaded)
    shown = post.content.pictures[0]
    answer = browser.get(f"/posts/{post.id}/pictures/0?v={shown.sha256[:16]}")
    assert answer.content == (desk.loaded.studio / shown.file).read_bytes()
    assert "immutable" in answer.headers["cache-control"]
    assert "no-cache" in browser.get(f"/posts/{post.id}/pictures/0").headers["cache-control"]
    assert browser.get(f"/posts/{post.id}/pictures/1").status_code == 404


def test_small_copies_are_made_once_and_are_small(browser: Browser, desk: BoardContext) -> None:
    post = put(desk.store, desk.loaded)
    shown = post.content.pictures[0]
    for path in (f"/posts/{post.id}/pictures/0/240", f"/pictures/{shown.picture}/240"):
        image = Image.open(io.BytesIO(browser.get(path).content))
        assert (image.format, image.width) == ("WEBP", 240)
    made = sorted((desk.loaded.studio / "cache" / "thumbs").rglob("*.webp"))
    assert len(made) == 2
    times = [each.stat().st_mtime_ns for each in made]
    browser.get(f"/posts/{post.id}/pictures/0/240")
    assert [each.stat().st_mtime_ns for each in made] == times
    (desk.artifacts.picture_path(shown.picture)).write_bytes(b"torn")
    assert browser.get(f"/pictures/{shown.picture}/480").status_code == 404


def test_a_picture_says_where_it_comes_from(browser: Browser, desk: BoardContext) -> None:
    post = put(desk.store, desk.loaded)
    for each in post_store.candidates(desk.store, post.id):
        text = browser.get(f"/picture/{each.picture}").text
        assert f"/post/{post.id}" in text
        assert "&lt;pip&gt; number" in text
        assert "<dt>Seed</dt>" in text
    assert browser.get(f"/picture/{'ab' * 12}").status_code == 404


def test_reports_are_shown_in_a_box(browser: Browser, desk: BoardContext, tmp_path: Path) -> None:
    path = desk.loaded.studio / "references" / "pip" / "abc" / "report.html"
    write_file(path, b"<h1>Kept</h1><script>alert(1)</script>")
    write_file(desk.loaded.studio / "secret" / "pip" / "abc" / "report.html", b"hidden")
    text = browser.get("/reports").text
    found = text.split('href="/reports/')[1].split('"')[0]
    assert text.count('href="/reports/') == 1
    assert "sandbox" in browser.get(f"/reports/{found}").text
    answer = browser.get(f"/reports/{found}/page")
    assert b"Kept" in answer.content
    assert "sandbox;" in answer.headers["content-security-policy"]
    assert "script-src" not in answer.headers["content-security-policy"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert browser.get("/reports/0123456789abcdef/page").status_code == 404


def test_a_replay_that_cannot_be_made_says_so(browser: Browser, desk: BoardContext) -> None:
    import time

    post = put(desk.store, desk.loaded)  # its record names a model that nobody has
    path = f"/api/pictures/{post.content.pictures[0].picture}/replay"
    assert browser.do(path).json()["standing"] == "running"
    for _ in range(600):
        found = browser.get(path).json()
        if found["standing"] != "running":
            break
        time.sleep(0.1)
    assert found["standing"] in ("failed", "unequal")
    assert found["text"]


def test_two_desks_share_nothing_but_the_studio(opened: Opened, tmp_path: Path) -> None:
    loaded = studio(tmp_path)
    one, other = opened(loaded), opened(loaded)
    desk = one.app.state.context  # type: ignore[attr-defined]
    post = put(desk.store, loaded)
    assert post.id in other.get("/").text
    token = one.token()
    answer = other.post("/api/approve", json={}, headers={"origin": "http://127.0.0.1:8420", "x-restage-token": token})
    assert answer.status_code == 403


def test_an_album_shows_all_its_pictures(browser: Browser, desk: BoardContext) -> None:
    post = put(desk.store, desk.loaded)
    album = review.add(desk.store, post, "ann", 1, desk.loaded)
    text = browser.get(f"/post/{post.id}").text
    assert "2 of 2" in text
    assert text.count('name="alt"') == 2
    assert replace(album.content).kind == "album"
