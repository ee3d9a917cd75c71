"""Toybox goes through the same doors as any other model."""

from pathlib import Path

import numpy as np

from models import clip, registry
from models.loading import Options
from models.sdxl import Model
from models.shot import Shot
from models.toybox import world
from models.toybox.drawing import SIDE, draw
from tasks import generate, replay
from tasks.artifacts import Artifacts
from tasks.settings import load


def test_it_is_a_model_like_any_other() -> None:
    source = registry.locate("toybox")
    assert (source.family, source.side, source.ref.name) == ("sdxl", SIDE, "toybox")
    shot = Shot(prompt="a teal fox", model=source.ref, seed=1, width=SIDE, height=SIDE, steps=4)
    steps: list[int] = []
    (picture,) = Model(source, Options(batch_size=2)).generate([shot], steps.append)
    assert steps == [1] * 4
    assert picture.image.size == (SIDE, SIDE)


def test_the_shipped_settings_make_and_replay_its_pictures(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text((Path(__file__).parents[3] / "settings.toml").read_text())
    loaded = load(tmp_path / "settings.toml")
    machine = generate.machine(loaded)
    shots = generate.shots(loaded, machine, "a teal fox in the forest", steps=4)
    (path,) = generate.generate(shots, machine, Artifacts(loaded.studio))
    assert replay.replay(path, loaded).verdict == "identical"


def test_its_clip_tells_places_apart() -> None:
    scorer = clip.load("toybox", device="cpu")
    critters = [world.random_critter(np.random.default_rng(n), scene=s) for n, s in enumerate(SCENES)]
    pictures = [vector for _, vector in scorer.pictures([draw(critter) for critter in critters])]
    texts = scorer.texts([f"a picture {world.SCENE_PHRASES[scene][0]}" for scene in SCENES])
    nearest = [int((texts @ vector).argmax()) for vector in pictures]
    assert sum(found == wanted for wanted, found in enumerate(nearest)) >= 5


SCENES = ("forest", "beach", "snow", "desert", "city", "sea")
