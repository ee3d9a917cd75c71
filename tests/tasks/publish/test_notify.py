"""Telling people elsewhere: what was asked for, to a real server on loopback, and never with an address in the log."""

import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tasks.posts.post import Post
from tasks.publish.claimed_account import PublishOutcome
from tasks.publish.notify import Notification, news, notify, waiting
from tasks.settings.settings import LoadedSettings, load_settings
from tasks.store.store import Store
from tests.support import approved

SECRET = "planted-notify-token"


class Server(HTTPServer):
    received: list[dict]
    status = 200


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append(json.loads(body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def webhook() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.received = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def post(tmp_path: Path) -> Post:
    store = Store.open("", tmp_path)
    made = approved.approved(store, tmp_path, 1)
    store.close()
    return made


def loaded(tmp_path: Path, addresses: str, *events: str) -> LoadedSettings:
    (tmp_path / "settings.toml").write_text(f"[notify]\nevents = {json.dumps(list(events))}\n")
    (tmp_path / "secrets").mkdir(exist_ok=True)
    (tmp_path / "secrets" / "notify").write_text(addresses)
    return load_settings(tmp_path / "settings.toml")


def address(server: Server) -> str:
    return f"json://user:{SECRET}@127.0.0.1:{server.server_address[1]}/hook"


def test_what_happened_becomes_news(post: Post) -> None:
    outcomes = [
        PublishOutcome(replace(post, state="published"), "https://www.instagram.com/p/abc/"),
        PublishOutcome(replace(post, state="failed"), "the file is gone"),
        PublishOutcome(replace(post, state="needs a person"), "absent at 4 looks"),
        PublishOutcome(post, "log in first", person=True),
        PublishOutcome(post, "no answer: try again"),
        PublishOutcome(replace(post, state="unknown"), "no answer"),
    ]
    assert [each.kind for each in news(outcomes)] == ["published", "failed", "needs a person", "needs a person"]
    assert "Pip, day 1" in news(outcomes)[0].text and "https://" in news(outcomes)[0].text
    assert waiting(1, "pip").title == "1 post of pip to review"


def test_only_what_is_asked_for_is_sent(webhook: Server, tmp_path: Path) -> None:
    told = [
        Notification("published", "walk of pip is published", "Pip 🦊"),
        Notification("failed", "walk of pip failed", "why"),
    ]
    assert notify(loaded(tmp_path, f" {address(webhook)} ,", "published"), told) == 1
    assert [(each["title"], each["message"]) for each in webhook.received] == [("walk of pip is published", "Pip 🦊")]
    assert notify(loaded(tmp_path, address(webhook)), told) == 0
    assert notify(loaded(tmp_path, "", "published"), told) == 0


@pytest.mark.parametrize("what", ["refused", "nobody there", "no address"])
def test_what_cannot_be_told_stops_nothing_and_shows_no_secret(
    what: str, webhook: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    webhook.status = 500
    addresses = {
        "refused": address(webhook),
        "nobody there": f"json://user:{SECRET}@127.0.0.1:9/hook",
        "no address": f"nonsense://{SECRET}",
    }[what]
    assert notify(loaded(tmp_path, addresses, "failed"), [Notification("failed", "walk of pip failed", "why")]) == 0
    assert "notif" in caplog.text
    assert SECRET not in caplog.text
