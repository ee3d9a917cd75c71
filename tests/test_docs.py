"""The documents, held against the product: commands, options, settings, files, links, examples and quoted sentences."""

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from typer.main import get_command

from flows.cli import app
from flows.cli.demo import PAGE
from flows.serving.serve import LOCK_FILE
from models.sdxl.pipeline import Memory
from tasks.backup import backup
from tasks.calendar.wording import plan_ahead
from tasks.persona import persona
from tasks.persona.calendar_section import Calendar, CalendarShot
from tasks.persona.persona import Persona
from tasks.posts import jpeg
from tasks.posts.states import NEXT
from tasks.publish import rehearsal
from tasks.publishers import folder
from tasks.render import gates, results
from tasks.settings.sections import PREFIX
from tasks.settings.settings import PLACES, Settings
from tasks.store import store
from tasks.training import versions

REPOSITORY = Path(__file__).parents[1]
GUIDE = REPOSITORY / "docs" / "guide.md"
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
LINKED = [*DOCUMENTS, REPOSITORY / "CHANGELOG.md"]
PACKAGES = ("flows", "tasks", "models", "board")
EVERYWHERE = ("--help", "--settings", "--json", "--install-completion", "--show-completion")
GROUPS = {"", "new", "embeddings"}
START = datetime(2026, 11, 1, tzinfo=UTC)
AHEAD = timedelta(days=40)
WILDCARDS = ("place", "framing", "wearing")
EXAMPLE = "fern"
"""The guide's own persona, which does not ship."""


def name_of(path: Path) -> str:
    return path.name


def fences(text: str, kind: str | None = None) -> list[str]:
    """The fenced blocks, all of them or those of a language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [body for language, body in found if kind is None or language == kind]


def prose(text: str) -> str:
    """Without blocks of code, fenced or indented."""
    unfenced = re.sub(r"^```\w*\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^ {4}\S.*$", "", unfenced, flags=re.MULTILINE)


def spans(text: str) -> list[str]:
    """What stands in backticks, over the end of a line too."""
    return [" ".join(each.split()) for each in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose(text))]


def invocations(text: str) -> Iterator[str]:
    """Everything that somebody may type and that begins with restage."""
    indented = re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)
    lines = [*spans(text), *indented, *(line for block in fences(text) for line in block.splitlines())]
    for line in lines:
        for part in re.split(r"&&|\|\|?|;", line):
            found = re.match(r"(?:[A-Z_]+=\S+ )*(?:\S*/)?(?:exec )?restage(?= |$)(.*)", part.strip())
            if found and not found[1].startswith((" runs already", " serve runs already")):
                yield found[1].split(" #")[0].strip()


@cache
def commands() -> dict[str, set[str]]:
    """Every command by its whole name, with its options."""
    found = {}

    def walk(command: Any, path: tuple[str, ...]) -> None:
        context = typer.Context(command)
        options = {name for each in command.get_params(context) for name in (*each.opts, *each.secondary_opts)}
        found[" ".join(path)] = {name for name in options if name.startswith("-")}
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, (*path, name))

    walk(get_command(app), ())
    return found


def split(words: str) -> tuple[str, list[str]]:
    """The longest command that the words begin with, and what follows."""
    try:
        parts = shlex.split(words)
    except ValueError:
        parts = words.split()
    for length in (2, 1):
        if " ".join(parts[:length]) in commands() and len(parts) >= length:
            return " ".join(parts[:length]), parts[length:]
    return "", parts


@cache
def knobs() -> set[str]:
    """Every setting, as section.key."""
    found = Settings.model_fields.items()
    return {f"{name}.{key}" for name, field in found for key in getattr(field.annotation, "model_fields", {})}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_option_of_a_command_exists(document: Path) -> None:
    for words in invocations(document.read_text()):
        command, rest = split(words)
        assert command not in GROUPS or not rest or rest[0].startswith("-"), f"there is no restage {words}"
        asked = {each.split("=")[0] for each in rest if re.match(r"--?[a-z]", each)}
        assert asked <= commands()[command] | {"--help"}, f"restage {words}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_option_named_alone_exists(document: Path) -> None:
    known = set.union(*commands().values()) | set(EVERYWHERE)
    named = {each.split(" ")[0].split("=")[0] for each in spans(document.read_text()) if re.match(r"--[a-z]", each)}
    assert named <= known


def test_the_guide_has_every_command_with_every_option() -> None:
    text = GUIDE.read_text()
    rows = re.findall(r"^\| `restage ([^`]+)` \|(.*)\|$", text.partition("\n## All commands\n")[2], re.MULTILINE)
    table = {split(call)[0]: re.findall(r"`(--?[a-z-]+)`", said) for call, said in rows}
    assert set(table) == set(commands()) - GROUPS
    for command, options in commands().items():
        if command not in {*GROUPS, "generate"}:
            assert set(table[command]) == options - set(EVERYWHERE), command
    missing = [each for each in commands()["generate"] - set(EVERYWHERE) if not re.search(rf"[` ]{each}[` ]", text)]
    assert missing == []


@pytest.mark.parametrize("document", [each for each in LINKED if each.name != "benchmarks.md"], ids=name_of)
def test_every_setting_named_exists(document: Path) -> None:
    """The benchmarks call their figures in the same way."""
    sections = "|".join(Settings.model_fields)
    named = [re.match(rf"(?:{sections})\.[a-z_]+(?=$| =)", span) for span in spans(document.read_text())]
    assert {each[0] for each in named if each and not re.search(r"\.(py|toml)", each[0])} <= knobs()


@pytest.mark.parametrize("document", LINKED, ids=name_of)
def test_every_module_to_be_run_exists(document: Path) -> None:
    for words in re.findall(r"(?:python|launch) -m ([\w.]+)", document.read_text()):
        path = REPOSITORY.joinpath(*words.split("."))
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), words


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_variable_named_exists(document: Path) -> None:
    known = {f"{PREFIX}{name.replace('.', '__')}".upper() for name in knobs()} | set(PLACES)
    named = re.findall(r"\bRESTAGE_[A-Z_]+\b", document.read_text())
    assert set(named) <= known


@pytest.mark.parametrize("document", LINKED, ids=name_of)
def test_every_link_leads_somewhere(document: Path) -> None:
    """Pictures too. What lies elsewhere is not asked for."""
    for target in re.findall(r"\[[^\]\n]*\]\(([^)\s]+)\)", prose(document.read_text())):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        place = (document.parent / file).resolve() if file else document
        assert place.is_file(), target
        assert not anchor or anchor in anchors(place), target


def anchors(document: Path) -> list[str]:
    """As pages of repositories call their headings."""
    headings = re.findall(r"^#+ (.+)$", prose(document.read_text()), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


def test_the_contents_are_the_headings() -> None:
    text = GUIDE.read_text()
    listed = re.findall(r"^- \[(.+)\]\(#", text, re.MULTILINE)
    assert listed == re.findall(r"^## (.+)$", text, re.MULTILINE)


@pytest.mark.parametrize("document", LINKED, ids=name_of)
def test_every_file_named_exists(document: Path) -> None:
    tops = {each.name for each in REPOSITORY.iterdir()} - {"studio", "secrets", ".env"}
    made = ("bench/work/", f"prompts/{EXAMPLE}")
    for span in spans(document.read_text()):
        plain = "/" in span and not re.search(r"[\s*<>{}…]|NAME|PERSONA", span)
        if plain and span.split("/")[0] in tops and not span.startswith(made):
            assert (REPOSITORY / span).exists(), span


def test_the_guide_leads_to_every_other_document() -> None:
    linked = re.findall(r"\]\(([\w/.]+\.md)", GUIDE.read_text())
    assert {each.name for each in (REPOSITORY / "docs").glob("*.md")} - {GUIDE.name} <= set(linked)


@pytest.mark.parametrize("block", fences(GUIDE.read_text(), "toml"))
def test_every_example_works(block: str, tmp_path: Path) -> None:
    values = tomllib.loads(block)
    if any(name in Persona.model_fields for name in values) and not _is_settings(values):
        _try_persona(block, values, tmp_path)
    else:
        Settings.model_validate(values)


def _is_settings(values: Mapping[str, Any]) -> bool:
    names = [f"{name}.{key}" for name, keys in values.items() if isinstance(keys, dict) for key in keys]
    return bool(names) and set(names) <= knobs()


def _try_persona(block: str, values: Mapping[str, Any], place: Path) -> None:
    """A part of a persona's file, put into a whole one; its calendar must have something due and nothing wrong."""
    prompts = place / "prompts"
    (prompts / "wildcards").mkdir(parents=True)
    for name in WILDCARDS:
        (prompts / "wildcards" / f"{name}.txt").write_text("in the forest\n")
    for lora in values.get("calendar", {}).get("loras", []):
        (prompts / lora.partition(":")[0]).touch()
    usual = 'name = "fern"\ntoken = "<fern>"\nclass_word = "woman"\nkind = "character"\nsubject = "a woman"\n'
    (prompts / "fern.toml").write_text(block if "name" in values else usual + block)
    who = persona.load_persona(prompts / "fern.toml")
    found = plan_ahead(who, START, START + AHEAD)
    assert not found.problems
    assert bool(found.due) == bool(who.calendar.shots)


def test_every_key_of_a_persona_is_explained() -> None:
    text = GUIDE.read_text()
    parts = [name for name, field in Persona.model_fields.items() if hasattr(field.annotation, "model_fields")]
    models = (CalendarShot, Calendar, Persona)
    keys = {field.alias or name for model in models for name, field in model.model_fields.items()} - {*parts, "shot"}
    assert [key for key in keys if f"`{key}`" not in text] == []
    assert [part for part in parts if f"`[{part}]`" not in text] == []


def test_every_name_that_people_meet_is_explained() -> None:
    """States of a post, reasons of the gates, memory modes, publishers, sizes."""
    text = GUIDE.read_text()
    met = [*NEXT, *gates.GATE_LABELS, *get_args(Memory), *jpeg.SIZES, *("folder", "graph", "instagram")]
    assert [name for name in met if f"`{name}`" not in text and f'"{name}"' not in text] == []
    references = "blank overexposed underexposed blurred kind prompt unwanted duplicate stranger redundant person"
    assert [name for name in references.split() if f"`{name}`" not in text] == []
    script = (REPOSITORY / "board" / "static" / "board.js").read_text()
    keys = re.search(r"^const keys = \{(.*?)^\};", script, re.MULTILINE | re.DOTALL)
    assert keys
    assert all(f"<kbd>{key.upper()}</kbd>" in text for key in re.findall(r'^  "?([a-z?])"?:', keys[1], re.MULTILINE))


def test_the_guide_says_what_lies_in_the_studio() -> None:
    rows = re.findall(r"^\| (`.*?) \|", GUIDE.read_text().partition("\nIn `studio/`")[2], re.MULTILINE)
    named = {name.rstrip("/") for row in rows for name in re.findall(r"`([^`]+)`", row)}
    places = {
        folder.POSTS_FOLDER,
        jpeg.FOLDER,
        results.FOLDER,
        versions.EMBEDDINGS_FOLDER,
        rehearsal.REHEARSALS,
        store.FILE,
        *backup.EXCLUDED_FOLDERS,
        LOCK_FILE,
        PAGE,
    }
    assert named == places | {"artifacts", "references", "trainings", "grids", "logs"}


def test_the_sentences_in_troubleshooting_are_those_that_are_said() -> None:
    said = sentences()
    rows = symptoms()
    assert len(rows) >= 20
    quoted = [quote for row in rows for quote in re.findall(r"`([^`]+)`", row)]
    assert len(quoted) >= 20
    for quote in quoted:
        parts = [part.strip() for part in quote.split("…") if part.strip()]
        assert any(_holds(text, parts) for text in said), quote


def symptoms() -> list[str]:
    """The first column."""
    section = GUIDE.read_text().partition("\n## Troubleshooting\n")[2].partition("\n## ")[0]
    return [row.split(" | ")[0] for row in re.findall(r"^\| (.*) \|$", section, re.MULTILINE)[2:]]


def _holds(text: str, parts: list[str]) -> bool:
    """Whether the parts stand in the text one after the other."""
    place = 0
    for part in parts:
        place = text.find(part, place) + len(part)
        if place < len(part):
            return False
    return True


@cache
def sentences() -> list[str]:
    """Every text in the code, with a gap for each value in it."""
    files = [
        path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py") if "toybox" not in path.parts
    ]
    return [text for path in files for node in ast.walk(ast.parse(path.read_text())) if " " in (text := _text(node))]


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(each.value) if isinstance(each, ast.Constant) else "\0" for each in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_the_table_of_memory_has_every_mode_with_figures_or_without() -> None:
    section = GUIDE.read_text().partition("\n## Memory and speed\n")[2].partition("\n## ")[0]
    for mode in get_args(Memory):
        row = re.search(rf"^\| `{mode}` \|.*\|$", section, re.MULTILINE)
        assert row, mode
        figures = [cell.strip() for cell in row[0].split("|")][3:-2]
        assert all(re.fullmatch(r"not measured yet|[\d.]+ GiB", each) for each in figures), row[0]
