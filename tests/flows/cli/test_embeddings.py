"""`restage embeddings` as its users meet it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from flows import cli
from models.sdxl import embedding
from models.sdxl.embedding import Embedding
from tests.models.sdxl.test_embedding_formats import Code, a1111
from tests.support import postgres

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process: exit code, output, errors."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["restage", "embeddings", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return call


def file(folder: Path, name: str, seed: int = 0) -> Embedding:
    """A1111's file for SDXL, and the word it holds."""
    generator = torch.Generator().manual_seed(seed)
    word = Embedding("<pip>", tuple(torch.randn(2, width, generator=generator) for width in (768, 1280)))
    save_file({"clip_l": word.vectors[0], "clip_g": word.vectors[1]}, folder / name)
    return word


@pytest.fixture
def two(run: Run, project: Path) -> list[Embedding]:
    """Two versions of pip, the second current."""
    words = [file(project, "first.safetensors", 1), file(project, "second.safetensors", 2)]
    assert run("import", "first.safetensors", "--persona", "pip", "--token", "<pip>")[0] == 0
    assert run("import", "second.safetensors", "--persona", "pip", "--token", "<pip>", "--use")[0] == 0
    return words


def test_import_copies_and_registers(run: Run, project: Path) -> None:
    word = file(project, "pip.safetensors")
    before = (project / "pip.safetensors").read_bytes()
    code, out, err = run("import", "pip.safetensors", "--persona", "pip")
    assert (code, err) == (0, "")
    assert out == "pip@1: <pip>, 2 vectors; current with: restage embeddings use pip 1\n"
    assert embedding.read_embedding(project / "studio" / "embeddings" / "pip" / "v1.safetensors") == word
    assert (project / "pip.safetensors").read_bytes() == before
    code, out, _ = run("import", "pip.safetensors", "--persona", "pip", "--use")
    assert out == "pip@1: <pip>, 2 vectors; the current version\n"  # the same word is the same version


def test_list_marks_the_current_one(run: Run, two: list[Embedding]) -> None:
    code, out, _ = run("list", "pip")
    assert code == 0
    first, second = out.splitlines()
    assert first.split()[0] == "pip@1"
    assert first.endswith("imported from first.safetensors (A1111)")
    assert second.split()[:2] == ["*", "pip@2"]
    assert "2 vectors" in second
    assert run("list")[1] == out
    found = json.loads(run("list", "--json")[1])
    assert [(each["name"], each["current"], each["id"]) for each in found] == [
        ("pip@1", False, two[0].hash),
        ("pip@2", True, two[1].hash),
    ]
    assert run("list", "mara") == (0, "", "note: no embeddings of mara yet\n")
    assert json.loads(run("list", "mara", "--json")[1]) == []


def test_going_back_is_one_command_and_is_remembered(run: Run, two: list[Embedding]) -> None:
    code, out, _ = run("use", "pip", 1, "--why", "2 forgot the stripe")
    assert (code, out) == (0, "pip@1 is the current version (before: pip@2)\n")
    found = json.loads(run("show", "pip", "--json")[1])
    assert found["name"] == "pip@1"
    assert [(each["number"], each["why"]) for each in found["was_current"]] == [
        (2, "chosen when it was imported"),
        (1, "2 forgot the stripe"),
    ]
    assert all(each["by"] and each["since"] for each in found["was_current"])
    assert run("use", "pip", 1)[1] == "pip@1 is the current version\n"


def test_show_a_version_and_a_file(run: Run, two: list[Embedding], project: Path) -> None:
    code, out, _ = run("show", "pip@1")
    assert code == 0
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert (lines["name"], lines["token"], lines["vectors"], lines["widths"]) == ("pip@1", "<pip>", "2", "[768, 1280]")
    assert lines["file"] == "embeddings/pip/v1.safetensors"
    torch.save(a1111({"*": two[0].vectors[0]}, "fox"), project / "fox.pt")
    found = json.loads(run("show", "fox.pt", "--json")[1])
    assert (found["token"], found["format"], found["widths"]) == ("<fox>", "A1111", [768])
    assert json.loads(run("show", "fox.pt", "--token", "<pip>", "--json")[1])["token"] == "<pip>"


def test_export_never_replaces_a_file_unasked(run: Run, two: list[Embedding], project: Path) -> None:
    (project / "out.safetensors").write_text("mine")
    code, out, err = run("export", "pip", "out.safetensors")
    assert (code, out) == (1, "")
    assert err == "restage: out.safetensors exists already: choose another name, or replace it with --force\n"
    assert (project / "out.safetensors").read_text() == "mine"
    assert run("export", "pip", "out.safetensors", "--force")[:2] == (0, "out.safetensors\n")
    assert embedding.read_embedding(project / "out.safetensors") == two[1]
    # The partner of a pair counts as well.
    (project / "pair_2.safetensors").write_text("mine")
    code, _, err = run("export", "pip", "pair.safetensors", "--format", "diffusers")
    assert (code, "pair_2.safetensors exists already" in err) == (1, True)
    assert not (project / "pair.safetensors").exists()


def test_export_in_each_format(run: Run, two: list[Embedding], project: Path) -> None:
    assert run("export", "pip@1", "pair.safetensors", "--format", "diffusers", "--half")[1].split() == [
        "pair.safetensors",
        "pair_2.safetensors",
    ]
    assert load_file(project / "pair_2.safetensors")["<pip>"].dtype == torch.float16
    assert run("export", "pip@1", "other.safetensors", "--format", "a1111")[0] == 0
    assert torch.equal(load_file(project / "other.safetensors")["clip_g"], two[0].vectors[1])


PERSONA = 'name = "pip"\ntoken = "<pip>"\nclass_word = "fox"\nkind = "character"\nsubject = "a fox"\n'


def test_the_word_must_be_the_personas(run: Run, project: Path) -> None:
    (project / "prompts").mkdir()
    (project / "prompts" / "pip.toml").write_text(PERSONA)
    word = file(project, "whatever.safetensors")
    torch.save(a1111({"*": word.vectors[0]}, "fox"), project / "fox.pt")
    code, out, err = run("import", "fox.pt", "--persona", "pip")
    assert (code, out) == (1, "")
    assert err == (
        "restage: the word of fox.pt is <fox>, but pip is called <pip> in its persona file: "
        "import it with --token '<pip>', or for another persona\n"
    )
    assert run("list")[1] == ""
    assert run("import", "fox.pt", "--persona", "pip", "--token", "<pip>")[0] == 0
    assert run("import", "whatever.safetensors", "--persona", "pip")[1].startswith("pip@2: <pip>")  # it names no word


def test_a_model_tells_where_a_table_belongs(run: Run, project: Path, sd1_folder: Path) -> None:
    torch.save({"<pip>": torch.ones(3, 32)}, project / "pip.bin")
    assert "is for an encoder 32 wide" in run("import", "pip.bin", "--persona", "pip")[2]
    assert run("import", "pip.bin", "--persona", "pip", "--model", sd1_folder)[0] == 0
    found = json.loads(run("show", "pip@1", "--json")[1])
    assert found["base_model_name"] == str(sd1_folder)
    assert len(found["base_model"]) == 64


def test_mistakes_end_in_one_sentence_and_keep_nothing(run: Run, project: Path) -> None:
    file(project, "pip.safetensors")
    torch.save({"<pip>": Code(f"touch '{project / 'it ran'}'")}, project / "evil.pt")
    for arguments, sentence in {
        ("import", "gone.pt", "--persona", "pip"): "there is no embedding file gone.pt",
        ("import", "evil.pt", "--persona", "pip"): "evil.pt is a pickle that holds more than plain tensors",
        ("import", "pip.safetensors", "--persona", "../pip"): "'../pip' cannot be the name of a persona",
        ("import", "pip.safetensors", "--persona", "pip", "--token", "pip"): "must stand in angle brackets",
        ("import", "pip.safetensors", "--persona", "pip", "--model", "nothing"): "there is no model at 'nothing'",
        ("show", "pip"): "pip has no versions yet",
        ("show", "pip@two"): "'pip@two' names no version: write it as pip@2",
        ("show", "evil.pt"): "evil.pt is a pickle",
        ("show", "Pip!"): "'Pip!' cannot be the name of a persona",
        ("use", "pip", "1"): "pip has no versions yet",
        ("export", "pip", "x.safetensors"): "pip has no versions yet",
        ("export", "pip", "x.safetensors", "--format", "comfy"): "format 'comfy' is unknown",
    }.items():
        code, out, err = run(*arguments)
        assert (code, out) == (1, ""), arguments
        assert err.startswith("restage: ")
        assert sentence in err
        assert err.count("\n") == 1
    assert not (project / "it ran").exists()
    assert run("list")[1] == ""
    assert not (project / "studio" / "embeddings").exists()


def test_export_to_what_is_no_embedding_file(run: Run, two: list[Embedding], project: Path) -> None:
    for name in ("pip.png", "studio"):
        code, _, err = run("export", "pip", name)
        assert (code, "is not the name of an embedding file: end it in .safetensors" in err) == (1, True)


def test_a_damaged_store_is_one_sentence(run: Run, project: Path) -> None:
    (project / "studio").mkdir()
    (project / "studio" / "restage.db").write_text("not a database, " * 100)
    code, out, err = run("list")
    assert (code, out) == (1, "")
    assert "restage.db is not a readable database" in err
    assert err.count("\n") == 1


def test_postgres_by_its_secret_address(
    run: Run,
    two: list[Embedding],
    server: postgres.Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RESTAGE_SECRETS__DATABASE", server.new_database())
    assert run("list")[1] == ""
    assert run("import", "first.safetensors", "--persona", "pip", "--token", "<pip>", "--use")[0] == 0
    assert "* pip@1" in run("list")[1]
    monkeypatch.setenv("RESTAGE_SECRETS__DATABASE", server.url("restage", "planted-wrong"))
    code, out, err = run("list")
    assert code == 1
    assert "the PostgreSQL database 'restage' cannot be used" in err
    assert "planted" not in out + err


def test_help_needs_no_heavy_library() -> None:
    code = """
import sys
from flows.cli.embeddings import embeddings
try:
    embeddings(["import", "--help"])
except SystemExit:
    pass
print("HEAVY", sorted({"torch", "sqlalchemy", "psycopg", "numpy"} & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Example: restage embeddings import pip.pt --persona pip --use" in run.stdout
    assert run.stdout.endswith("HEAVY []\n")
