"""The stand-in keeps count, fails on command, and goes on where it was."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.system.errors import UserError
from tasks.publishers.base import ApprovedPost, upload_id_at
from tasks.publishers.instagram.publisher import Instagram
from tasks.publishers.instagram.session import save_session, session_file
from tasks.publishers.stand_in.faults import Fault, Faults
from tasks.publishers.stand_in.rehearsal import open_rehearsal
from tasks.publishers.stand_in.server import StandIn
from tests.tasks.publishers.conftest import ACCOUNT, Ready, graph, instagram

REPOSITORY = Path(__file__).parents[3]


def ask(address: str, method: str, path: str, **body: Any) -> dict[str, Any]:
    answer = httpx.request(method, f"{address}/_/{path}", json=body or None, trust_env=False)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_commit_sent_twice_is_seen_twice(server: StandIn, ready: Callable[..., Ready]) -> None:
    """Or a publisher that does so would not be found out."""
    for name in ("instagram", "graph"):
        post = ready(name)
        for _ in range(2):
            post.publisher.commit(post.parcel, post.prepared)
    assert len(server.published) == 4
    assert server.count_commits() == 4


def test_faults_come_when_they_are_due() -> None:
    faults = Faults()
    faults.add_fault(Fault("feed", "500", times=2, after=1))
    faults.add_fault(Fault("*", "drop", times=None, after=1))
    kinds = [
        fault.kind if (fault := faults.take_fault(each)) else ""
        for each in ("feed", "feed", "feed", "feed", "media", "x")
    ]
    assert kinds == ["", "500", "500", "", "drop", "drop"]
    faults.clear_faults()
    assert faults.take_fault("x") is None
    with pytest.raises(UserError, match="is no fault of the stand-in"):
        Fault("feed", "flood")  # type: ignore[arg-type]


def test_it_is_commanded_over_its_control_endpoint(server: StandIn, studio: Path) -> None:
    publisher = instagram(server, studio)
    ask(server.address, "POST", "faults", endpoint="feed", kind="empty", times=None)
    with pytest.raises(Exception, match="no usable answer"):
        publisher.list_recent_media("photo")
    ask(server.address, "DELETE", "faults")
    assert publisher.list_recent_media("photo") == []
    ask(server.address, "POST", "clock", skew=100)
    assert server.state.skew == 100
    journal = ask(server.address, "GET", "journal")["journal"]
    assert [(each["endpoint"], each["fault"]) for each in journal] == [("feed", "empty"), ("feed", "")]
    assert httpx.post(f"{server.address}/_/faults", json={"x": 1}, trust_env=False).status_code == 400


def test_what_was_published_outlives_the_server(tmp_path: Path, parcel: Callable[..., ApprovedPost]) -> None:
    folder, studio = tmp_path / "stand-in", tmp_path / "studio-2"
    post = parcel()
    with StandIn([ACCOUNT], folder) as first:
        save_session(session_file(studio, ACCOUNT.name), first.new_session(ACCOUNT.name))
        publisher = instagram(first, studio)
        prepared = publisher.prepare(post, upload_id_at(1.8e9), {})
        medium = publisher.commit(post, prepared).media_id
    with StandIn([ACCOUNT], folder) as second:
        assert [each.id for each in second.published] == [medium]
        publisher = instagram(second, studio)
        assert publisher.list_recent_media("photo") == [medium]
        other = parcel()
        assert publisher.commit(other, publisher.prepare(other, "1800000000099", {})).media_id != medium
    assert ACCOUNT.password not in (folder / "state.json").read_text()


@pytest.mark.parametrize("through", ["instagram", "graph"])
def test_a_rehearsal_needs_nothing_of_the_account(
    through: Any, tmp_path: Path, parcel: Callable[..., ApprovedPost]
) -> None:
    for times in (1, 2):
        with open_rehearsal(tmp_path / "rehearsal", "pip_daily", through) as (publisher, server):
            assert publisher.check_health().ok
            post = parcel(ai_label=True)
            publisher.commit(post, publisher.prepare(post, upload_id_at(1.8e9 + times), {}))
            assert len(server.published) == times
            assert server.published[-1].ai_label


def test_containers_made_at_once_have_ids_of_their_own(
    server: StandIn, studio: Path, parcel: Callable[..., ApprovedPost]
) -> None:
    with ThreadPoolExecutor(8) as pool:
        posts = [parcel() for _ in range(24)]
        made = list(pool.map(lambda each: graph(server, studio).prepare(each, upload_id_at(1.8e9), {}), posts))
    assert len({each.parts["container"] for each in made}) == 24


PUBLISH = """
import json, sys
from pathlib import Path
from datetime import UTC, datetime
from tasks.publishers.base import ApprovedPicture, ApprovedPost
from tasks.publishers.instagram.publisher import Instagram
told = json.loads(sys.argv[1])
picture = ApprovedPicture(Path(told["path"]), told["sha256"])
post = ApprovedPost("p", told["account"], "pip", "s", "photo", (picture,), "hello", ("",), False, datetime.now(UTC))
publisher = Instagram(Path(told["studio"]), told["account"], address=told["address"], request_pause=0, timeout=(5, 120))
prepared = publisher.prepare(post, "1800000000000", {})
print("committing", flush=True)
publisher.commit(post, prepared)
"""


@pytest.mark.parametrize("accepts", [False, True])
def test_a_publisher_killed_in_its_commit_can_be_looked_after(
    accepts: bool, tmp_path: Path, parcel: Callable[..., ApprovedPost]
) -> None:
    """The server runs in a process of its own, as in a rehearsal; the publisher in another, which is killed."""
    command = [sys.executable, "-m", "tasks.publishers.stand_in", str(tmp_path / "stand-in")]
    server = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout
        address = server.stdout.readline().strip()
        session = ask(address, "POST", "session", account="rehearsal")
        studio, post = tmp_path / "studio", parcel(account="rehearsal", caption="hello")
        save_session(session_file(studio, "rehearsal"), session)
        ask(address, "POST", "faults", endpoint="configure", kind="slow", accepts=accepts, seconds=300)
        told = {"path": str(post.pictures[0].path), "sha256": post.pictures[0].sha256}
        told |= {"account": "rehearsal", "studio": str(studio), "address": address}
        publisher = subprocess.Popen(
            [sys.executable, "-c", PUBLISH, json.dumps(told)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
        )
        assert publisher.stdout
        assert publisher.stdout.readline() == "committing\n"
        for _ in range(3000):
            if not accepts or ask(address, "GET", "published")["published"]:
                break
            time.sleep(0.02)
        os.kill(publisher.pid, signal.SIGKILL)
        publisher.wait(60)
        after = Instagram(studio, "rehearsal", address=address, request_pause=0)
        assert len(after.list_recent_media("photo")) == accepts
    finally:
        server.kill()
        server.wait(60)


def test_nothing_of_a_request_is_printed(server: StandIn, studio: Path, capfd: pytest.CaptureFixture[str]) -> None:
    instagram(server, studio).check_health()
    assert capfd.readouterr() == ("", "")
