"""Which models look at pictures, by the names that the settings give them."""

from pathlib import Path

import numpy as np
import pytest

from models import toybox
from models.errors import UserError
from models.toybox import world
from models.toybox.drawing import draw
from tasks.scorers import check_identity, identity_source, scorers
from tasks.settings import Loaded, load
from tests import tiny
from tests.models.test_dino import make_model


def loaded(folder: Path, name: str) -> Loaded:
    (folder / "settings.toml").write_text(f'[references]\nidentity_scorer = "{name}"\n')
    return load(folder / "settings.toml")


def test_without_a_name_clip_compares_characters(tmp_path: Path) -> None:
    assert scorers(loaded(tmp_path, ""))[1] is None


@pytest.mark.parametrize(
    ("name", "is_clip", "means"),
    [
        ("toybox", True, str(toybox.folder() / "identity")),
        ("clip:ViT-B-32:laion2b_s34b_b79k", True, "ViT-B-32:laion2b_s34b_b79k"),
        ("clip:eye", True, "{folder}/eye"),
        ("dinov2:eye", False, "dinov2:{folder}/eye"),
        ("dinov3:owner/name", False, "dinov3:owner/name"),
        ("eye", False, "{folder}/eye"),
    ],
)
def test_what_a_name_means(tmp_path: Path, name: str, is_clip: bool, means: str) -> None:
    (tmp_path / "eye").mkdir()
    assert identity_source(loaded(tmp_path, name)) == (is_clip, means.format(folder=tmp_path))


@pytest.mark.parametrize("kind", ["clip", "dinov3"])
def test_the_named_model_looks_at_who_it_is(tmp_path: Path, kind: str) -> None:
    if kind == "clip":
        tiny.tiny_clip(tmp_path / "eye")
    else:
        make_model(tmp_path / "eye", seed=0, kind="dinov3_convnext")
    known = loaded(tmp_path, f"{kind}:eye")
    check_identity(known)
    whole, who = scorers(known)
    assert who is not None and who.model_hash != whole.model_hash
    assert who.weights.parent == tmp_path / "eye"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("clip:./nowhere", "there is no CLIP model folder at ./nowhere"),
        ("dinov2:nowhere", "there is no DINO model folder at nowhere"),
        ("toybux", "there is no DINO model folder at toybux"),
    ],
)
def test_a_model_that_is_not_there_is_named(tmp_path: Path, name: str, says: str) -> None:
    known = loaded(tmp_path, name)
    for look in (check_identity, scorers):
        with pytest.raises(UserError, match=f"^{says}"):
            look(known)


def test_the_scorer_that_ships_knows_pip_in_any_scene_from_a_sister_in_the_same_one(tmp_path: Path) -> None:
    _, eye = scorers(loaded(tmp_path, "toybox"))
    assert eye is not None
    rng = np.random.default_rng(5)
    pip = {name: getattr(world.PIP, name) for name in world.IDENTITY}
    right = 0
    for _ in range(20):
        here = world.random_critter(rng, **pip, accessory="none")
        there = world.random_critter(rng, **pip, accessory="none")
        sister = world.random_critter(
            rng, **(pip | {"eyes": "sleepy"}), scene=here.scene, framing=here.framing, accessory="none", seed=here.seed
        )
        one, same, other = (vector for _, vector in eye.pictures([draw(each) for each in (here, there, sister)]))
        right += one @ same > one @ other
    assert right >= 19
