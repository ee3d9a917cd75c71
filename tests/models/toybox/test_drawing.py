import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from models.toybox import world
from models.toybox.drawing import SIDE, draw, place
from models.toybox.recipe.latents import SHAPES
from models.toybox.recipe.small_details import detail_map


def pixels(critter: world.Critter, size: int | tuple[int, int] = SIDE) -> np.ndarray:
    return np.asarray(draw(critter, size)).astype(int)


def test_equal_critters_give_equal_pixels() -> None:
    assert (pixels(world.PIP) == pixels(dataclasses.replace(world.PIP))).all()


def test_another_seed_gives_another_drawing() -> None:
    assert (pixels(world.PIP) != pixels(dataclasses.replace(world.PIP, seed=1))).any()


@pytest.mark.parametrize("kind", world.KINDS)
@pytest.mark.parametrize("name", [name for name in world.VALUES if name != "kind"])
def test_every_value_of_an_attribute_shows(name: str, kind: str) -> None:
    critter = dataclasses.replace(world.PIP, kind=kind, accessory="scarf")
    drawn = [pixels(dataclasses.replace(critter, **{name: value})) for value in world.VALUES[name]]
    for i, one in enumerate(drawn):
        for other in drawn[i + 1 :]:
            assert (np.abs(one - other).max(-1) > 40).sum() > 60


@pytest.mark.parametrize("prop", world.PROPS[1:])
@pytest.mark.parametrize("framing", world.FRAMINGS)
def test_a_prop_shows_in_every_framing(prop: str, framing: str) -> None:
    critter = dataclasses.replace(world.PIP, framing=framing, scene="meadow")
    empty, holding = (pixels(dataclasses.replace(critter, prop=value)) for value in ("none", prop))
    assert (np.abs(empty - holding).max(-1) > 40).mean() > 0.01


@pytest.mark.parametrize("kind", world.KINDS)
def test_both_eyes_are_there_and_equal(kind: str) -> None:
    """The dark of the left eye is as large as that of the right one, in a drawing that does not tilt."""
    level = next(
        c
        for c in (
            dataclasses.replace(world.PIP, kind=kind, marking="none", colour="yellow", seed=s) for s in range(400)
        )
        if abs(place(c, (SIDE, SIDE)).tilt) < 0.01 and abs(place(c, (SIDE, SIDE)).gaze) < 0.01
    )
    where = place(level, (SIDE, SIDE))
    x, y = (round(v) for v in where.middle)
    reach = round(0.85 * where.radius)
    dark = pixels(level).sum(-1) < 150
    rows = slice(y - round(0.8 * where.radius), y + round(0.2 * where.radius))
    left, right = dark[rows, x - reach : x].sum(), dark[rows, x : x + reach].sum()
    assert left > 20
    assert abs(left - right) < 0.2 * left


@pytest.mark.parametrize("size", SHAPES)
def test_every_shape_is_drawn_in_its_own_proportions_with_all_of_the_critter(size: tuple[int, int]) -> None:
    width, height = size
    for kind in world.KINDS:
        for pose in world.POSES:
            critter = dataclasses.replace(world.PIP, kind=kind, pose=pose, framing="full body", seed=5)
            where = place(critter, size)
            assert draw(critter, size).size == size
            x, y = where.middle
            assert y + where.stance.ground * where.radius < height
            assert y - 2.1 * where.radius > -0.1 * height
            assert 1.3 * where.radius < x < width - 1.3 * where.radius


def test_the_detail_map_finds_the_face() -> None:
    where = place(world.PIP, (224, 288))
    cells = detail_map(world.PIP, 224, 288)
    assert cells.shape == (18, 14)
    x, y = where.middle
    assert cells[int(y) // 16, int(x) // 16] == 1
    assert cells[0, 0] == 0


def test_the_world_knows_nothing_of_drawing() -> None:
    code = "import sys, models.toybox.world; sys.exit(any(n.startswith('PIL') or n.endswith('drawing') for n in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_drawing_does_not_import_torch() -> None:
    code = "import sys, models.toybox.drawing; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
