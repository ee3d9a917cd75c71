"""What is planted here as a secret is looked for in everything that is said, raised, logged and kept."""

import base64
import binascii
import json
import re
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.publishers.base import ApprovedPost, Publisher, PublishError, upload_id_at
from tasks.publishers.graph.api import refresh_token
from tasks.publishers.instagram.session import load_session, log_in, session_file
from tasks.publishers.stand_in import instagram_app
from tasks.publishers.stand_in.request import as_json
from tasks.publishers.stand_in.server import StandIn
from tests.tasks.publishers.conftest import ACCOUNT, PATIENT, PUBLISHERS

STORAGE = "PlantedStorageSecret"
CALLS = (
    "account",
    "upload",
    "configure",
    "feed",
    "container",
    "publish",
    "node",
    "limit",
    "media list",
    "store",
    "refresh",
)
TELLING = ("drop", "500", "object", "html", "truncated", "login", "feedback")  # one of each kind
LOGIN = ("login", "login code", "login key", "login home", "login device", "login after")


@pytest.fixture
def secrets(server: StandIn, studio: Path) -> list[str]:
    session = load_session(session_file(studio, ACCOUNT.name), ACCOUNT.name)["authorization_data"]["sessionid"]
    return [ACCOUNT.password, ACCOUNT.totp, ACCOUNT.token, STORAGE, session]


def everything_said(caplog: pytest.LogCaptureFixture, errors: list[BaseException]) -> str:
    told = [record.getMessage() + str(record.args) + str(record.exc_text) for record in caplog.records]
    for error in errors:
        told += [str(error), repr(error), *traceback.format_exception(error)]
        if error.__context__:  # hidden by Python, and yet there for whoever looks
            told += traceback.format_exception(error.__context__)
    return unwrapped("\n".join(told))


def unwrapped(text: str) -> str:
    """With all that is wrapped in base64 beside it, as sessions are on their way."""
    found = [text]
    for run in re.findall(r"[A-Za-z0-9+/]{16,}={0,2}", text):
        with suppress(binascii.Error):
            found.append(base64.b64decode(run + "=" * (-len(run) % 4)).decode(errors="replace"))
    return "\n".join(found)


def attempt(publisher: Publisher, post: ApprovedPost, errors: list[BaseException]) -> None:
    try:
        publisher.list_recent_media("photo")
        prepared = publisher.prepare(post, upload_id_at(1.8e9), {})
        publisher.commit(post, prepared)
    except PublishError as error:
        errors.append(error)
    publisher.check_health()


@pytest.mark.parametrize("fault", TELLING)
def test_no_secret_is_told_whatever_goes_wrong(
    fault: str, server: StandIn, studio: Path, parcel: Callable[..., ApprovedPost], secrets: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    errors: list[BaseException] = []
    for endpoint in CALLS:
        server.faults.clear_faults()
        server.add_fault(endpoint, fault, times=None)
        for name in PUBLISHERS:
            attempt(PUBLISHERS[name](server, studio), parcel(), errors)
        try:
            refresh_token(ACCOUNT.token, ACCOUNT.name, api=f"{server.address}/v25.0", timeout=PATIENT)
        except PublishError as error:
            errors.append(error)
    said = everything_said(caplog, errors)
    assert len(said) > 1000
    assert [each for each in secrets if each in said] == []
    kept = json.dumps([vars(each) for each in server.journal])
    assert [each for each in secrets if each in kept] == []


@pytest.mark.parametrize("fault", TELLING)
def test_no_secret_is_told_by_a_login_that_fails(
    fault: str, server: StandIn, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[BaseException] = []
    for endpoint in LOGIN:
        server.faults.clear_faults()
        server.add_fault(endpoint, fault, times=None, accepts=True)
        try:
            log_in(tmp_path, ACCOUNT.name, ACCOUNT.password, ACCOUNT.totp, address=server.address, request_pause=0)
        except PublishError as error:
            errors.append(error)
    assert errors
    said = everything_said(caplog, errors)
    assert ACCOUNT.password not in said
    assert ACCOUNT.totp not in said
    assert not session_file(tmp_path, ACCOUNT.name).exists() or load_session(
        session_file(tmp_path, ACCOUNT.name), ACCOUNT.name
    )


def test_a_login_that_works_logs_no_session(server: StandIn, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = log_in(tmp_path, ACCOUNT.name, ACCOUNT.password, ACCOUNT.totp, address=server.address, request_pause=0)
    told = json.loads(file.read_text())["authorization_data"]["sessionid"]
    said = everything_said(caplog, [])
    assert told not in said
    assert ACCOUNT.password not in said


def test_a_server_that_repeats_the_session_is_not_quoted(
    server: StandIn, studio: Path, parcel: Callable[..., ApprovedPost], secrets: list[str]
) -> None:
    """Whatever stands in an answer that refuses."""
    session = secrets[-1]
    refusing = instagram_app.require_session(
        lambda *_: as_json(400, {"message": f"session {session} token {ACCOUNT.token} is bad", "status": "fail"})
    )
    publisher = PUBLISHERS["instagram"](server, studio)
    post = parcel()
    prepared = publisher.prepare(post, upload_id_at(1.8e9), {})
    endpoint = next(each for each in instagram_app.ENDPOINTS if each.name == "configure")
    server.endpoints = tuple(replace(each, serve=refusing) if each is endpoint else each for each in server.endpoints)
    with pytest.raises(PublishError, match="is bad") as caught:
        publisher.commit(post, prepared)
    assert session not in str(caught.value)
    assert caught.value.__context__ is None  # which would hold the whole answer
    assert caught.value.permanent
