"""Grids over two fields of a shot, by the command."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from flows.cli import app
from models.sdxl.embedding import Embedding, EmbeddingMetadata, read_embedding
from models.system.errors import UserError
from models.toybox import weights_folder
from tasks.render.grid_page import GridAxis, grid_cells, parse_axis
from tasks.settings.settings import load_settings
from tasks.store.store import Store
from tasks.training import versions

REPOSITORY = Path(__file__).parents[3]
SETTINGS = '[models]\nname = "toybox"\n[rendering]\nsteps = 2\n'


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    here = tmp_path / "place"
    (here / "prompts").mkdir(parents=True)
    (here / "settings.toml").write_text(SETTINGS)
    shutil.copy(REPOSITORY / "prompts" / "pip.toml", here / "prompts")
    monkeypatch.chdir(here)
    return here


def restage(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def made(place: Path) -> list[Path]:
    return sorted((place / "studio" / "artifacts").rglob("*.png"))


def keep_version(place: Path, value: float) -> None:
    widths = [
        json.loads((weights_folder() / each / "config.json").read_text())["hidden_size"]
        for each in ("text_encoder", "text_encoder_2")
    ]
    word = Embedding("<pip>", tuple(torch.full((1, width), value) for width in widths))
    store = Store.open("", place / "studio")
    number = versions.save_version(store, place / "studio", "pip", word, EmbeddingMetadata()).number
    versions.make_current(store, "pip", number, "a test", "a test")
    store.close()


def test_an_axis_is_a_field_and_its_values() -> None:
    assert parse_axis("guidance=3,5,7.5") == GridAxis("guidance", (3.0, 5.0, 7.5))
    assert parse_axis("seed=1, 2") == GridAxis("seed", (1, 2))
    assert parse_axis("prompt=a cat, red; a dog") == GridAxis("prompt", ("a cat, red", "a dog"))
    assert parse_axis("guidance-until=0.5,1").field == "guidance_until"
    assert parse_axis("negative=; blurry") == GridAxis("negative", ("", "blurry"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("guidance", "axis 'guidance' is not field=values: write it as guidance=3,5,7.5"),
        ("gidance=3", "axis 'gidance=3': gidance is no field of a shot: did you mean guidance?"),
        ("steps=3,x", "axis 'steps=3,x': 'x' is no whole number: write it as steps=1,2"),
        ("guidance=3,,4", "axis 'guidance=3,,4' has an empty value: take it out, or say what it should be"),
        ("seed=1,2,1", "axis 'seed=1,2,1' has 1 twice: take one of them out"),
    ],
)
def test_what_is_wrong_with_an_axis_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=re.escape(sentence)):
        parse_axis(text)


def test_too_many_cells_and_one_field_twice_are_refused() -> None:
    many = GridAxis("seed", tuple(range(21)))
    with pytest.raises(UserError, match="21 x 10 are 210 cells: ask for at most 200"):
        grid_cells(many, GridAxis("steps", tuple(range(1, 11))))
    with pytest.raises(UserError, match="both axes are seed"):
        grid_cells(many, GridAxis("seed", (1,)))
    assert len(grid_cells(GridAxis("seed", tuple(range(20))), GridAxis("steps", tuple(range(1, 11))))) == 200


def test_a_grid_is_a_picture_and_a_page(place: Path) -> None:
    done = restage(
        "grid", "pip", "--x", "guidance=2,4,7", "--y", "seed=1,2", "--prompt", "{subject} <b>in</b> the snow"
    )
    assert done.exit_code == 0, done.output
    png, page = map(Path, done.stdout.split())
    assert len(made(place)) == 6
    sheet = Image.open(png)
    assert sheet.width > 3 * 256
    assert sheet.height > 2 * 256
    text = page.read_text()
    assert text.count("<img") == 6
    assert "guidance 4<" in text
    assert "<b>in</b>" not in text
    assert "http" not in text, "the page stands alone"


def test_stopped_it_goes_on_where_it_was_and_a_larger_one_makes_only_what_is_new(place: Path) -> None:
    assert restage("grid", "pip", "--x", "guidance=2,4").exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in made(place)}
    assert restage("grid", "pip", "--x", "guidance=2,4,7", "--y", "seed=0,1").exit_code == 0
    assert len(made(place)) == 6
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_versions_of_the_word_stand_beside_none(place: Path) -> None:
    keep_version(place, 0.01)
    keep_version(place, 0.02)
    done = restage("grid", "pip", "--x", "embedding=none,v1,v2", "--prompt", "a portrait of {subject}")
    assert done.exit_code == 0, done.output
    assert len({path.read_bytes() for path in made(place)}) == 3
    unknown = restage("grid", "pip", "--x", "embedding=v7", "--prompt", "a portrait of {subject}")
    assert isinstance(unknown.exception, UserError)
    assert "7" in str(unknown.exception)
    assert load_settings(place / "settings.toml").studio == place / "studio"
    assert read_embedding(next((place / "studio" / "embeddings" / "pip").glob("v1*"))).vector_count == 1


def test_a_prompt_with_the_token_needs_a_version(place: Path) -> None:
    done = restage("grid", "pip", "--x", "seed=1,2", "--prompt", "a portrait of <pip>")
    assert "no version of it is in use: write {subject} in its place" in str(done.exception)
