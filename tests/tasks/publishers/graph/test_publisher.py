"""The official API's publisher, a real client, against the stand-in."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.publishers.base import Absent, ApprovedPost, FoundOnAccount, PublishError, upload_id_at
from tasks.publishers.graph.api import refresh_token
from tasks.publishers.graph.picture_hosting import FolderHosting
from tasks.publishers.graph.publisher import Graph
from tasks.publishers.stand_in.server import StandIn
from tests.tasks.publishers.conftest import ACCOUNT, Ready, graph

UPLOAD_ID = upload_id_at(1_795_000_000)


@pytest.mark.parametrize("kind", ["photo", "album", "story"])
@pytest.mark.parametrize("label", [False, True])
def test_a_post_arrives_as_it_was_approved(
    kind: str, label: bool, server: StandIn, ready: Callable[..., Ready]
) -> None:
    post = ready("graph", kind, ai_label=label)
    assert not server.published
    receipt = post.publisher.commit(post.parcel, post.prepared)
    medium = server.published[0]
    assert (medium.id, medium.kind, medium.ai_label) == (receipt.media_id, kind, label)
    assert receipt.permalink == f"https://www.instagram.com/p/{medium.code}/"
    assert [server.state.load_picture(each) for each in medium.pictures] == [
        each.path.read_bytes() for each in post.parcel.pictures
    ]
    if kind != "story":
        assert (medium.caption, medium.alts) == (post.parcel.caption, list(post.parcel.alts))
    found = post.publisher.find_published(post.parcel, post.prepared, post.before)
    assert isinstance(found, FoundOnAccount)
    assert found.receipt.media_id == receipt.media_id


def test_a_container_that_is_good_is_used_again(
    server: StandIn, studio: Path, parcel: Callable[..., ApprovedPost]
) -> None:
    post, progress = parcel("album"), dict[str, str]()
    first = graph(server, studio).prepare(post, UPLOAD_ID, progress)
    made = len(server.state.containers)
    assert made == 4
    assert graph(server, studio).prepare(post, UPLOAD_ID, progress) == first
    assert len(server.state.containers) == made
    for each in server.state.containers.values():
        each.made_at -= 2 * 86400
    assert graph(server, studio).prepare(post, UPLOAD_ID, progress) != first


def test_a_container_that_is_out_gets_no_twin(
    server: StandIn, studio: Path, parcel: Callable[..., ApprovedPost]
) -> None:
    post, progress = parcel(), dict[str, str]()
    publisher = graph(server, studio)
    publisher.commit(post, publisher.prepare(post, UPLOAD_ID, progress))
    with pytest.raises(PublishError, match="is out already") as caught:
        publisher.prepare(post, UPLOAD_ID, progress)
    assert caught.value.ambiguous
    assert len(server.published) == 1


def test_the_limit_of_the_day_is_read_and_kept(
    server: StandIn, studio: Path, parcel: Callable[..., ApprovedPost]
) -> None:
    publisher = graph(server, studio)
    assert publisher.read_quota() == (0, 100)
    server.state.used = 100
    with pytest.raises(PublishError, match="used 100 of 100 posts") as caught:
        publisher.prepare(parcel(), UPLOAD_ID, {})
    assert caught.value.pause
    assert not server.state.containers
    health = publisher.check_health()
    assert not health.ok
    assert not health.person


def test_a_limit_met_at_the_commit_is_no_riddle(server: StandIn, ready: Callable[..., Ready]) -> None:
    post = ready("graph")
    server.state.used = 100
    with pytest.raises(PublishError, match="all that the Graph API allows in a day") as caught:
        post.publisher.commit(post.parcel, post.prepared)
    assert caught.value.pause
    assert not caught.value.ambiguous


def test_a_picture_that_cannot_be_fetched_is_told(
    server: StandIn, parcel: Callable[..., ApprovedPost], tmp_path: Path
) -> None:
    site = FolderHosting("https://pictures.example/{name}", tmp_path / "web")
    publisher = Graph(ACCOUNT.name, ACCOUNT.user_id, ACCOUNT.token, site, api=f"{server.address}/v25.0", poll=0)
    with pytest.raises(PublishError, match=r"could not read a picture .*check that its address is public"):
        publisher.prepare(parcel(), UPLOAD_ID, {})


def test_a_token_of_nobody_goes_to_a_person(server: StandIn, studio: Path, parcel: Callable[..., ApprovedPost]) -> None:
    publisher = graph(server, studio)
    stranger = Graph(ACCOUNT.name, ACCOUNT.user_id, "none", publisher._hosting, api=f"{server.address}/v25.0")
    with pytest.raises(PublishError, match="the token is no longer good for pip_daily") as caught:
        stranger.prepare(parcel(), UPLOAD_ID, {})
    assert caught.value.person
    other = Graph("mara", ACCOUNT.user_id, ACCOUNT.token, publisher._hosting, api=f"{server.address}/v25.0")
    assert "belongs to pip_daily" in other.check_health().says


def test_a_token_is_renewed_and_the_old_one_still_works(server: StandIn, studio: Path) -> None:
    new, seconds = refresh_token(ACCOUNT.token, ACCOUNT.name, api=f"{server.address}/v25.0")
    assert new != ACCOUNT.token
    assert seconds == 60 * 86400
    for token in (new, ACCOUNT.token):
        publisher = graph(server, studio)
        publisher._token = token
        assert publisher.check_health().ok


@pytest.mark.parametrize("fault", ["drop", "500", "empty", "object", "html", "truncated", "login", "429"])
def test_a_token_that_cannot_be_renewed_is_told(fault: str, server: StandIn) -> None:
    server.add_fault("refresh", fault)
    with pytest.raises(PublishError) as caught:
        refresh_token(ACCOUNT.token, ACCOUNT.name, api=f"{server.address}/v25.0")
    assert ACCOUNT.token not in str(caught.value)


def test_a_container_that_is_gone_leaves_the_media_to_tell(server: StandIn, ready: Callable[..., Ready]) -> None:
    for published in (False, True):
        post = ready("graph")
        if published:
            post.publisher.commit(post.parcel, post.prepared)
        server.state.containers.clear()
        found = post.publisher.find_published(post.parcel, post.prepared, post.before)
        assert isinstance(found, FoundOnAccount if published else Absent)


def test_a_post_on_its_way_out_is_not_absent(server: StandIn, ready: Callable[..., Ready]) -> None:
    post = ready("graph")
    container = server.state.containers[post.prepared.parts["container"]]
    container.status, container.polls = "IN_PROGRESS", -99
    with pytest.raises(PublishError, match="is still busy"):
        post.publisher.find_published(post.parcel, post.prepared, post.before)


def test_media_are_read_over_several_pages(server: StandIn, ready: Callable[..., Ready], pictures: list[bytes]) -> None:
    post = ready("graph")
    post.publisher.commit(post.parcel, post.prepared)
    server.state.containers.clear()
    for number in range(60):
        server.state.add_medium(ACCOUNT, "photo", f"new {number}", [server.state.store_picture(pictures[3])], [""], "")
    found = post.publisher.find_published(post.parcel, post.prepared, post.before)
    assert isinstance(found, FoundOnAccount)
    assert found.receipt.media_id == server.published[0].id


def test_a_story_of_long_ago_is_no_evidence(server: StandIn, ready: Callable[..., Ready]) -> None:
    post = ready("graph", "story")
    server.state.containers.clear()
    with pytest.raises(PublishError, match="a story of long ago"):
        post.publisher.find_published(post.parcel, post.prepared, replace(post.before, at=post.before.at - 86400))
