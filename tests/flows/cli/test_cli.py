"""The command line as its users meet it: what it prints, what it leaves on disk, how it ends."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from PIL import Image

from flows import cli
from tests.models.picture.test_provenance import bomb

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process: exit code, output, errors."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["restage", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return call


def made(project: Path) -> list[Path]:
    return [path for path in project.rglob("*") if path.is_file() and path.name != "settings.toml"]


def test_generate_then_replay(run: Run, project: Path) -> None:
    code, out, err = run("generate", "a (red:1.3) cat", "-n", 3, "--sheet", "sheet.png")
    assert code == 0
    *pictures, sheet = out.splitlines()
    assert len(pictures) == 3
    assert all(Image.open(path).size == (64, 64) for path in pictures)
    assert Image.open(sheet).width > 3 * 256
    assert "pictures: 6/6 steps in" in err
    code, again, err = run("generate", "a (red:1.3) cat", "-n", 3)
    assert again.splitlines() == pictures
    assert err == ""  # nothing was made, so nothing is shown
    code, out, _ = run("replay", pictures[0], "--save", "again.png")
    assert (code, out) == (0, f"{pictures[0]}: identical pixels, in an equal environment\n")
    assert Image.open("again.png").tobytes() == Image.open(pictures[0]).tobytes()


def test_image_to_image_from_the_command_line(run: Run, project: Path) -> None:
    Image.linear_gradient("L").save(project / "sketch.png")
    code, out, _ = run("generate", "a cat", "--init", "sketch.png", "--strength", 0.5, "--steps", 4)
    assert code == 0
    assert run("replay", out.strip())[0] == 0


def test_a_learned_word_and_a_lora(run: Run, project: Path) -> None:
    import torch

    from models.sdxl import embedding
    from tests.support.tiny import lora

    word = embedding.Embedding("<pip>", (torch.ones(2, 32), torch.ones(2, 48)))
    embedding.write_embedding(project / "pip.safetensors", word, {})
    ink = Path(lora(project, 1).name).name
    shots = {
        tuple(words): run("generate", "<pip> in the forest", *words)
        for words in ([], ["--embedding", "pip.safetensors"], ["--lora", ink], ["--lora", f"{ink}:0.5"])
    }
    assert all(code == 0 for code, _, _ in shots.values())
    assert len({out for _, out, _ in shots.values()}) == 4
    assert "No learned word '<pip>' is known" in shots[()][2]
    assert "note:" not in shots["--embedding", "pip.safetensors"][2]
    assert all(run("replay", out.strip())[0] == 0 for _, out, _ in shots.values())


def test_the_prompt_is_linted(run: Run) -> None:
    _, _, err = run("generate", "a ((red cat, cat++", "--negative", "<pip>")
    assert "note: prompt: Each of 2 '(' is never closed" in err
    assert "compel's emphasis" in err
    assert "No learned word '<pip>' is known" in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--size", "1000x1001"], "height 1001 is not a multiple of 8: use 1000 or 1008"),
        (["--size", "large"], "size 'large' is not a size: write it as 1024x1024"),
        (["--sampler", "eular"], "sampler 'eular' is unknown (did you mean 'euler'?)"),
        (["--steps", "0"], "steps 0 is out of range"),
        (["--init", "gone.png"], "there is no picture at gone.png"),
        (["--init", "torn.png"], "torn.png is torn or not a picture"),
        (["--init", "bomb.png"], "bomb.png is too large"),
        (["--strength", "0.5"], "--strength says how far to go from a picture: give that picture with --init"),
        (["--sheet", "folder"], "'folder' is not the name of a picture: end it in .png"),
        (["--lora", "gone.safetensors:0.5"], "there is no LoRA file at gone.safetensors"),
        (["--embedding", "gone.safetensors"], "there is no embedding file gone.safetensors"),
        (["--size", "9" * 5000 + "x8"], "size '99"),
        (["--settings", "none.toml"], "there is no settings file at none.toml"),
    ],
)
def test_mistakes_end_in_one_sentence_and_write_nothing(
    arguments: list[str], sentence: str, run: Run, project: Path
) -> None:
    Image.effect_noise((64, 64), 90).save(project / "torn.png")
    (project / "torn.png").write_bytes((project / "torn.png").read_bytes()[:2000])
    bomb(project / "bomb.png", 20_000, 10_000)
    before = sorted(made(project))
    code, out, err = run("generate", "a cat", *arguments)
    assert code == 1
    assert err.startswith(f"restage: {sentence}")
    assert err.count("\n") == 1
    assert out == ""
    assert sorted(made(project)) == before


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ('name = "stabilityai/stable-diffusion-xl-base-1.0"', "is not on this machine and the hub cannot be reached"),
        ('name = "nothing"', "there is no model at 'nothing'"),
        ('name = "broken.safetensors"', "broken.safetensors is torn or not a safetensors file"),
        ('vae = "owner/vae"', "VAE 'owner/vae' is not on this machine"),
        ('device = "gpu"', "models.device = 'gpu' is not allowed"),
    ],
)
def test_models_that_cannot_be_had(setting: str, sentence: str, run: Run, project: Path, sdxl_folder: Path) -> None:
    (project / "broken.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0 torn")
    name = "" if setting.startswith("name") else f'name = "{sdxl_folder}"\n'
    (project / "settings.toml").write_text(f"[models]\n{name}{setting}\n")
    before = sorted(made(project))
    code, _, err = run("generate", "a cat")
    assert code == 1
    assert sentence in err
    assert err.count("\n") == 1
    assert sorted(made(project)) == before


def test_replay_of_what_is_no_picture_of_ours(run: Run, project: Path) -> None:
    Image.new("RGB", (8, 8)).save(project / "plain.png")
    bomb(project / "bomb.png", 20_000, 10_000)
    for name, sentence in {
        "plain.png": "plain.png carries no record of how it was made",
        "bomb.png": "bomb.png is too large",
        "gone.png": "there is no picture at gone.png",
    }.items():
        code, out, err = run("replay", name)
        assert (code, out) == (1, "")
        assert err.startswith(f"restage: {sentence}")
        assert err.count("\n") == 1


def test_settings_are_shown_without_secrets(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTAGE_SECRETS__INSTAGRAM_PASSWORD", "planted")
    code, out, _ = run("settings")
    assert code == 0
    assert "rendering.steps" in out
    line = next(line for line in out.splitlines() if line.startswith("secrets.instagram_password"))
    assert line.split() == [
        "secrets.instagram_password",
        "•••",
        "environment,",
        "RESTAGE_SECRETS__INSTAGRAM_PASSWORD",
    ]
    _, as_json, _ = run("settings", "--json")
    assert json.loads(as_json)["rendering.steps"] == {"value": 2, "from": "settings.toml"}
    assert "planted" not in out + as_json


def test_ctrl_c_says_that_what_is_done_is_kept(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = typer.Typer(rich_markup_mode=None)

    @stopped.command()
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", stopped)
    code, _, err = run()
    assert code == 130
    assert "stopped; what is done is kept" in err


def test_help_needs_no_heavy_library() -> None:
    """What makes it quick, whatever the machine: nothing large is imported before a command runs."""
    code = """
import sys
from flows import cli
sys.argv = ["restage", "--help"]
try:
    cli.main()
except SystemExit:
    pass
heavy = {"torch", "diffusers", "transformers", "open_clip", "prefect", "instagrapi", "pydantic", "numpy", "PIL", "rich"}
print("HEAVY", sorted(heavy & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Make pictures of a prompt." in run.stdout
    assert run.stdout.endswith("HEAVY []\n")
