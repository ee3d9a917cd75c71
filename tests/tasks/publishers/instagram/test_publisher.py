"""instagrapi's real client, as we use it, against the stand-in."""

import hashlib
import json
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.system.errors import UserError
from tasks.publishers.base import (
    ApprovedPicture,
    ApprovedPost,
    BeforeCommit,
    FoundOnAccount,
    PreparedUpload,
    PublishError,
    upload_id_at,
)
from tasks.publishers.instagram.client import InstagramClient
from tasks.publishers.instagram.publisher import Instagram
from tasks.publishers.instagram.session import load_session, log_in, save_session, session_file
from tasks.publishers.stand_in.server import StandIn
from tests.tasks.publishers.conftest import ACCOUNT, PATIENT, Ready, instagram, picture_bytes

DAMAGED = '{"authorization_data": {"ds_user_id": "1"}, "uuids": 7, "cookies": "planted"}'
UPLOAD_ID = upload_id_at(1_795_000_000)


def log_in_account(server: StandIn, studio: Path, **changes: Any) -> Path:
    told = {
        "password": ACCOUNT.password,
        "totp": ACCOUNT.totp,
        "address": server.address,
        "request_pause": 0.0,
        **changes,
    }
    return log_in(studio, ACCOUNT.name, **told)


@pytest.mark.parametrize("kind", ["photo", "album", "story"])
def test_a_post_arrives_as_it_was_approved(kind: str, server: StandIn, ready: Callable[..., Ready]) -> None:
    post = ready("instagram", kind)
    assert not server.published
    receipt = post.publisher.commit(post.parcel, post.prepared)
    medium = server.published[0]
    assert (medium.id, medium.kind, medium.upload_id) == (receipt.media_id, kind, post.prepared.upload_id)
    assert medium.pictures == [each.sha256 for each in post.parcel.pictures]
    assert [server.state.load_picture(each) for each in medium.pictures] == [
        each.path.read_bytes() for each in post.parcel.pictures
    ]
    if kind == "story":
        assert receipt.permalink == f"https://www.instagram.com/stories/pip_daily/{medium.id}/"
    else:
        assert receipt.permalink == f"https://www.instagram.com/p/{medium.code}/"
        assert (medium.caption, medium.alts) == (post.parcel.caption, list(post.parcel.alts))


def test_an_album_keeps_its_order_and_may_have_ten(
    server: StandIn, studio: Path, parcel: Callable[..., ApprovedPost], tmp_path: Path
) -> None:
    pictures = []
    for number in range(10):
        path = tmp_path / f"ten-{number}.jpg"
        path.write_bytes(picture_bytes(number))
        pictures.append(ApprovedPicture(path, hashlib.sha256(path.read_bytes()).hexdigest()))
    post = parcel("album", pictures=tuple(pictures), alts=tuple(f"number {n}" for n in range(10)))
    publisher, progress = instagram(server, studio), dict[str, str]()
    publisher.commit(post, publisher.prepare(post, UPLOAD_ID, progress))
    assert server.published[0].pictures == [each.sha256 for each in pictures]
    assert server.published[0].alts == list(post.alts)
    assert list(progress.values()) == [str(int(UPLOAD_ID) + n) for n in range(1, 11)]


def test_preparing_again_changes_nothing(server: StandIn, studio: Path, parcel: Callable[..., ApprovedPost]) -> None:
    post = parcel("album")
    first = instagram(server, studio).prepare(post, UPLOAD_ID, {})
    uploads = dict(server.state.uploads)
    assert instagram(server, studio).prepare(post, UPLOAD_ID, {}) == first
    assert server.state.uploads == uploads


def test_a_prepared_post_is_plain_values(ready: Callable[..., Ready], server: StandIn, studio: Path) -> None:
    """It is stored, and a later process commits it."""
    post = ready("instagram", "album")
    stored = json.loads(json.dumps({"upload_id": post.prepared.upload_id, "parts": dict(post.prepared.parts)}))
    instagram(server, studio).commit(post.parcel, type(post.prepared)(**stored))
    assert len(server.published) == 1


def test_each_commit_starts_a_connection_of_its_own(ready: Callable[..., Ready]) -> None:
    post = ready("instagram")
    assert isinstance(post.publisher, Instagram)
    wire = post.publisher._client.adapter
    before = wire._inner
    post.publisher.commit(post.parcel, post.prepared)
    assert wire._inner is not before


def test_the_label_of_the_account_is_set_once(
    server: StandIn, studio: Path, parcel: Callable[..., ApprovedPost]
) -> None:
    for _ in range(2):
        post, publisher = parcel(ai_label=True), instagram(server, studio)
        publisher.commit(post, publisher.prepare(post, UPLOAD_ID, {}))
    assert [each.ai_label for each in server.published] == [True, True]
    assert sum(each.endpoint == "label" for each in server.journal) == 1


def test_a_login_leaves_a_session_for_its_owner_alone(server: StandIn, tmp_path: Path) -> None:
    file = log_in_account(server, tmp_path)
    assert file == tmp_path / "accounts" / "pip_daily" / "session.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert instagram(server, tmp_path).check_health().ok
    text = file.read_text()
    assert ACCOUNT.password not in text
    assert ACCOUNT.totp not in text


def test_a_session_that_others_could_read_is_closed(server: StandIn, tmp_path: Path) -> None:
    file = log_in_account(server, tmp_path)
    file.chmod(0o644)
    instagram(server, tmp_path).check_health()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_phone_stays_the_same_one(server: StandIn, tmp_path: Path) -> None:
    first = json.loads(log_in_account(server, tmp_path).read_text())
    second = json.loads(log_in_account(server, tmp_path).read_text())
    assert first["uuids"] == second["uuids"]
    assert first["device_settings"] == second["device_settings"]
    assert first["authorization_data"] != second["authorization_data"]
    file = session_file(tmp_path, ACCOUNT.name)
    phones = [InstagramClient(load_session(file, ACCOUNT.name), PATIENT, server.address, 0) for _ in range(2)]
    assert {each.uuid for each in phones} == {first["uuids"]["uuid"]}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"password": "wrong"}, "did not let pip_daily in"),
        ({"totp": "GEZDGNBVGY3TQOJQ"}, "did not let pip_daily in"),
        ({"totp": ""}, "asks pip_daily for a two-factor code"),
    ],
)
def test_a_login_that_fails_leaves_the_session_as_it_was(
    changes: dict[str, str], sentence: str, server: StandIn, tmp_path: Path
) -> None:
    file = log_in_account(server, tmp_path)
    before = file.read_bytes()
    with pytest.raises(PublishError, match=sentence) as caught:
        log_in_account(server, tmp_path, **changes)
    assert caught.value.person
    assert caught.value.__context__ is None
    assert file.read_bytes() == before


def test_a_code_may_be_typed_instead_of_a_seed(server: StandIn, tmp_path: Path) -> None:
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return str(InstagramClient({}, PATIENT, server.address, 0).totp_generate_code(ACCOUNT.totp))

    log_in_account(server, tmp_path, totp="", ask=ask)
    assert len(asked) == 1
    assert instagram(server, tmp_path).check_health().ok


def test_a_seed_that_is_none_is_not_repeated(server: StandIn, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the two-factor seed of pip_daily is not one") as caught:
        log_in_account(server, tmp_path, totp="not-a-seed-189")
    assert "not-a-seed-189" not in str(caught.value)


def test_a_session_that_has_ended_goes_to_a_person_and_never_to_the_password(
    server: StandIn, tmp_path: Path, parcel: Callable[..., ApprovedPost]
) -> None:
    log_in_account(server, tmp_path)
    server.state.sessions.clear()
    server.journal.clear()
    publisher, post = instagram(server, tmp_path), parcel()
    for attempt in (
        lambda: publisher.prepare(post, UPLOAD_ID, {}),
        lambda: publisher.list_recent_media("photo"),
        lambda: publisher.find_published(post, PreparedUpload(UPLOAD_ID, {"size 1": "540x675"}), BeforeCommit(0)),
    ):
        with pytest.raises(PublishError, match="is logged out.*run restage login pip_daily") as caught:
            attempt()
        assert caught.value.person
    assert not publisher.check_health().ok
    assert not any("login" in each.endpoint for each in server.journal)


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"authorization_data": {}}', DAMAGED])
def test_without_a_session_nothing_is_sent(content: str | None, server: StandIn, tmp_path: Path) -> None:
    if content is not None:
        file = session_file(tmp_path, ACCOUNT.name)
        file.parent.mkdir(parents=True)
        file.write_text(content)
    with pytest.raises(PublishError, match="run restage login pip_daily") as caught:
        instagram(server, tmp_path).list_recent_media("photo")
    assert caught.value.person
    assert caught.value.__context__ is None or "planted" not in str(caught.value.__context__)
    assert not server.journal


def test_a_session_of_somebody_else_is_noticed(server: StandIn, tmp_path: Path) -> None:
    save_session(session_file(tmp_path, "mara"), server.new_session(ACCOUNT.name))
    health = Instagram(tmp_path, "mara", address=server.address, request_pause=0).check_health()
    assert not health.ok
    assert health.person
    assert "belongs to pip_daily" in health.says


@pytest.mark.parametrize("name", ["../pip", "", ".", "a/b", "x" * 31])
def test_names_of_accounts_do_not_lead_elsewhere(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not the name of an Instagram account"):
        Instagram(tmp_path, name)


@pytest.mark.parametrize(
    "address", ["https://i.instagram.com", "http://192.168.1.9:80", "http://127.0.0.1.evil.example"]
)
def test_a_stand_in_is_on_this_machine(address: str, studio: Path) -> None:
    with pytest.raises(UserError, match="is not an address of this machine"):
        Instagram(studio, ACCOUNT.name, address=address).list_recent_media("photo")


def test_old_posts_are_reached_over_several_pages(server: StandIn, studio: Path, ready: Callable[..., Ready]) -> None:
    for number in range(5):
        server.state.add_medium(ACCOUNT, "photo", f"old {number}", [], [], "")
    server.state.echo = False
    for each in server.state.published:
        each.pictures = [server.state.store_picture(picture_bytes(3))]
    post = ready("instagram")
    post.publisher.commit(post.parcel, post.prepared)
    for number in range(30):
        server.state.add_medium(
            ACCOUNT, "photo", f"new {number}", [server.state.store_picture(picture_bytes(3))], [""], ""
        )
    found = post.publisher.find_published(post.parcel, post.prepared, post.before)
    assert isinstance(found, FoundOnAccount)
    assert found.receipt.media_id == server.published[5].id
    for number in range(200):
        server.state.add_medium(
            ACCOUNT, "photo", f"more {number}", [server.state.store_picture(picture_bytes(3))], [""], ""
        )
    with pytest.raises(PublishError, match="has published much since then"):
        post.publisher.find_published(post.parcel, post.prepared, post.before)


def test_an_old_pinned_post_does_not_end_the_search(server: StandIn, ready: Callable[..., Ready]) -> None:
    """Pinned posts stand first in the feed, however old they are."""
    pinned = server.state.add_medium(
        ACCOUNT, "photo", "pinned", [server.state.store_picture(picture_bytes(3))], [""], ""
    )
    pinned.taken_at, server.state.echo = 1000.0, False
    post = ready("instagram")
    post.publisher.commit(post.parcel, post.prepared)
    for number in range(20):
        server.state.add_medium(
            ACCOUNT, "photo", f"new {number}", [server.state.store_picture(picture_bytes(3))], [""], ""
        )
    pinned.id = str(int(pinned.id) + 10_000)
    assert isinstance(post.publisher.find_published(post.parcel, post.prepared, post.before), FoundOnAccount)


def test_a_story_of_long_ago_is_no_evidence(server: StandIn, ready: Callable[..., Ready]) -> None:
    post = ready("instagram", "story")
    with pytest.raises(PublishError, match="a story of long ago"):
        post.publisher.find_published(post.parcel, post.prepared, replace(post.before, at=post.before.at - 86400))
