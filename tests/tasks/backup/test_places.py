"""Where a backup takes its files from and where it puts them: links and other settings files, and nothing beyond."""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.system.errors import UserError
from tasks.backup import archive, contents
from tasks.backup.backup import restore_backup, write_backup
from tasks.store.store import Store

PARTS = st.sampled_from(["studio", "project", "prompts", "", ".", "..", "home", "C:", "a\\b", ".env", "settings.toml"])


def put(place: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)


def crafted(file: Path, files: dict[str, str], settings: str = "settings.toml") -> Path:
    """A backup of somebody else's making, whole and with right hashes."""
    head = {"format": archive.FORMAT, "settings": settings, "rows": 0, "files": {}}
    with zipfile.ZipFile(file, "w") as made:
        for name, text in {"restage.db": "", **files}.items():
            made.writestr(name, text)
            head["files"][name] = hashlib.sha256(text.encode()).hexdigest()
        made.writestr(archive.LIST, json.dumps(head))
    return file


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store.open("", tmp_path / "studio")) as opened:
        yield opened


def moved(file: Path, place: Path, studio: Path | None = None, replace: bool = False) -> None:
    studio = studio or place / "studio"
    with closing(Store.open("", studio)) as other:
        restore_backup(file, other, studio, place, replace)


@pytest.mark.parametrize("name", ["studio//{}/escape", "project//{}/escape", "studio/./x", "studio/a//b", "studio/a/"])
def test_no_part_of_a_name_leads_out_of_the_studio(name: str, store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    name = name.format(str(outside).lstrip("/"))
    file = crafted(tmp_path / "b.zip", {name: "gotcha"})
    with pytest.raises(UserError, match="would lie outside of the studio: take another backup"):
        restore_backup(file, store, tmp_path / "studio", tmp_path, replace=True)
    assert list(outside.iterdir()) == []


@given(st.lists(PARTS, min_size=1, max_size=5).filter(any))
@example(["studio", "", "home", "x"])
def test_what_is_taken_lies_below_the_studio_or_among_the_persons_own(parts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        studio, project = root / "one" / "studio", root / "two"
        file = crafted(root / "b.zip", {"/".join(parts): ""})
        with archive.open_archive(file) as opened:
            try:
                (place,) = opened.check_files(studio, project).values()
            except UserError:
                return
        place = place.resolve()
        own = (project / "prompts", project / "settings.toml")
        assert (place != studio and place.is_relative_to(studio)) or any(place.is_relative_to(each) for each in own)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "project/.env",
            "project/secrets/graph_token",
            "project/Makefile",
            "project/prompts/.env",
            "project/flows/cli.py",
        ),
        *("studio/accounts/pip/session.json", "studio/restage.db-wal", "studio/.lock", "studio/cache/vectors.db"),
    ],
)
def test_what_no_backup_holds_is_not_taken_from_one(name: str, store: Store, tmp_path: Path) -> None:
    file = crafted(tmp_path / "b.zip", {name: "x = 1"})
    with pytest.raises(UserError, match="which restage puts into no backup: take another backup"):
        restore_backup(file, store, tmp_path / "studio", tmp_path, replace=True)


@pytest.mark.parametrize(
    ("settings", "text", "sentence"),
    [
        (".env", "A = 'b'", "which restage puts into no backup"),
        (".env.toml", "A = 'b'", "which restage puts into no backup"),
        (".bashrc", "A = 'b'", "which restage puts into no backup"),
        ("secrets/token", "A = 'b'", "which restage puts into no backup"),
        ("run", "#!/bin/sh\nrm -r x", "as settings, which it is not"),
    ],
)
def test_only_settings_come_back_as_settings(
    settings: str, text: str, sentence: str, store: Store, tmp_path: Path
) -> None:
    file = crafted(tmp_path / "b.zip", {f"project/{settings}": text}, settings)
    with pytest.raises(UserError, match=sentence):
        restore_backup(file, store, tmp_path / "studio", tmp_path, replace=True)
    assert not (tmp_path / settings).exists()


@pytest.mark.parametrize("name", ["night.toml", ".night.toml", "night.conf"])
def test_the_settings_file_in_force_comes_back_under_its_name(name: str, store: Store, tmp_path: Path) -> None:
    put(tmp_path, {name: "[models]", "settings.toml": "# day", "notes.toml": "not a setting"})
    write_backup(tmp_path / "b.zip", store, tmp_path / "studio", tmp_path, tmp_path / name)
    there = tmp_path / "there"
    put(there, {"settings.toml": "# mine"})
    moved(tmp_path / "b.zip", there)
    found = {path.name: path.read_text() for path in there.iterdir() if path.is_file()}
    assert found == {name: "[models]", "settings.toml": "# mine"}


def test_a_settings_file_whose_name_cannot_come_back_is_told(store: Store, tmp_path: Path) -> None:
    put(tmp_path, {".night": "[models]"})
    with pytest.raises(UserError, match=r"\.night has a name that no backup holds: give it one that ends in \.toml"):
        write_backup(tmp_path / "b.zip", store, tmp_path / "studio", tmp_path, tmp_path / ".night")
    assert not (tmp_path / "b.zip").exists()


@pytest.mark.parametrize("how", ["--settings", "RESTAGE_SETTINGS"])
def test_the_command_puts_in_the_settings_that_it_goes_by(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from flows.cli import app

    put(tmp_path, {"night.toml": "[models]"})
    file = tmp_path / "night.toml"
    if how == "RESTAGE_SETTINGS":
        monkeypatch.setenv(how, str(file))
    said = CliRunner().invoke(app, ["backup", str(tmp_path / "b.zip"), *([how, str(file)] if how[0] == "-" else [])])
    assert said.exit_code == 0, said.output
    with zipfile.ZipFile(tmp_path / "b.zip") as made:
        assert made.read("project/night.toml") == b"[models]"


@pytest.fixture
def linked(store: Store, tmp_path: Path) -> Path:
    """A studio whose pictures lie on a larger disk, personas shared with another project, and links that go round."""
    put(
        tmp_path, {"large/ab/abc.png": "picture", "shared/pip.toml": "pip", "project/settings.toml": "", ".env": "hush"}
    )
    put(tmp_path, {"studio/accounts/pip/session.json": "hush", "project/secrets/token": "hush"})
    studio = tmp_path / "studio"
    (studio / "artifacts").symlink_to(tmp_path / "large")
    (studio / "artifacts" / "round").symlink_to(studio)
    (studio / "artifacts" / "again").symlink_to(tmp_path / "large")
    (studio / "also").symlink_to(studio / "accounts")
    (studio / "beside").symlink_to(tmp_path / "project")
    (studio / "tokens").symlink_to(tmp_path / "project" / "secrets")
    (tmp_path / "project" / "prompts").mkdir()
    (tmp_path / "project" / "prompts" / "ours").symlink_to(tmp_path / "shared")
    return tmp_path


def test_links_are_followed_once_and_never_to_secrets(linked: Path, store: Store) -> None:
    write_backup(linked / "b.zip", store, linked / "studio", linked / "project")
    with zipfile.ZipFile(linked / "b.zip") as made:
        names = set(made.namelist())
    assert {"studio/artifacts/ab/abc.png", "project/prompts/ours/pip.toml"} <= names
    assert not [name for name in names if "again/again" in name or "round/" in name]
    assert b"hush" not in (linked / "b.zip").read_bytes()


def test_a_link_to_a_disk_that_is_not_there_is_no_empty_folder(linked: Path, store: Store) -> None:
    (linked / "large").rename(linked / "unmounted")
    with pytest.raises(UserError, match=r"artifacts leads to .*large, which is not there: bring it back"):
        write_backup(linked / "b.zip", store, linked / "studio", linked / "project")
    assert not (linked / "b.zip").exists()


def test_a_studio_with_links_is_put_back_onto_another_disk(linked: Path, store: Store) -> None:
    disk = Path("/dev/shm")
    if not disk.is_dir() or disk.stat().st_dev == linked.stat().st_dev:
        pytest.skip("there is no second disk on this machine")
    write_backup(linked / "b.zip", store, linked / "studio", linked / "project")
    there = linked / "there"
    (there / "studio").mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=disk) as large:
        (there / "studio" / "artifacts").symlink_to(large)
        put(Path(large), {"ab/abc.png": "newer"})
        moved(linked / "b.zip", there, replace=True)
        assert (Path(large) / "ab" / "abc.png").read_text() == "picture"
    (kept,) = (there / "studio" / "replaced").glob("*/studio/artifacts/ab/abc.png")
    assert kept.read_text() == "newer"


def test_of_a_linked_file_what_it_leads_to_is_kept(linked: Path, store: Store) -> None:
    write_backup(linked / "b.zip", store, linked / "studio", linked / "project")
    there = linked / "there"
    put(there, {"own.png": "newer"})
    place = there / "studio" / "artifacts" / "ab"
    place.mkdir(parents=True)
    (place / "abc.png").symlink_to("../../../own.png")
    moved(linked / "b.zip", there, replace=True)
    (kept,) = (there / "studio" / "replaced").glob("*/studio/artifacts/ab/abc.png")
    assert (place / "abc.png").read_text() == "picture"
    assert kept.read_text() == (there / "own.png").read_text() == "newer"


def test_what_is_listed_can_come_back(linked: Path) -> None:
    """The rule by which files are found is the one by which they are taken."""
    found = contents.list_files(linked / "studio", linked / "project", linked / "project" / "settings.toml")
    assert found
    assert all(contents.is_backed_up(name) for name in found)
