"""The DreamBench protocol from end to end: on toybox, with its own CLIP, two subjects and a list as the public one is written."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image
from transformers import ViTConfig, ViTModel

from bench import dreambench
from bench.dino_v1 import Dino
from bench.dreambench_files import prompts, subjects, worded
from models.errors import UserError
from models.toybox import world
from models.toybox.drawing import draw

SMALL = ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=32)
PUBLIC = """Classes:

subject_name,class
fox_teal,fox
cat1,cat

Prompts:

Object Prompts:

prompt_list = [
'a {0} {1} in the forest'.format(unique_token, class_token),
'a {0} {1} on the beach'.format(unique_token, class_token),
]

Live Subject Prompts:

prompt_list = [
'a {0} {1} wearing a red hat'.format(unique_token, class_token),
]
"""


@pytest.fixture
def asked(tmp_path: Path) -> list[str]:
    """Two subjects with two pictures each, the list, and the folders to work in."""
    for name, kind, colour in (("fox_teal", "fox", "teal"), ("cat1", "cat", "red")):
        for scene in ("forest", "snow"):
            file = tmp_path / "subjects" / name / f"{scene}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            draw(world.Critter(kind=kind, colour=colour, scene=scene)).save(file)
    (tmp_path / "prompts.txt").write_text(PUBLIC)
    said = {"--subjects": "subjects", "--prompts": "prompts.txt", "--work": "work", "--out": "found.json"}
    return [word for name, value in said.items() for word in (name, str(tmp_path / value))]


def run(monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> int:
    quick = [
        "--clip",
        "toybox",
        "--device",
        "cpu",
        "--train-steps",
        "2",
        "--steps",
        "2",
        "--images",
        "2",
        "--batch",
        "2",
    ]
    monkeypatch.setattr(sys, "argv", ["dreambench", *asked, *quick])
    return dreambench.main()


def test_from_pictures_to_the_table(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dino = tmp_path / "dino"
    ViTModel(SMALL, add_pooling_layer=False).save_pretrained(dino)
    assert run(monkeypatch, asked) == 0
    said = capsys.readouterr().out
    assert "DINO is left out" in said
    assert "do not compare" in said
    assert "textual inversion, SD (published)    0.569   0.780   0.255" in said
    found = json.loads((tmp_path / "found.json").read_text())
    assert {row["subject"]: row["pictures"] for row in found["subjects"]} == {"cat1": 2, "fox_teal": 4}
    assert found["summary"]["dino"] is None
    for row in found["subjects"]:
        assert all(-1 <= row[name] <= 1 for name in ("clip_t", "clip_i", "real clip_i"))
    words = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.safetensors")}
    assert run(monkeypatch, [*asked, "--dino", str(dino)]) == 0
    assert "DINO is left out" not in capsys.readouterr().out
    again = json.loads((tmp_path / "found.json").read_text())
    assert all(-1 <= row["dino"] <= 1 for row in again["subjects"])
    assert [row["clip_i"] for row in again["subjects"]] == pytest.approx(
        [r["clip_i"] for r in found["subjects"]], abs=1e-4
    )
    assert run(monkeypatch, asked) == 0
    assert {path: path.stat().st_mtime_ns for path in words} == words, "what was learned is not learned again"


def test_scores_tell_who_and_where() -> None:
    def drawn(kind: str, scene: str) -> Image.Image:
        return draw(world.Critter(kind=kind, colour="teal" if kind == "fox" else "red", scene=scene))

    scorers = dreambench.Scorers("toybox", None, "cpu")
    made, said = [drawn("fox", "snow"), drawn("fox", "beach")], ["a fox in the snow", "a fox on the beach"]
    right = scorers.measure(made, said, [drawn("fox", "snow"), drawn("fox", "beach"), drawn("fox", "forest")])
    wrong = scorers.measure(made, said[::-1], [drawn("cat", "forest"), drawn("cat", "city")])
    assert right["clip_i"] > wrong["clip_i"] + 0.1
    assert right["clip_t"] > wrong["clip_t"] + 0.05
    assert right["real clip_i"] < 1


def test_the_public_list_tells_living_subjects_from_objects(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text(PUBLIC)
    found = prompts(tmp_path / "prompts.txt")
    assert found.of("cat1") == ["a {0} {1} wearing a red hat"]
    assert found.of("fox_teal") == ["a {0} {1} in the forest", "a {0} {1} on the beach"]
    assert found.class_of("fox_teal") == "fox"
    assert found.class_of("red_cartoon2") == "red cartoon"
    assert worded(found.objects[0], "<subject>") == "a <subject> in the forest"


def test_plain_lines_are_prompts_too(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a {0} in the snow\n\na {0} at night\n")
    assert prompts(tmp_path / "prompts.txt").objects == ["a {0} in the snow", "a {0} at night"]


@pytest.mark.parametrize(("text", "said"), [("nothing\n", "holds no prompts"), (None, "cannot be read as text")])
def test_a_list_that_is_none(text: str | None, said: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "prompts.txt").write_text(text)
    with pytest.raises(UserError, match=said):
        prompts(tmp_path / "prompts.txt")


def test_folders_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no folders with pictures"):
        subjects(tmp_path)
    with pytest.raises(UserError, match="there is no folder"):
        subjects(tmp_path / "none")


def test_weights_that_do_not_fit_are_no_dino(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder of a DINO model"):
        Dino(tmp_path)
    ViTModel(SMALL, add_pooling_layer=False).save_pretrained(tmp_path)
    Dino(tmp_path, "cpu")
    deeper = ViTConfig(**SMALL.to_dict() | {"num_hidden_layers": 2})
    deeper.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="its weights lack"):
        Dino(tmp_path)
