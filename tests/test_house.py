"""The house rules that a machine can check."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("flows", "tasks", "models", "board")
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([LINT_IMPORTS, "--no-cache"], cwd=folder, capture_output=True, text=True)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    code = shutil.ignore_patterns("weights", "__pycache__")
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, tmp_path / package, ignore=code)
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("models/picture/shot.py", "from tasks.settings import settings"),
        ("models/picture/shot.py", "import prefect"),
        ("tasks/pictures/generate.py", "from tasks.references import choose"),
        ("tasks/pictures/generate.py", "from flows import cli"),
        ("tasks/settings/settings.py", "from tasks.pictures import generate"),
        ("tasks/posts/post.py", "from tasks.publish import publish"),
        ("tasks/publishers/folder.py", "from tasks.publishers.graph import publisher"),
        ("models/picture/shot.py", "from models.sdxl import renderer"),
        ("models/sdxl/renderer.py", "from models.toybox.recipe import build"),
        ("board/__init__.py", "from flows import cli"),
    ],
)
def test_a_wrong_import_breaks_the_contracts(module: str, line: str, copy: Path) -> None:
    assert lint_imports(copy).returncode == 0
    with (copy / module).open("a") as file:
        file.write(f"\n{line}\n")
    broken = lint_imports(copy)
    assert broken.returncode == 1, broken.stdout
    assert "BROKEN" in broken.stdout


def test_requirements_name_versions_and_no_index() -> None:
    text = (REPOSITORY / "requirements.txt").read_text()
    pinned = set(re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    asked = project["dependencies"] + project["optional-dependencies"]["dev"]
    names = {re.split(r"[<>=\[]", each)[0].replace("_", "-").lower() for each in asked}
    assert names <= pinned
    assert "://" not in text
    assert "index" not in re.sub(r"#.*", "", text).split()


def test_the_readme_starts_with_the_two_commands() -> None:
    text = (REPOSITORY / "README.md").read_text()
    assert re.findall(r"make \w+", text)[:2] == ["make demo", "make test"]
    targets = re.findall(r"^(\w+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"^make (\w+)|`make (\w+)`", text, re.MULTILINE)) <= {(target, "") for target in targets} | {
        ("", target) for target in targets
    }


def test_every_command_in_the_documents_exists() -> None:
    from flows.cli import app

    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    commands |= {group.name for group in app.registered_groups}
    for document in [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")]:
        used = set(re.findall(r"(?:^|`|/)restage ([\w-]+)", document.read_text(), re.MULTILINE))
        assert used <= commands | {"--help"}, document


def test_the_command_runs_as_installed() -> None:
    command = Path(sys.executable).with_name("restage")
    run = subprocess.run([command, "--help"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "One character, a new scene every day." in run.stdout
