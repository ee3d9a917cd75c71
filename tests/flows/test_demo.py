"""The demonstration, with so few steps that its pictures are fog."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from flows.cli import app
from tests.flows.test_references import COUNT, KEEP, REPOSITORY, write_project

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
[publishing]
publisher = "instagram"
dry_run = false
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
    """Whatever the settings say, nothing leaves the machine."""
    done = demo(project)
    assert done.exit_code == 0, done.output
    assert f"{KEEP} of {COUNT} chosen; dropped: " in done.output
    assert "replay of the first: identical pixels" in done.output
    posts = project / "studio" / "posts"
    folders = sorted(folder for folder in posts.iterdir() if not folder.name.startswith("."))
    assert len(folders) >= 7, done.output
    assert all({"caption.txt", "post.json"} < {file.name for file in folder.iterdir()} for folder in folders)
    page = project / "studio" / "demo.html"
    text = page.read_text()
    assert text.count("published to a folder") == len(folders)
    for link in re.findall(r'href="([^"]+)"', text):
        assert (page.parent / link).is_file(), link
    assert "http" not in re.sub(r"data:[^\"]+", "", text)

    before, pictures = files(posts), files(project / "studio" / "artifacts")
    again = demo(project)
    assert again.exit_code == 0, again.output
    assert files(posts) == before
    assert files(project / "studio" / "artifacts") == pictures
