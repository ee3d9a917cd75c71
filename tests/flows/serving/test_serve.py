"""`restage serve`: everything runs, dies and stops as it should, in real processes on loopback."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.cli.init import Answers, write_starter_files
from flows.serving.serve import (
    LOCK_FILE,
    PREFECT_DEFAULTS,
    ServerAddresses,
    check_ports,
    child_environment,
    find_addresses,
    wait_for_server,
)
from flows.serving.supervisor import Supervisor
from models.system import file_lock
from models.system.errors import UserError
from tasks.posts import post_store
from tasks.publish import accounts
from tasks.publishers.folder import Folder
from tasks.settings.settings import LoadedSettings, load_settings
from tasks.step import GPU_LIMIT
from tasks.store.store import Store
from tests.flows.serving.test_prefect_server import forget
from tests.flows.serving.test_supervisor import is_gone
from tests.support import approved

SERVE = ["-P", "-c", "from flows.cli import main; main()", "serve"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def soon(true: Callable[[], bool], seconds: float = 150) -> bool:
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_SERVER_ANALYTICS_ENABLED", "DO_NOT_TRACK"):
        monkeypatch.delenv(name, raising=False)
    write_starter_files(Answers(tmp_path))
    with (tmp_path / "settings.toml").open("a") as file:
        file.write(f"\n[server]\nport = {free_port()}\n[board]\nport = {free_port()}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Serving:
    """A `restage serve` in a folder, and the processes it started."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.settings, self.log = load_settings(folder / "settings.toml"), folder / "serve.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, *SERVE, *more],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                # Where the tests run in a shell's background, Ctrl-C is ignored from there on down.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def deployments(self) -> list[dict[str, Any]]:
        api = find_addresses(self.settings).api
        try:
            with httpx.Client(trust_env=False, timeout=10) as client:
                found = client.post(f"{api}/deployments/filter", json={})
        except httpx.HTTPError:
            return []
        return found.json() if found.status_code == 200 else []

    def scheduled(self) -> list[str]:
        """The names of the deployments that Prefect has runs for in days to come."""
        found = {each["id"]: each["name"] for each in self.deployments()}
        return [found[each["deployment_id"]] for each in self.runs_to_come()]

    def runs_to_come(self) -> list[dict[str, Any]]:
        with httpx.Client(trust_env=False, timeout=10) as client:
            query = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
            found = client.post(f"{find_addresses(self.settings).api}/flow_runs/filter", json=query)
        return found.json() if found.status_code == 200 else []

    def take_the_gpu(self) -> None:
        """As a run does, for a minute; whoever does not say that it still needs it loses it then."""
        with httpx.Client(trust_env=False, timeout=10) as client:
            wanted = {"slots": 1, "names": [GPU_LIMIT], "lease_duration": 60}
            client.post(f"{find_addresses(self.settings).api}/v2/concurrency_limits/increment-with-lease", json=wanted)

    def takers_of_the_gpu(self) -> int:
        try:
            with httpx.Client(trust_env=False, timeout=10) as client:
                found = client.get(f"{find_addresses(self.settings).api}/v2/concurrency_limits/{GPU_LIMIT}")
        except httpx.HTTPError:
            return -1
        return int(found.json()["active_slots"]) if found.status_code == 200 else -1

    def parts(self) -> list[int]:
        """The processes of the parts, the Prefect server first."""
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True)
        return [int(line) for line in found.stdout.split()]

    def end(self, how: int) -> int:
        """Told so, the code it ends with; nothing of it is left then."""
        parts = self.parts()
        self.process.send_signal(how)
        code = self.process.wait(timeout=90)
        assert soon(lambda: all(is_gone(each) for each in parts), 30), self.log.read_text()
        return code


@pytest.fixture
def serving(folder: Path) -> Iterator[Callable[..., Serving]]:
    all_of_them: list[Serving] = []

    def start(*more: str) -> Serving:
        all_of_them.append(Serving(folder, *more))
        return all_of_them[-1]

    yield start
    for each in all_of_them:
        for part in [*each.parts(), each.process.pid]:
            if not is_gone(part):
                os.killpg(part, signal.SIGKILL)
        each.process.wait()


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="looks into the processes as Linux shows them")
def test_it_runs_is_alone_survives_being_killed_and_stops(serving: Callable[..., Serving], folder: Path) -> None:
    first = serving()
    assert soon(lambda: any(each["name"] == "pip" for each in first.deployments())), first.log.read_text()
    assert (folder / "studio" / "prefect").is_dir()
    due = {"pip", "scheduled"}
    assert soon(lambda: due <= set(first.scheduled())), (
        "Prefect's own scheduler breaks with some versions of SQLAlchemy"
    )
    assert {run["parameters"]["dry_run"] for run in first.runs_to_come()} == {False}, "by schedule it is meant"
    said = first.log.read_text()
    assert find_addresses(first.settings).prefect_url in said

    second = serving()
    assert second.process.wait(timeout=60) == 1
    assert second.log.read_text().count("\n") == 1
    assert (
        f"runs already for {folder / 'studio'} at {find_addresses(first.settings).prefect_url}"
        in second.log.read_text()
    )

    first.take_the_gpu()
    assert first.takers_of_the_gpu() == 1
    server, *_ = parts = first.parts()
    os.kill(server, signal.SIGKILL)
    assert soon(lambda: len(set(first.parts()) - set(parts)) == 1), "what dies is started again"
    assert soon(lambda: bool(first.deployments()))

    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    assert file_lock.lock_holder(folder / "studio" / LOCK_FILE) is None
    third = serving()
    assert soon(lambda: "Ctrl-C stops everything" in third.log.read_text()), third.log.read_text()
    assert soon(lambda: third.takers_of_the_gpu() == 0), (
        "who was killed together with the server holds nothing for ever"
    )
    assert third.end(signal.SIGINT) == 130
    assert third.log.read_text().splitlines()[-1].startswith("note: stopped; what is done is kept")
    assert file_lock.lock_holder(folder / "studio" / LOCK_FILE) is None


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="looks into the processes as Linux shows them")
def test_killed_in_the_middle_of_a_commit_it_goes_on_and_publishes_once(
    serving: Callable[..., Serving], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setenv("RESTAGE_SCHEDULE__PUBLISH", "* * * * *")
    studio = folder / "studio"
    with closing(Store.open("", studio)) as store:
        post = approved.approved(store, studio, 1)
        stuck = Folder(studio, "").root
        stuck.mkdir()
        with (stuck / ".lock").open("ab") as held:
            fcntl.flock(held, fcntl.LOCK_EX)  # a commit waits for it
            first = serving()
            assert soon(lambda: post_store.get_post(store, post.id).state == "committing", 240), first.log.read_text()
            assert first.end(signal.SIGKILL) == -signal.SIGKILL
        assert post_store.get_post(store, post.id).state == "committing"
        assert not list(stuck.glob("[!.]*"))
        with store.writing() as connection:  # its ten minutes are over
            accounts.forget_claims(connection)
        second = serving()
        assert soon(lambda: post_store.get_post(store, post.id).state == "published", 400), second.log.read_text()
        assert second.end(signal.SIGTERM) == 0
        (folder_of_it,) = stuck.glob("[!.]*")
        assert "committing" in [event.state for event in post_store.history(store, post.id)]
        assert json.loads((folder_of_it / "post.json").read_text())["post"] == post.id


@pytest.mark.skipif(sys.platform != "linux", reason="looks into the processes as Linux shows them")
def test_it_uses_the_server_that_there_is_and_ends_well_when_told_to(
    prefect: None, serving: Callable[..., Serving], folder: Path
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    file = folder / "settings.toml"
    file.write_text(file.read_text().replace("[server]\n", f'[server]\nprefect = "{PREFECT_API_URL.value()}"\n'))
    running = serving()
    names = {"pip", "by-hand"}
    assert soon(lambda: names <= {each["name"] for each in running.deployments()}), running.log.read_text()
    assert not (folder / "studio" / "logs").exists(), "no server of its own"
    assert running.end(signal.SIGTERM) == 0
    with get_client(sync_client=True) as client:
        forget(client)


def test_a_port_in_use_is_said_with_the_way_out(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for where, knob in (
            (
                ServerAddresses("http://127.0.0.1/api", port, ("127.0.0.1", free_port())),
                r"\[server\] port in settings.toml or --port",
            ),
            (ServerAddresses("http://127.0.0.1/api", None, ("127.0.0.1", port)), r"\[board\] port in settings.toml"),
        ):
            with pytest.raises(UserError, match=rf"port {port} is in use by another program: .*{knob}"):
                check_ports(where, patience=0.2)
    check_ports(ServerAddresses("http://127.0.0.1/api", port, ("127.0.0.1", free_port())))


def test_a_server_elsewhere_that_does_not_answer_is_waited_for_and_then_said(folder: Path) -> None:
    said: list[str] = []
    parts = Supervisor({}, str(folder), said.append)
    nowhere = ServerAddresses(f"http://127.0.0.1:{free_port()}/api", None, ("127.0.0.1", free_port()))
    with pytest.raises(
        UserError, match=r"the Prefect server at http://127\.0\.0\.1:\d+ does not answer: start it, or leave"
    ):
        wait_for_server(nowhere, parts, patience=0.5)
    assert len(said) == 1
    assert said[0].startswith("waiting for the Prefect server at http://127.0.0.1:")


def test_old_runs_are_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the names and in the notation of Prefect's own settings."""
    from prefect.settings.models.server.services import ServerServicesDBVacuumSettings

    for name, value in PREFECT_DEFAULTS.items():
        if "VACUUM" in name:
            monkeypatch.setenv(name, value)
    vacuum = ServerServicesDBVacuumSettings()
    assert vacuum.enabled_vacuum_types == {"events", "flow_runs", "orphans"}
    assert vacuum.retention_period.days == 30


def test_nothing_is_told_to_anybody_unless_somebody_wants_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = load_settings()
    env = of(known)
    assert (env["PREFECT_SERVER_ANALYTICS_ENABLED"], env["DO_NOT_TRACK"]) == ("false", "1")
    assert env["PREFECT_HOME"] == str(folder / "studio" / "prefect")
    assert env["PREFECT_API_URL"] == f"http://127.0.0.1:{known.settings.server.port}/api"
    assert env["PREFECT_SERVER_API_PORT"] == str(known.settings.server.port)
    assert env["RESTAGE_SETTINGS"] == str(folder / "settings.toml")
    monkeypatch.setenv("PREFECT_HOME", "/mine")
    monkeypatch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "true")
    monkeypatch.setenv("PREFECT_SERVER_API_PORT", "1")
    env = of(known)
    assert (env["PREFECT_HOME"], env["PREFECT_SERVER_ANALYTICS_ENABLED"]) == ("/mine", "true")
    assert env["PREFECT_SERVER_API_PORT"] == str(known.settings.server.port), "or the pages would ask elsewhere"


def of(loaded: LoadedSettings) -> dict[str, str]:
    return child_environment(loaded, loaded.folder / "settings.toml", find_addresses(loaded))


def test_a_server_elsewhere_counts_more_than_one_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_addresses(load_settings(), 4321).api == "http://127.0.0.1:4321/api"
    monkeypatch.setenv("RESTAGE_SERVER__PREFECT", "http://10.0.0.5:4200/api/")
    assert (find_addresses(load_settings()).api, find_addresses(load_settings()).port) == (
        "http://10.0.0.5:4200/api",
        None,
    )
    monkeypatch.setenv("PREFECT_API_URL", "http://10.0.0.6:4200/api")
    assert find_addresses(load_settings()).api == "http://10.0.0.6:4200/api"
    with pytest.raises(UserError, match="--port is for a server started here, and http://10.0.0.6:4200/api is used"):
        find_addresses(load_settings(), 4321)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://10.0.0.5:4200", "is no address of a Prefect server: use one such as"),
        ("ftp://10.0.0.5/api", "is no address"),
        ("http://user:s3cr3t@10.0.0.5/api", "holds a password: set PREFECT_API_AUTH_STRING"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused(address: str, says: str, folder: Path) -> None:
    file = folder / "settings.toml"
    file.write_text(file.read_text().replace("[server]\n", f'[server]\nprefect = "{address}"\n'))
    with pytest.raises(UserError, match=says) as told:
        load_settings(file)
    assert "s3cr3t" not in str(told.value)
