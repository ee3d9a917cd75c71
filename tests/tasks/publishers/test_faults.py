"""Every fault at every call of both network publishers: one commit at most, told rightly, found again if it went through."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from requests import Response
from requests.adapters import HTTPAdapter

from tasks.publishers.base import Absent, ApprovedPost, FoundOnAccount, Kind, PublishError, upload_id_at
from tasks.publishers.instagram.answers import last_error
from tasks.publishers.instagram.single_send import SingleSendAdapter
from tasks.publishers.stand_in.faults import FAULTS
from tasks.publishers.stand_in.server import StandIn
from tests.tasks.publishers.conftest import HASTY, PATIENT, PUBLISHERS, Ready

UNSURE = ("drop", "408", "500", "empty", "object", "html", "truncated", "slow")
REFUSALS = ("429", "challenge", "login", "feedback")
PAUSED, PERSON = ("429", "feedback"), ("challenge", "login")
CASES = [(fault, accepts) for fault in UNSURE for accepts in (False, True)] + [(fault, False) for fault in REFUSALS]
COMMITS = [("instagram", "photo", "configure"), ("instagram", "album", "sidecar"), ("instagram", "story", "story")]
COMMITS += [("graph", kind, "publish") for kind in ("photo", "album", "story")]
BEFORE = [("instagram", "upload"), ("instagram", "label")]
BEFORE += [("graph", endpoint) for endpoint in ("container", "node", "limit", "store")]
LOOKS = [("instagram", "photo", "feed"), ("instagram", "story", "stories")]
LOOKS += [("graph", "photo", "node"), ("graph", "photo", "media list"), ("graph", "story", "story list")]


def test_all_faults_are_tried() -> None:
    assert set(UNSURE + REFUSALS) == set(FAULTS)


def timeout_for(fault: str) -> tuple[float, float]:
    return HASTY if fault == "slow" else PATIENT


def until(true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if true():
            return
        time.sleep(0.02)


def check_told(error: PublishError, fault: str) -> None:
    """What the caller is to do with it."""
    assert error.person == (fault in PERSON), error
    assert (error.pause is not None) == (fault in PAUSED), error
    assert not error.permanent, error
    assert "\n" not in str(error) and len(str(error)) < 400


@pytest.mark.parametrize(("name", "kind", "endpoint"), COMMITS)
@pytest.mark.parametrize(("fault", "accepts"), CASES)
def test_a_commit_is_sent_once_and_found_if_it_went_through(
    name: str,
    kind: Kind,
    endpoint: str,
    fault: str,
    accepts: bool,
    server: StandIn,
    studio: Path,
    ready: Callable[..., Ready],
) -> None:
    post = ready(name, kind)
    server.add_fault(endpoint, fault, accepts=accepts)
    with pytest.raises(PublishError) as caught:
        PUBLISHERS[name](server, studio, timeout_for(fault)).commit(post.parcel, post.prepared)
    if fault == "slow":  # the request is still open, and may not even have begun
        until(lambda: len(server.published) == accepts)
    else:
        assert server.count_commits() == 1
    assert len(server.published) == accepts
    check_told(caught.value, fault)
    assert caught.value.ambiguous == (fault in UNSURE)
    found = post.publisher.find_published(post.parcel, post.prepared, post.before)
    assert isinstance(found, FoundOnAccount if accepts else Absent)
    if isinstance(found, FoundOnAccount):
        assert found.receipt.media_id == server.published[0].id
    assert len(server.published) == accepts


@pytest.mark.parametrize(("name", "endpoint"), BEFORE)
@pytest.mark.parametrize(("fault", "accepts"), CASES)
def test_what_fails_before_the_commit_publishes_nothing_and_can_be_done_again(
    name: str,
    endpoint: str,
    fault: str,
    accepts: bool,
    server: StandIn,
    studio: Path,
    parcel: Callable[..., ApprovedPost],
) -> None:
    post, upload_id, progress = parcel(ai_label=True), upload_id_at(1.8e9), dict[str, str]()
    server.add_fault(endpoint, fault, accepts=accepts)
    if (endpoint, accepts) != ("store", True) or fault not in (
        "empty",
        "object",
        "html",
        "truncated",
    ):  # all of them a yes to a PUT
        with pytest.raises(PublishError) as caught:
            PUBLISHERS[name](server, studio, timeout_for(fault)).prepare(post, upload_id, progress)
        check_told_before(caught.value, endpoint, fault)
    assert not server.published
    patient = PUBLISHERS[name](server, studio)
    receipt = patient.commit(post, patient.prepare(post, upload_id, progress))
    assert [each.id for each in server.published] == [receipt.media_id]
    assert server.count_commits() == 1


def check_told_before(error: PublishError, endpoint: str, fault: str) -> None:
    assert not error.ambiguous
    if endpoint != "store":  # storage of another house, whose refusals mean nothing about the account
        check_told(error, fault)


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize(("name", "kind", "endpoint"), LOOKS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_look_that_fails_is_not_a_no(
    name: str, kind: Kind, endpoint: str, fault: str, published: bool, server: StandIn, studio: Path,
    ready: Callable[..., Ready],
) -> None:  # fmt: skip
    post = ready(name, kind)
    if published:
        post.publisher.commit(post.parcel, post.prepared)
    server.add_fault(endpoint, fault)
    hasty = PUBLISHERS[name](server, studio, timeout_for(fault))
    with pytest.raises(PublishError) as caught:
        hasty.find_published(post.parcel, post.prepared, post.before)
    check_told(caught.value, fault)
    assert not caught.value.ambiguous
    assert isinstance(
        post.publisher.find_published(post.parcel, post.prepared, post.before), FoundOnAccount if published else Absent
    )


@pytest.mark.parametrize(("name", "endpoint"), [("instagram", "feed"), ("graph", "media list")])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_snapshot_that_fails_is_not_empty(
    name: str, endpoint: str, fault: str, server: StandIn, studio: Path
) -> None:
    server.add_fault(endpoint, fault)
    with pytest.raises(PublishError):
        PUBLISHERS[name](server, studio, timeout_for(fault)).list_recent_media("photo")


@pytest.mark.parametrize(("name", "endpoint"), [("instagram", "account"), ("graph", "node"), ("graph", "limit")])
@pytest.mark.parametrize("fault", FAULTS)
def test_an_account_that_cannot_be_asked_is_not_well(
    name: str, endpoint: str, fault: str, server: StandIn, studio: Path
) -> None:
    server.add_fault(endpoint, fault)
    health = PUBLISHERS[name](server, studio, timeout_for(fault)).check_health()
    assert not health.ok
    assert health.person == (fault in PERSON)
    assert PUBLISHERS[name](server, studio).check_health().ok


@pytest.mark.parametrize("name", PUBLISHERS)
def test_what_never_left_is_not_ambiguous(
    name: str, server: StandIn, studio: Path, ready: Callable[..., Ready]
) -> None:
    post = ready(name)
    server.stop()
    with pytest.raises(PublishError, match="could not be reached") as caught:
        post.publisher.commit(post.parcel, post.prepared)
    assert not caught.value.ambiguous
    with pytest.raises(PublishError):
        post.publisher.find_published(post.parcel, post.prepared, post.before)


@pytest.mark.parametrize("name", PUBLISHERS)
@pytest.mark.parametrize("skew", [-3 * 86400.0, 3 * 86400.0])
@pytest.mark.parametrize("accepts", [False, True])
def test_a_clock_that_is_wrong_hides_nothing(
    name: str, skew: float, accepts: bool, server: StandIn, ready: Callable[..., Ready]
) -> None:
    server.state.skew, server.state.echo = skew, False
    post = ready(name)
    server.add_fault("configure" if name == "instagram" else "publish", "drop", accepts=accepts)
    with pytest.raises(PublishError):
        post.publisher.commit(post.parcel, post.prepared)
    found = post.publisher.find_published(post.parcel, post.prepared, post.before)
    assert isinstance(found, FoundOnAccount if accepts else Absent)


@pytest.mark.parametrize(
    ("body", "flags"),
    [
        ({"message": "Invalid caption", "status": "fail"}, {"permanent": True}),
        ({"message": "checkpoint_required", "status": "fail"}, {"person": True}),
        ({"message": "", "error_type": "rate_limit_error", "status": "fail"}, {"pause": 3600.0}),
        ({"message": "sorry", "error_type": "sentry_block", "status": "fail"}, {"pause": 86400.0}),
        ({"message": "media_needs_reupload", "status": "fail"}, {}),
        ({}, {"ambiguous": True}),
    ],
)
def test_a_refusal_says_what_to_do(body: dict[str, Any], flags: dict[str, Any]) -> None:
    answer = Response()
    answer.status_code, answer._content = 400, json.dumps(body).encode()
    wire = SingleSendAdapter(HTTPAdapter, PATIENT)
    wire.answer = answer
    error = last_error(wire, "pip_daily", "publishing post 1", True)
    assert error is not None
    told = {"permanent": error.permanent, "ambiguous": error.ambiguous, "pause": error.pause, "person": error.person}
    assert told == {"permanent": False, "ambiguous": False, "pause": None, "person": False} | flags
