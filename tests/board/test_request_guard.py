"""Who is kept out: other sites, other names, wrong passwords, stolen sessions, and paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from board.app import check_open, create_app
from board.context import BoardContext
from board.request_guard import COOKIE, MAX_BODY_BYTES
from board.serve import board_address, serve_board
from board.sessions import FREE_ATTEMPTS, SESSION_SECONDS, LoginThrottle, Sessions
from models.system.errors import UserError
from tasks.posts import post_store
from tasks.posts.post import Post
from tasks.settings.settings import load_settings
from tests.board.conftest import HERE, PASSWORD, Browser, Clock, Opened
from tests.support.studios import put, studio

PAGES = ("/", "/posts", "/calendar", "/feed", "/reports")


@pytest.fixture
def post(desk: BoardContext) -> Post:
    return put(desk.store, desk.loaded)


def approve(browser: Browser, post: Post, **headers: str) -> Any:
    return browser.do(
        f"/api/posts/{post.id}/approve", {"revision": post.revision, "hash": post.content.hash}, **headers
    )


# --- other sites ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"x-restage-token": ""},
        {"x-restage-token": "0" * 64},
        {"x-restage-token": "é"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://["},
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example"},
        {"host": ""},
    ],
)
def test_what_does_not_come_from_the_boards_own_page_changes_nothing(
    headers: dict[str, str], browser: Browser, desk: BoardContext, post: Post
) -> None:
    assert approve(browser, post, **{k: v.encode() for k, v in headers.items()}).status_code in (403, 421)  # type: ignore[arg-type]
    assert post_store.get_post(desk.store, post.id).state == "awaiting review"


def test_without_an_origin_the_browser_still_says_where_it_was(browser: Browser, post: Post) -> None:
    token = browser.token()
    body = {"revision": post.revision, "hash": post.content.hash}
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200)):
        headers = {"sec-fetch-site": site, "x-restage-token": token}
        assert browser.post(f"/api/posts/{post.id}/approve", json=body, headers=headers).status_code == status


@pytest.mark.parametrize("page", PAGES)
def test_a_name_that_is_not_ours_sees_nothing(page: str, browser: Browser, post: Post) -> None:
    answer = browser.get(page, headers={"host": "rebound.example:8420"})
    assert answer.status_code == 421
    assert post.id not in answer.text


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8420", "[::1]:8420", "192.168.1.20:8420", "Studio.LAN."])
def test_names_and_numbers_of_this_machine_are_welcome(host: str, tmp_path: Path, opened: Opened) -> None:
    browser = opened(studio(tmp_path, '[board]\nnames = ["studio.lan"]\n'))
    assert browser.get("/posts", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("page", [*PAGES, "/nothing", "/posts/zz/pictures/0", "/static/board.css", "/api/posts"])
def test_every_answer_carries_its_headers(page: str, browser: Browser, post: Post) -> None:
    headers = browser.get(page).headers
    policy = headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


def test_pages_hold_no_script_or_style_of_their_own(browser: Browser, post: Post) -> None:
    for page in (*PAGES, f"/post/{post.id}", f"/picture/{post.content.pictures[0].picture}"):
        text = browser.get(page).text
        assert "<style" not in text
        assert " style=" not in text
        assert " onclick=" not in text
        assert text.count("<script") == text.count('<script src="/static/board.js"') == 1
        assert "http://" not in text.replace("http://www.w3.org", "")
        assert "https://" not in text


def test_a_script_in_a_caption_is_text(browser: Browser, desk: BoardContext) -> None:
    evil = '"><script>alert(1)</script><img src=x onerror=alert(1)></textarea>'
    made = put(desk.store, desk.loaded, caption=evil)
    for page in ("/", f"/post/{made.id}", "/posts", "/calendar"):
        text = browser.get(page).text
        assert "<script>alert" not in text
        assert "<img src=x" not in text
    assert "&lt;script&gt;alert(1)" in browser.get("/").text


def test_too_much_is_refused(browser: Browser, post: Post) -> None:
    known = {"origin": HERE, "x-restage-token": browser.token(), "content-type": "application/json"}
    path = f"/api/posts/{post.id}/approve"
    assert browser.post(path, content=b" " * (MAX_BODY_BYTES + 1), headers=known).status_code == 413
    pieces = (b" " * 10_000 for _ in range(MAX_BODY_BYTES // 10_000 + 2))  # without saying how much there will be
    assert browser.post(path, content=pieces, headers=known).status_code in (400, 413, 422)


# --- pictures by id ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/pictures/../../settings.toml",
        "/pictures/%2e%2e%2f%2e%2e%2fsettings.toml",
        "/pictures/..%2f..%2frestage.db",
        "/pictures/deadbeef/../../x",
        "/pictures/" + "a" * 65,
        "/pictures/deadbeef/77",
        "/posts/../../etc/passwd/pictures/0",
        "/posts/%2e%2e/pictures/0",
        "/references/..%2f../deadbeef/96",
        "/references/pip/..%2f..%2frestage.db/96",
        "/reports/..%2f..%2frestage.db/page",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static//etc/passwd",
    ],
)
def test_nothing_is_read_by_path(path: str, browser: Browser, post: Post) -> None:
    assert browser.get(path).status_code in (404, 405, 422)


def test_a_file_outside_the_studio_is_never_sent(browser: Browser, desk: BoardContext, tmp_path: Path) -> None:
    from dataclasses import replace

    made = put(desk.store, desk.loaded)
    out = replace(made.content.pictures[0], file="../settings.toml", sha256="f" * 64)
    post_store.edit(desk.store, made, replace(made.content, pictures=(out,)), "x", "by hand")
    assert browser.get(f"/posts/{made.id}/pictures/0").status_code == 404


# --- with a password --------------------------------------------------------------------------------------------------


def test_without_the_password_nothing_is_seen_or_done(locked: Browser) -> None:
    desk = locked.app.state.context  # type: ignore[attr-defined]
    post = put(desk.store, desk.loaded)
    picture = post.content.pictures[0].picture
    for page in (*PAGES, f"/post/{post.id}"):
        answer = locked.get(page, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"].split("?")[0]) == (303, "/login")
    for path in ("/api/posts", f"/pictures/{picture}", f"/posts/{post.id}/pictures/0", "/api/openapi.json"):
        assert locked.get(path, headers={"accept": "*/*"}).status_code == 401
    assert approve(locked, post).status_code == 401
    assert post_store.get_post(desk.store, post.id).state == "awaiting review"


def test_with_it_everything_is_and_the_cookie_is_kept_close(locked: Browser) -> None:
    desk = locked.app.state.context  # type: ignore[attr-defined]
    answer = locked.log_in(PASSWORD, next="/calendar")
    assert (answer.status_code, answer.headers["location"]) == (303, "/calendar")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "secure" not in cookie
    assert locked.get("/").status_code == 200
    post = put(desk.store, desk.loaded)
    assert approve(locked, post).status_code == 200
    assert [each.by for each in post_store.history(desk.store, post.id)][-1] == "the board"


def test_over_https_the_cookie_stays_there(locked: Browser, opened: Opened) -> None:
    secure = opened(base="https://127.0.0.1:8420", app=locked.app)
    assert "secure" in secure.log_in(PASSWORD).headers["set-cookie"].lower()


def test_nobody_gets_in_with_a_wrong_password_and_the_eleventh_waits(locked: Browser, clock: Clock) -> None:
    for _ in range(FREE_ATTEMPTS):
        assert locked.log_in("wrong").status_code == 401
    answer = locked.log_in(PASSWORD)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    clock.now += 1.1
    assert locked.log_in("wrong").status_code == 401
    clock.now += 1.1
    assert locked.log_in(PASSWORD).status_code == 429
    clock.now += 1.1
    assert locked.log_in(PASSWORD).status_code == 303


def test_a_session_stolen_after_logout_is_worth_nothing(locked: Browser, opened: Opened) -> None:
    locked.log_in(PASSWORD)
    stolen, token = locked.cookies[COOKIE], locked.token("/")
    headers = {"origin": HERE}
    assert locked.post("/logout", data={"token": "0" * 64}, headers=headers).status_code == 403
    assert locked.get("/").status_code == 200
    assert locked.post("/logout", data={"token": token}, headers=headers, follow_redirects=False).status_code == 303
    thief = opened(app=locked.app)
    thief.cookies.set(COOKIE, stolen)
    assert thief.get("/", follow_redirects=False).status_code == 303
    assert thief.post("/api/approve", json={}, headers=headers | {"x-restage-token": token}).status_code == 401


def test_a_session_that_nobody_uses_ends(locked: Browser, clock: Clock) -> None:
    locked.log_in(PASSWORD)
    clock.now += SESSION_SECONDS - 1
    assert locked.get("/", follow_redirects=False).status_code == 200
    clock.now += SESSION_SECONDS + 1
    assert locked.get("/", follow_redirects=False).status_code == 303


def test_a_cookie_that_was_planted_is_not_the_session_after_login(locked: Browser, opened: Opened) -> None:
    locked.cookies.set(COOKIE, "planted", domain="127.0.0.1")
    answer = locked.log_in(PASSWORD)
    assert f"{COOKIE}=planted" not in answer.headers["set-cookie"]
    thief = opened(app=locked.app)
    thief.cookies.set(COOKIE, "planted")
    assert thief.get("/", follow_redirects=False).status_code == 303


def test_the_token_of_one_session_is_none_of_another(locked: Browser, opened: Opened) -> None:
    locked.log_in(PASSWORD)
    other = opened(app=locked.app)
    other.log_in(PASSWORD)
    answer = other.post("/api/approve", json={}, headers={"origin": HERE, "x-restage-token": locked.token("/")})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "goal", ["//evil.example", "https://evil.example", "/\\evil.example", "\r\nx: y", "javascript:x"]
)
def test_login_leads_nowhere_else(goal: str, locked: Browser) -> None:
    assert locked.log_in(PASSWORD, next=goal).headers["location"] == "/"


def test_a_login_form_of_another_page_is_refused(locked: Browser) -> None:
    token = locked.token("/login")
    form = {"password": PASSWORD, "token": token}
    assert locked.post("/login", data=form, headers={"origin": "http://evil.example"}).status_code == 403
    assert locked.post("/login", data={"password": PASSWORD}, headers={"origin": HERE}).status_code == 403


def test_the_password_is_on_no_page(locked: Browser) -> None:
    locked.log_in(PASSWORD)
    for page in (*PAGES, "/login", "/nothing"):
        assert "horse" not in locked.get(page).text


# --- where it listens -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.20", "::", "studio.lan"])
def test_beyond_this_machine_it_wants_a_password(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = studio(tmp_path)
    for start in (
        lambda: check_open(loaded, host),
        lambda: create_app(loaded, host),
        lambda: serve_board(loaded, host),
    ):
        with pytest.raises(UserError, match="BOARD_PASSWORD"):
            start()
    with pytest.raises(UserError, match="BOARD_PASSWORD"):
        create_app(studio(tmp_path, f'[board]\nhost = "{host}"\n'))
    monkeypatch.setenv("RESTAGE_SECRETS__BOARD_PASSWORD", "x")
    check_open(load_settings(tmp_path / "settings.toml"), host)


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match=r"cannot listen on 127.0.0.1 port \d+ .*set another \[board\] port"):
            serve_board(studio(tmp_path), port=taken.getsockname()[1])


def test_the_address_is_one_that_a_browser_opens() -> None:
    assert board_address("0.0.0.0", 8420) == "http://127.0.0.1:8420/"
    assert board_address("::1", 8420) == "http://[::1]:8420/"


# --- the parts --------------------------------------------------------------------------------------------------------


@given(st.text(min_size=1), st.text())
def test_only_the_password_fits(password: str, other: str) -> None:
    assert Sessions(password).password_matches(other) == (password == other)
    assert not Sessions("").password_matches(other)


@given(st.integers(1, 60))
def test_waiting_grows_and_stays_bearable(count: int) -> None:
    clock = Clock()
    patience, waits = LoginThrottle(clock), []
    for _ in range(count):
        patience.record_failure("10.0.0.1")
        waits.append(patience.seconds_to_wait("10.0.0.1"))
    assert waits == sorted(waits)
    assert waits[-1] <= 900
    assert (waits[-1] > 0) == (count >= FREE_ATTEMPTS)
    assert patience.seconds_to_wait("10.0.0.2") == 0
    patience.reset_failures("10.0.0.1")
    assert patience.seconds_to_wait("10.0.0.1") == 0


def test_addresses_of_one_household_are_one() -> None:
    patience = LoginThrottle(Clock())
    for number in range(FREE_ATTEMPTS):
        patience.record_failure(f"2001:db8::{number:x}")
    assert patience.seconds_to_wait("2001:db8::ffff") > 0
    assert patience.seconds_to_wait("2001:db8:0:1::1") == 0
