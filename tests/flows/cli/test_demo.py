"""The demonstration, with so few steps that its pictures are fog."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import closing
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner, Result

from flows.cli import app, demo_guard
from flows.cli.demo import run_demo as run
from models.system.errors import UserError
from tasks.posts import post_store, review
from tasks.posts.post import Post, PostContent, PostPicture
from tasks.settings.settings import load_settings
from tasks.store.store import Store
from tests.flows.test_references import COUNT, KEEP, REPOSITORY, write_project

DUE = datetime(2026, 11, 21, 9, tzinfo=ZoneInfo("UTC"))
FOG = """
[gates]
candidates = 1
blank_spread = 0
detail = 0
unwanted_margin = 1
identity = -1000
prompt = -1000
duplicate_bits = -1
duplicate_share = 0
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = write_project(tmp_path_factory.mktemp("demo") / "project", FOG)
    shutil.copytree(REPOSITORY / "prompts" / "wildcards", project / "prompts" / "wildcards")
    return project


def demo(project: Path) -> Result:
    return CliRunner().invoke(app, ["demo", "--settings", str(project / "settings.toml")], catch_exceptions=False)


def files(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_the_demo_goes_the_whole_way_and_a_second_time_makes_nothing_new(project: Path) -> None:
    done = demo(project)
    assert done.exit_code == 0, done.output
    assert f"{KEEP} of {COUNT} chosen; dropped: " in done.output
    assert "replay of the first: identical pixels" in done.output
    folder = project / "studio" / "posts"
    folders = sorted(each for each in folder.iterdir() if not each.name.startswith("."))
    assert len(folders) >= 7, done.output
    assert all({"caption.txt", "post.json"} < {file.name for file in each.iterdir()} for each in folders)
    page = project / "studio" / "demo.html"
    text = page.read_text()
    assert text.count("published to a folder") == len(folders)
    for link in re.findall(r'href="([^"]+)"', text):
        assert (page.parent / link).is_file(), link
    assert "http" not in re.sub(r"data:[^\"]+", "", text)

    with closing(Store.open("", project / "studio")) as store:
        made = {post.id for post in post_store.find(store)}
    assert made == set(json.loads((project / "studio" / "cache" / "demo.json").read_bytes())), "noted before"

    before, pictures = files(folder), files(project / "studio" / "artifacts")
    again = demo(project)
    assert again.exit_code == 0, again.output
    assert files(folder) == before
    assert files(project / "studio" / "artifacts") == pictures


@pytest.fixture
def studio(tmp_path: Path) -> Path:
    """A project as it ships, in which nothing was done yet."""
    return write_project(tmp_path / "project")


def refused(project: Path) -> str:
    """The sentence, and that it did nothing before."""
    said = f"[^\n]*{re.escape(demo_guard.REMEDY)}"
    before = files(project)
    with pytest.raises(UserError, match=said) as error:
        next(run(load_settings(project / "settings.toml")))
    assert files(project) == before
    return str(error.value)


def test_the_persona_that_ships_is_known_by_its_hash() -> None:
    """Whoever changes the file also says its new hash, in flows/cli/demo_guard.py."""
    assert demo_guard.is_shipped(REPOSITORY / "prompts" / "pip.toml")
    assert len(demo_guard.SHIPPED_HASH) == 16


def test_a_persona_of_ones_own_is_not_shown(studio: Path) -> None:
    file = studio / "prompts" / "pip.toml"
    file.write_text(file.read_text() + "# mine\n")
    assert refused(studio).startswith(f"{file} is not the pip that ships with restage: ")
    file.write_bytes(b"\xff")
    refused(studio)
    file.unlink()
    refused(studio)
    assert not (studio / "studio").exists()


@pytest.mark.parametrize("line", ['publisher = "instagram"', "dry_run = false"])
def test_where_posts_really_go_out_it_stays_away(line: str, studio: Path) -> None:
    with (studio / "settings.toml").open("a") as file:
        file.write(f"[publishing]\n{line}\n")
    assert "publishing.dry_run" in refused(studio)


def rendered(store: Store, number: int, persona: str = demo_guard.PERSONA) -> Post:
    """A post as `restage render` leaves it."""
    said = PostContent("photo", (PostPicture("s", "ready/s.jpg", "00", "a fox", 320, 320),), "Week 1.", (), "pip", DUE)
    return post_store.create_post(
        store, f"{persona}/walk/{number}", persona, "walk", "square", said, [], "restage", "rendered"
    )


def test_posts_that_it_did_not_make_are_nobodys_but_their_owners(studio: Path) -> None:
    loaded = load_settings(studio / "settings.toml")
    with closing(Store.open(loaded.database, loaded.studio)) as store:
        post = rendered(store, 1)
        assert refused(studio).startswith(f"post {post.id} of pip in {loaded.studio} is somebody's own: ")
        assert post_store.get_post(store, post.id).state == "awaiting review"
        demo_guard.note_posts([post.key], loaded)
        demo_guard.check_studio(loaded)  # it was killed before it could approve this one

        approved = review.approve(store, rendered(store, 2), demo_guard.ACTOR)
        demo_guard.check_studio(loaded)
        review.reject(store, approved, "nina")
        assert refused(studio).startswith(f"post {approved.id} ")


def test_neither_are_those_of_another_persona(studio: Path) -> None:
    loaded = load_settings(studio / "settings.toml")
    with closing(Store.open(loaded.database, loaded.studio)) as store:
        post = review.approve(store, rendered(store, 1, "mara"), demo_guard.ACTOR)
        assert refused(studio).startswith(f"post {post.id} of mara in ")
