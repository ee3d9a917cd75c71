"""`restage doctor`: each thing that would stop a run is found, with its remedy."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from typer.testing import CliRunner

from flows.cli import app, doctor
from flows.cli.doctor import DoctorCheck
from flows.cli.init import Answers, write_starter_files
from tasks.settings.settings import LoadedSettings, load_settings
from tasks.store.store import Store


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    write_starter_files(Answers(tmp_path))
    return tmp_path


def loaded(folder: Path, more: str = "") -> LoadedSettings:
    file = folder / "settings.toml"
    file.write_text(file.read_text() + more)
    return load_settings(file)


def only(found: Iterator[DoctorCheck]) -> DoctorCheck:
    (check,) = found
    return check


def test_a_new_folder_is_well(folder: Path) -> None:
    code = "import sys; from flows.cli import main; main()"
    run = subprocess.run(
        [sys.executable, "-c", code, "doctor"],
        env=os.environ | {"RESTAGE_SERVER__PORT": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    lines = run.stdout.splitlines()
    assert len(lines) == 11
    assert not any(line.startswith("✗") for line in lines)
    assert [line for line in lines if line.startswith("–")] == [
        f"– database: {folder / 'studio' / 'restage.db'} will be made when it is needed",
        "– account: posts are written to disk (publishing.dry_run or publisher = folder)",
        "– prefect: does not run; restage serve starts it",
    ]
    assert not (folder / "studio").exists(), "looking makes nothing"


def test_what_is_wrong_is_said_with_its_remedy_and_ends_with_1(folder: Path) -> None:
    loaded(folder, '\n[storage]\ndatabase = "postgresql://nobody@127.0.0.1:1/none"\n')
    (folder / "prompts" / "pip.toml").write_text('name = "pip"\n')
    run = CliRunner().invoke(app, ["doctor", "--json"])
    assert run.exit_code == 1
    wrong = {row["check"]: row for row in json.loads(run.stdout) if row["good"] is False}
    assert set(wrong) == {"database", "persona"}
    assert "pip.toml" in wrong["persona"]["said"]
    assert all(row["said"] for row in wrong.values())


def test_files_from_the_future_mean_that_the_clock_was_set_back(folder: Path) -> None:
    found = loaded(folder)
    file = found.studio / "artifacts" / "a.png"
    file.parent.mkdir(parents=True)
    file.touch()
    assert only(doctor.check_clock(found)).good
    os.utime(file, (time.time() + 3600, time.time() + 3600))
    check = only(doctor.check_clock(found))
    assert check.good is False
    assert str(file) in check.message


def test_a_damaged_database_is_found(folder: Path) -> None:
    found = loaded(folder)
    Store.open("", found.studio).close()
    assert only(doctor.check_database(found)).good
    file = found.studio / "restage.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE filler (text TEXT)")
        connection.executemany("INSERT INTO filler VALUES (?)", [("x" * 500,)] * 200)
    connection.close()
    data = bytearray(file.read_bytes())
    data[-20_000:-4_000] = b"\xff" * 16_000
    file.write_bytes(bytes(data))
    check = next(each for each in doctor.run_checks(found) if each.name == "database")
    assert check.good is False


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="rights do not bind the superuser")
def test_a_studio_that_cannot_be_written_is_found(folder: Path) -> None:
    found = loaded(folder)
    found.studio.mkdir()
    found.studio.chmod(0o500)
    assert only(doctor.check_studio(found)).good is False
    found.studio.chmod(0o700)


def test_an_account_needs_a_session_that_only_its_owner_reads(folder: Path) -> None:
    file = folder / "settings.toml"
    text = file.read_text().replace("dry_run = true", "dry_run = false")
    file.write_text(text.replace('publisher = "folder"', 'publisher = "instagram"'))
    found = load_settings(file)
    assert only(doctor.check_account(found)).message == "no account is named"
    file.write_text(file.read_text().replace('account = ""', 'account = "pip_daily"'))
    found = load_settings(file)
    missing = next(each for each in doctor.run_checks(found) if each.name == "account")
    assert (missing.good, missing.message) == (False, "pip_daily has no session yet")
    assert "restage login pip_daily" in missing.remedy
    session = found.studio / "accounts" / "pip_daily" / "session.json"
    session.parent.mkdir(parents=True)
    session.write_text(json.dumps({"authorization_data": {"sessionid": "s3cr3t"}}))
    session.chmod(0o644)
    open_to_all = only(doctor.check_account(found))
    assert (open_to_all.good, open_to_all.remedy) == (False, f"run chmod 600 {session}")
    session.chmod(0o600)
    check = only(doctor.check_account(found))
    assert check.good
    assert "s3cr3t" not in check.summary_line + open_to_all.summary_line


def test_a_token_that_is_missing_belongs_where_doctor_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "settings.toml"
    text = file.read_text().replace("dry_run = true", "dry_run = false")
    file.write_text(text.replace('publisher = "folder"', 'publisher = "graph"'))
    monkeypatch.delenv("RESTAGE_SECRETS__GRAPH_TOKEN", raising=False)
    missing = only(doctor.check_account(load_settings(file)))
    place = folder / "secrets" / "graph_token"
    assert (missing.good, missing.message) == (False, "secrets.graph_token is not set")
    assert missing.remedy == f"set RESTAGE_SECRETS__GRAPH_TOKEN, or write it to {place}"
    place.parent.mkdir()
    place.write_text("s3cr3t\n")
    assert only(doctor.check_account(load_settings(file))).summary_line == "✓ account: a Graph token is set"
    place.unlink()
    monkeypatch.setenv("RESTAGE_SECRETS__GRAPH_TOKEN", "s3cr3t")
    assert only(doctor.check_account(load_settings(file))).good


def test_a_model_that_is_not_here_is_wrong_only_where_it_is_the_settings_own(folder: Path) -> None:
    persona = folder / "prompts" / "pip.toml"
    persona.write_text(persona.read_text().replace('model = ""', 'model = "owner/model"'))
    found = {each.good for each in doctor.check_models(loaded(folder))}
    assert found == {True, None}
    file = folder / "settings.toml"
    file.write_text(file.read_text().replace('name = "toybox"', 'name = "owner/model"'))
    assert {each.good for each in doctor.check_models(load_settings(file))} == {False}


def test_prefect_is_asked_where_the_settings_say(folder: Path) -> None:
    class Healthy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/api/health" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Healthy)
    Thread(target=server.serve_forever, daemon=True).start()
    api = f"http://127.0.0.1:{server.server_port}/api"
    found = loaded(folder, f'\n[server]\nprefect = "{api}"\n')
    try:
        assert only(doctor.check_prefect(found)).message == f"answers at {api}"
    finally:
        server.shutdown()
        server.server_close()
    assert only(doctor.check_prefect(found)).good is False
