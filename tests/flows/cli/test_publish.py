"""`restage publish`, `login`, `account` and `resolve`, as typed; and no secret in anything that is written."""

import json
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from flows.cli import app
from flows.cli.publish import log_in
from models.system.errors import UserError
from tasks.posts import post_store
from tasks.posts.post import Post
from tasks.publish import accounts
from tasks.publishers.base import PublishError
from tasks.publishers.graph.kind import renew_token
from tasks.publishers.instagram.session import session_file
from tasks.publishers.stand_in.server import StandIn
from tasks.publishers.stand_in.state import Account
from tasks.settings.settings import load_settings
from tasks.store.store import Store
from tests.support import approved
from tests.support.approved import ACCOUNT

PASSWORD, TOTP, TOKEN, NOTIFY = "Planted-Passw0rd", "JBSWY3DPEHPK3PXP", "IGAAPlantedToken0123456789", "planted-notify"


def restage(*arguments: str, answers: str = "") -> Result:
    return CliRunner().invoke(app, list(arguments), input=answers)


@pytest.fixture
def studio(project: Path) -> Path:
    (project / "secrets").mkdir()
    for name, value in (
        ("instagram_password", PASSWORD),
        ("graph_token", TOKEN),
        ("notify", f"json://{NOTIFY}@127.0.0.1:9"),
    ):
        (project / "secrets" / name).write_text(value)
    return project / "studio"


@pytest.fixture
def store(studio: Path) -> Iterator[Store]:
    with closing(Store.open("", studio)) as opened:
        yield opened


def state(store: Store, post: Post) -> str:
    return post_store.get_post(store, post.id).state


def test_with_nothing_to_do_it_says_so(store: Store) -> None:
    result = restage("publish")
    assert (result.exit_code, result.output.strip()) == (0, "nothing is approved and due")
    assert json.loads(restage("publish", "--json").output) == {"posts": [], "waiting": []}


def test_what_is_due_later_is_told_with_how_to_send_it_now(store: Store, studio: Path) -> None:
    post = approved.approved(store, studio, 1, when=datetime.now(UTC) + timedelta(days=2))
    said = restage("publish").output
    assert said.startswith("nothing is approved and due\n1 approved for later, the next for ")
    assert restage("publish", "--post", post.id).exit_code == 0
    assert f"--post {post.id}" in said
    assert state(store, post) == "published"


def test_out_of_the_box_posts_go_to_the_folder(store: Store, studio: Path) -> None:
    post = approved.approved(store, studio, 1)
    found = json.loads(restage("publish", "--json").output)["posts"]
    assert [(each["post"], each["state"], each["publisher"]) for each in found] == [(post.id, "published", "folder")]
    assert (studio / "posts" / found[0]["media_id"] / "1.jpg").is_file()
    assert state(store, post) == "published"
    assert restage("publish").output.strip() == "nothing is approved and due"


def test_a_dry_run_writes_and_leaves_the_post_approved(store: Store, studio: Path) -> None:
    post = approved.approved(store, studio, 1)
    for _ in range(2):
        assert "published: post" in restage("publish", "--dry-run").output
        assert state(store, post) == "approved"
    assert len([each for each in (studio / "posts").iterdir() if not each.name.startswith(".")]) == 1


@pytest.mark.parametrize("publisher", ["instagram", "graph"])
def test_a_rehearsal_goes_the_whole_way_and_leaves_the_post_approved(
    store: Store, studio: Path, project: Path, publisher: str
) -> None:
    with (project / "settings.toml").open("a") as file:
        file.write(f'\n[publishing]\npublisher = "{publisher}"\n')
    post, album = approved.approved(store, studio, 1), approved.approved(store, studio, 2, kind="album")
    for _ in range(2):
        found = json.loads(restage("publish", "--to", "stand-in", "--json").output)["posts"]
        assert [(each["post"], each["state"], each["publisher"]) for each in found] == [
            (post.id, "published", publisher),
            (album.id, "published", publisher),
        ]
        assert found[0]["permalink"].startswith("https://www.instagram.com/p/")
        assert (state(store, post), state(store, album)) == ("approved", "approved")
    assert accounts.standings(store) == []


def test_where_it_cannot_go_is_told(store: Store, studio: Path) -> None:
    approved.approved(store, studio, 1)
    for to, match in (("instagram", "publishing.dry_run is on"), ("fax", "'fax' is no publisher")):
        result = restage("publish", "--to", to)
        assert isinstance(result.exception, UserError) and match in str(result.exception)


def test_without_a_session_a_person_is_asked_and_can_go_on(store: Store, studio: Path, project: Path) -> None:
    with (project / "settings.toml").open("a") as file:
        file.write('\n[publishing]\npublisher = "instagram"\ndry_run = false\n')
    post = approved.approved(store, studio, 1)
    result = restage("publish")
    assert f"run restage login {ACCOUNT}" in result.output and result.exit_code == 1
    assert restage("publish").exit_code == 1, "it still waits for a person"
    assert state(store, post) == "approved"
    assert "waits for a person" in restage("account").output
    assert json.loads(restage("account", ACCOUNT, "--json").output)[0]["person"] is True
    assert isinstance(restage("account", "--resume").exception, UserError)
    assert "ready" in restage("account", ACCOUNT, "--resume").output


def test_one_post_by_its_name_even_before_its_time(store: Store, studio: Path) -> None:
    later = datetime(2030, 1, 1, 9, tzinfo=UTC)
    post, other = (approved.approved(store, studio, number, when=later) for number in (1, 2))
    assert restage("publish", "--post", post.id[:6]).exit_code == 0
    assert (state(store, post), state(store, other)) == ("published", "approved")
    result = restage("publish", "--post", post.id)
    assert "only an approved one can be published" in str(result.exception)


def test_what_is_late_waits_for_somebody_who_says_now(store: Store, studio: Path) -> None:
    post = approved.approved(store, studio, 1, when=datetime.now(UTC) - timedelta(days=8))
    assert f"post {post.id} was due on" in restage("publish").output
    assert state(store, post) == "approved"
    assert "published: post" in restage("publish", "--now").output


def test_a_post_that_failed_ends_with_1(store: Store, studio: Path) -> None:
    post = approved.approved(store, studio, 1)
    (studio / post.content.pictures[0].file).unlink()
    result = restage("publish")
    assert result.exit_code == 1
    assert f"failed: post {post.id}" in result.output
    assert state(store, post) == "failed"


def test_a_person_resolves(store: Store, studio: Path) -> None:
    post = approved.approved(store, studio, 1)
    for step in ("preparing", "needs a person"):
        post = post_store.change(store, post, step, "restage", "so")  # type: ignore[arg-type]
    assert "say what you saw" in str(restage("resolve", post.id).exception)
    assert restage("resolve", post.id, "--absent").output.strip() == f"post {post.id} is approved"
    assert "only one that needs a person" in str(restage("resolve", post.id, "--absent").exception)
    for step in ("preparing", "needs a person"):
        post = post_store.change(store, post_store.get_post(store, post.id), step, "restage", "so")  # type: ignore[arg-type]
    link = "https://www.instagram.com/p/abc/"
    assert restage("resolve", post.id, "--published", link).output.strip() == f"post {post.id} is published"
    assert link in post_store.history(store, post.id)[-1].why


def test_a_wrong_name_is_told_before_a_password_is_asked_for(store: Store) -> None:
    result = restage("login", "pip daily")
    assert isinstance(result.exception, UserError) and "is not the name of an Instagram account" in str(
        result.exception
    )


def ask(question: str) -> str:
    raise AssertionError(f"nobody should be asked: {question}")


def test_a_login_keeps_the_session_alone_and_lets_the_account_go_on(
    store: Store, studio: Path, project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with StandIn([Account(ACCOUNT, "4100000009", PASSWORD, TOTP, TOKEN)]) as server:
        with store.writing() as connection:
            accounts.pause(connection, "instagram", ACCOUNT, "log in", datetime.now(UTC), person=True)
        (project / "secrets" / "instagram_totp").write_text("A" * 16)
        with pytest.raises(PublishError) as caught:
            log_in(load_settings(), ACCOUNT, ask, ask, server.address)
        assert PASSWORD not in str(caught.value)
        (project / "secrets" / "instagram_totp").write_text(TOTP)
        file = log_in(load_settings(), ACCOUNT, ask, ask, server.address)
    assert file == session_file(studio, ACCOUNT)
    assert PASSWORD not in file.read_text() and file.stat().st_mode & 0o077 == 0
    assert not accounts.standings(store)[0].person
    assert PASSWORD not in caplog.text


def test_the_graph_token_is_renewed_where_it_lies(
    studio: Path, project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    file = project / "secrets" / "graph_token"
    with StandIn([Account(ACCOUNT, "4100000009", PASSWORD, TOTP, TOKEN)]) as server:
        place, until = renew_token(load_settings(), ACCOUNT, f"{server.address}/v25.0")
    assert place == file and file.stat().st_mode & 0o077 == 0
    assert file.read_text() not in ("", TOKEN)
    assert until - datetime.now(UTC) > timedelta(days=59)
    assert TOKEN not in caplog.text and file.read_text() not in caplog.text


def test_a_token_from_elsewhere_is_not_renewed(studio: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTAGE_SECRETS__GRAPH_TOKEN", "another")
    with pytest.raises(UserError, match="comes from the environment or from .env, where it cannot be replaced"):
        renew_token(load_settings(), ACCOUNT)
    monkeypatch.delenv("RESTAGE_SECRETS__GRAPH_TOKEN")
    (project / "secrets" / "graph_token").unlink()
    result = restage("login", ACCOUNT, "--renew")
    assert "there is no token to renew" in str(result.exception)


def test_a_password_is_asked_for_where_the_secrets_are_another_accounts(store: Store, project: Path) -> None:
    (project / "secrets" / "instagram_username").write_text("somebody_else")
    asked: list[str] = []

    def unseen(question: str) -> str:
        asked.append(question)
        return PASSWORD

    with StandIn([Account(ACCOUNT, "4100000009", PASSWORD)]) as server:
        log_in(load_settings(), ACCOUNT, ask, unseen, server.address)
    assert asked == [f"password of {ACCOUNT}: "]


def test_no_secret_is_in_anything_that_is_written(
    store: Store, studio: Path, project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Publishing goes wrong in every way there is; then all files, rows, logs and outputs are searched."""
    caplog.set_level(logging.DEBUG)
    from tasks.publish.claimed_account import PublishingRules
    from tasks.publish.pacing import PacingRules
    from tasks.publish.publish import PublishRun, publish
    from tasks.publish.report import lines, markdown, summary
    from tasks.publishers.instagram.publisher import Instagram
    from tests.support.approved import Clock, One

    clock, said = Clock(), []
    with StandIn([Account(ACCOUNT, "4100000009", PASSWORD, "", TOKEN)]) as server:
        file = log_in(load_settings(), ACCOUNT, ask, ask, server.address)
        session = json.loads(file.read_text())["authorization_data"]["sessionid"]
        outlets = One(Instagram(studio, ACCOUNT, address=server.address, request_pause=0))
        for number, (endpoint, fault) in enumerate(
            [("upload", "500"), ("configure", "html"), ("feed", "login"), ("configure", "challenge"), ("feed", "drop")]
        ):
            approved.approved(store, studio, number)
            server.add_fault(endpoint, fault)
            report = publish(
                PublishRun(
                    store, studio, outlets, PublishingRules(PacingRules()), now=clock, sleep=clock.sleep, patience=200.0
                )
            )
            said += [*lines(report), json.dumps(summary(report)), markdown(report, studio)]
            with store.writing() as connection:
                accounts.resume(connection, "instagram", ACCOUNT, clock())
            clock.sleep(3600)
    said += [restage("settings").output, restage("account").output, restage("publish", "--dry-run").output, caplog.text]
    with closing(sqlite3.connect(studio / "restage.db")) as database:
        said += list(database.iterdump())
    for path in project.rglob("*"):
        if path.is_file() and path != file and path.parent.name != "secrets":
            said.append(path.read_bytes().decode("latin-1"))
    for secret in (PASSWORD, TOKEN, NOTIFY, session):
        assert not [text[:200] for text in said if secret in text]
