"""A real browser walks the board: by mouse, by keys alone, on a phone, in the dark, and with an eye on accessibility."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tasks.posts import post_store
from tasks.posts.post import Post
from tasks.settings.settings import LoadedSettings
from tasks.store.store import Store
from tests.support.studios import put, studio

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
WAIT = 20_000.0  # milliseconds; machines that do other things too are slow


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    with api.sync_playwright() as running:
        yield running.chromium.launch(executable_path=CHROMIUM, args=QUIET)


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedSettings:
    return studio(tmp_path)


@pytest.fixture
def one(loaded: LoadedSettings) -> Iterator[Store]:
    store = Store.open("", loaded.studio)
    yield store
    store.close()


@pytest.fixture
def made(one: Store, loaded: LoadedSettings) -> list[Post]:
    """Three posts that await review, in the order in which the page shows them."""
    found = [put(one, loaded, f"pip/walk/2026-11-2{day}") for day in range(3, 6)]
    return sorted(found, key=lambda each: each.id)


@pytest.fixture
def address(loaded: LoadedSettings, made: list[Post]) -> Iterator[str]:
    import uvicorn

    from board.app import create_app

    server = uvicorn.Server(uvicorn.Config(create_app(loaded), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
        assert thread.is_alive()
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


Opened = Callable[..., "Page"]


@pytest.fixture
def opened(chromium: Browser, address: str) -> Iterator[Opened]:
    """A page of the board in a window of its own. Whatever its script or its policy complains of fails the test."""
    complaints: list[str] = []
    contexts = []

    def call(path: str = "/", **window: Any) -> Page:
        contexts.append(chromium.new_context(**({"viewport": {"width": 1300, "height": 900}} | window)))
        page = contexts[-1].new_page()
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console", lambda told: complaints.append(f"{told.text} {told.location}") if told.type == "error" else None
        )
        page.goto(address + path)
        return page

    yield call
    for context in contexts:
        context.close()
    meant = ("409", "400", "/nothing")  # what a test asks for
    assert not [each for each in complaints if not any(sign in each for sign in meant)]


def card(page: Page, post: Post) -> Any:
    return page.locator(f"#post-{post.id}")


def said(page: Page, words: str) -> None:
    page.locator("#said", has_text=words).wait_for()


def state(store: Store, post: Post) -> str:
    return post_store.get_post(store, post.id).state


def test_a_post_is_approved_and_the_approval_taken_back(opened: Opened, one: Store, made: list[Post]) -> None:
    page = opened()
    card(page, made[0]).get_by_role("button", name="Approve").click()
    said(page, "Approved")
    assert state(one, made[0]) == "approved"
    card(page, made[0]).get_by_role("button", name="Take the approval back").click()
    said(page, "taken back")
    assert state(one, made[0]) == "awaiting review"


def test_a_caption_is_counted_while_it_is_typed_and_saved(opened: Opened, one: Store, made: list[Post]) -> None:
    page = opened()
    there = card(page, made[0])
    assert not there.get_by_role("button", name="Save the changes").is_visible()
    there.get_by_label("Caption").fill("A 🦊 #one")
    assert there.locator(".chars").inner_text() == "14 of 2200 characters"  # 8, an empty line and #pip
    assert there.locator(".tags").inner_text() == "2 of 30 hashtags"
    there.get_by_label("Caption").fill("x" * 2195)
    assert "over" in (there.locator(".chars").get_attribute("class") or "")
    there.get_by_role("button", name="Save the changes").click()
    said(page, "2201 characters")
    there.get_by_label("Caption").fill("Better\n“words” 🦊")
    there.get_by_label("Alt text").fill("A fox, laughing.")
    there.get_by_role("button", name="Save the changes").click()
    said(page, "Saved")
    now = post_store.get_post(one, made[0].id)
    assert (now.content.caption, now.revision) == ("Better\n“words” 🦊", 2)
    assert now.content.pictures[0].alt == "A fox, laughing."
    assert len(now.content.text) == int(there.locator(".chars").inner_text().split()[0])


def test_what_is_typed_is_saved_with_the_approval(opened: Opened, one: Store, made: list[Post]) -> None:
    page = opened()
    card(page, made[0]).get_by_label("Hashtags").fill("fox art")
    card(page, made[0]).get_by_role("button", name="Save and approve").click()
    said(page, "Approved")
    now = post_store.get_post(one, made[0].id)
    held = post_store.approval(one, now)
    assert held is not None
    assert held.content.hashtags == ("fox", "art")


def test_a_post_is_put_off(opened: Opened, one: Store, made: list[Post]) -> None:
    page = opened(f"/post/{made[0].id}")
    page.get_by_label("When").fill("2026-12-24T18:30")
    page.get_by_role("button", name="Save the changes").click()
    said(page, "Saved")
    assert f"{post_store.get_post(one, made[0].id).content.when:%Y-%m-%d %H:%M}" == "2026-12-24 18:30"


def test_a_post_is_rejected_with_a_reason(opened: Opened, one: Store, made: list[Post]) -> None:
    page = opened()
    card(page, made[0]).get_by_role("button", name="Reject").click()
    page.get_by_role("button", name="Cancel").click()
    assert state(one, made[0]) == "awaiting review"
    card(page, made[0]).get_by_role("button", name="Reject").click()
    page.get_by_label("A reason, for the history").fill("the ears")
    page.locator("#why-go").click()
    said(page, "Rejected")
    assert post_store.history(one, made[0].id)[-1].why == "the ears"


def test_another_picture_is_looked_at_and_taken(opened: Opened, one: Store, made: list[Post]) -> None:
    page = opened()
    card(page, made[0]).locator('[data-candidate="2"]').click()
    page.get_by_text("blurred: it is").last.wait_for()
    page.get_by_role("button", name="Show this one instead").click()
    said(page, "This one is shown now")
    shown = post_store.get_post(one, made[0].id).content.pictures[0]
    assert shown.picture == post_store.candidates(one, made[0].id)[2].picture
    assert shown.sha256[:16] in (card(page, made[0]).locator(".shown img").first.get_attribute("src") or "")
    card(page, made[0]).locator('[data-candidate="0"]').click()
    page.get_by_role("button", name="Add to the album").click()
    said(page, "Added")
    assert post_store.get_post(one, made[0].id).content.kind == "album"
    card(page, made[0]).get_by_role("button", name="Take picture 1 out").click()
    said(page, "Taken out")
    assert post_store.get_post(one, made[0].id).content.kind == "photo"


def test_several_are_approved_at_once(opened: Opened, one: Store, made: list[Post]) -> None:
    page = opened()
    assert not page.locator("#bulk").is_visible()
    page.get_by_role("button", name="Select all on this page").click()
    assert page.locator("#bulk-count").inner_text() == "3 selected"
    card(page, made[1]).get_by_label("Select").uncheck()
    page.get_by_role("button", name="Approve them").click()
    said(page, "2 approved")
    assert [state(one, each) for each in made] == ["approved", "awaiting review", "approved"]


def test_who_was_slower_sees_what_there_is_now(
    opened: Opened, one: Store, loaded: LoadedSettings, made: list[Post]
) -> None:
    from tasks.posts import review

    page = opened()
    review.edit(one, made[0], "bob", review.Changes(caption="Bob was here"), loaded)
    card(page, made[0]).get_by_role("button", name="Approve").click()
    said(page, "look at it again")
    page.wait_for_function(
        "id => document.querySelector(`#post-${id} textarea`).value === 'Bob was here'", arg=made[0].id
    )
    assert state(one, made[0]) == "awaiting review"


def test_keys_alone_do_all_of_it(opened: Opened, one: Store, made: list[Post]) -> None:
    page = opened()
    keys = page.keyboard
    keys.press("?")
    page.locator("#help[open]").wait_for()
    keys.press("Escape")
    keys.press("j")
    keys.press("j")
    assert page.evaluate("document.activeElement.dataset.post") == made[1].id
    keys.press("k")
    assert page.evaluate("document.activeElement.dataset.post") == made[0].id
    keys.press("e")
    keys.type("ja! ")  # letters in a text are letters
    assert "ja! " in card(page, made[0]).get_by_label("Caption").input_value()
    keys.press("Escape")
    keys.press("a")
    said(page, "Approved")
    assert state(one, made[0]) == "approved"
    page.wait_for_function("id => document.activeElement.dataset.post === id", arg=made[1].id)
    keys.press("r")
    keys.type("no")
    keys.press("Tab")
    keys.press("Enter")
    said(page, "Rejected")
    assert state(one, made[1]) == "rejected"
    keys.press("k")
    keys.press("u")
    said(page, "taken back")
    assert "awaiting review" in (state(one, made[0]), state(one, made[1]))
    keys.press("j")
    keys.press("j")
    keys.press("x")
    page.locator("#bulk").wait_for(state="visible")


PAGES = ("/", "/calendar", "/feed", "/posts", "/reports", "/post/{post}", "/picture/{picture}", "/nothing")


@pytest.mark.parametrize("window", [{}, PHONE, {"color_scheme": "dark"}], ids=["desk", "phone", "dark"])
def test_every_page_can_be_used_by_everybody(
    window: dict[str, Any], opened: Opened, one: Store, made: list[Post]
) -> None:
    """axe finds nothing serious, nothing runs out of the window, and nothing on a phone is too small for a finger."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    post_store.approve(one, made[2], "ann")
    page = opened(**window)
    for path in PAGES:
        path = path.format(post=made[0].id, picture=made[0].content.pictures[0].picture)
        page.goto(page.url.partition("/")[0] + "//" + page.url.split("/")[2] + path)
        found = axe.run(page).response["violations"]
        bad = [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")]
        assert not bad, path
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


def test_a_phone_reviews_with_a_finger(opened: Opened, one: Store, made: list[Post]) -> None:
    page = opened(**PHONE)
    button = card(page, made[0]).get_by_role("button", name="Approve")
    box = button.bounding_box()
    assert box is not None
    assert box["height"] >= 40
    button.tap()
    said(page, "Approved")
    assert state(one, made[0]) == "approved"


def test_nothing_is_asked_of_any_other_machine(chromium: Browser, address: str, made: list[Post]) -> None:
    context = chromium.new_context()
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    for path in ("/", f"/post/{made[0].id}", "/calendar", "/feed"):
        page.goto(address + path)
    context.close()
    assert asked
    assert all(url.startswith((address, "data:")) for url in asked)
