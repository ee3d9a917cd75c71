"""Toybox goes through the same doors as any other model."""

from pathlib import Path

import numpy as np

from models.picture.shot import Shot
from models.scoring import clip
from models.sdxl import locate
from models.sdxl.pipeline import Options
from models.sdxl.renderer import Renderer
from models.toybox import world
from tasks.pictures import generate, replay
from tasks.settings.settings import load_settings
from tasks.store.picture_files import PictureFiles


def test_it_is_a_model_like_any_other() -> None:
    source = locate.locate_model("toybox")
    assert (source.family, source.side, source.ref.name) == ("sdxl", 128, "toybox")
    shot = Shot(prompt="a teal fox", model=source.ref, seed=1, width=128, height=128, steps=4)
    steps: list[int] = []
    (picture,) = Renderer(source, Options(batch_size=2)).generate([shot], steps.append)
    assert steps == [1] * 4
    assert picture.image.size == (128, 128)


def test_the_shipped_settings_make_and_replay_its_pictures(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text((Path(__file__).parents[3] / "settings.toml").read_text())
    loaded = load_settings(tmp_path / "settings.toml")
    machine = generate.model_setup(loaded)
    shots = generate.shots_for_seeds(loaded, machine, "a teal fox in the forest", steps=4)
    (path,) = generate.generate_pictures(shots, machine, PictureFiles(loaded.studio))
    assert replay.replay_picture(path, loaded).verdict == "identical"


def test_its_clip_tells_places_apart() -> None:
    scorer = clip.load_clip("toybox", device="cpu")
    critters = [world.random_critter(np.random.default_rng(n), scene=s) for n, s in enumerate(SCENES)]
    pictures = [vector for _, vector in scorer.encode_pictures([world.draw(critter) for critter in critters])]
    texts = scorer.encode_texts([f"a picture {world.SCENE_PHRASES[scene][0]}" for scene in SCENES])
    nearest = [int((texts @ vector).argmax()) for vector in pictures]
    assert sum(found == wanted for wanted, found in enumerate(nearest)) >= 5


SCENES = ("forest", "beach", "snow", "desert", "city", "sea")
