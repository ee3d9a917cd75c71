import dataclasses

import numpy as np
import pytest

from models.toybox import world


def pixels(critter: world.Critter) -> np.ndarray:
    return np.asarray(world.draw(critter))


def test_equal_critters_give_equal_pixels() -> None:
    assert (pixels(world.PIP) == pixels(dataclasses.replace(world.PIP))).all()


def test_another_seed_gives_another_drawing() -> None:
    assert (pixels(world.PIP) != pixels(dataclasses.replace(world.PIP, seed=1))).any()


@pytest.mark.parametrize("name", [name for name in world.VALUES if name != "accessory_colour"])
def test_every_value_of_an_attribute_shows(name: str) -> None:
    critter = dataclasses.replace(world.PIP, accessory="scarf")
    drawn = [pixels(dataclasses.replace(critter, **{name: value})) for value in world.VALUES[name]]
    for i, one in enumerate(drawn):
        for other in drawn[i + 1 :]:
            assert np.abs(one.astype(int) - other).max() > 60


def test_a_portrait_format_is_drawn_in_its_own_proportions() -> None:
    assert world.draw(world.PIP, (128, 160)).size == (128, 160)


def test_truth_leaves_out_the_colour_of_what_is_not_there() -> None:
    bare = dataclasses.replace(world.PIP, accessory="none", marking="none")
    assert not {"accessory_colour", "marking_colour"} & world.truth(bare).keys()
    assert world.truth(dataclasses.replace(world.PIP, accessory="hat"))["accessory_colour"] == "red"


def test_a_caption_that_says_everything_names_every_visible_value() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        critter = world.random_critter(rng)
        caption = world.caption(critter, rng, traits=1.0)
        for name in ("kind", "colour", "accessory_colour", "belly", "eyes", "marking_colour"):
            assert world.truth(critter).get(name, "") in caption
        assert any(phrase in caption for phrase in world.SCENE_PHRASES[critter.scene])
        assert any(phrase in caption for phrase in world.FRAMING_PHRASES[critter.framing])


def test_a_caption_that_names_no_traits_leaves_them_open() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        caption = world.caption(world.random_critter(rng), rng)
        assert not any(word in caption for word in ("belly", "eyes", "stripe", "patch", "mask"))


def test_a_word_of_its_own_stands_in_for_kind_and_colour() -> None:
    caption = world.caption(world.PIP, np.random.default_rng(2), subject="<pip>")
    assert "<pip>" in caption
    assert "fox" not in caption
    assert "teal" not in caption


def test_random_critters_never_hide_a_part() -> None:
    rng = np.random.default_rng(3)
    assert all(world.fits(world.random_critter(rng)) for _ in range(300))


def test_fixed_attributes_are_kept() -> None:
    rng = np.random.default_rng(4)
    assert {world.random_critter(rng, kind="owl", scene="sea").kind for _ in range(20)} == {"owl"}


def test_identity_forgets_scene_and_clothes_but_not_traits() -> None:
    elsewhere = dataclasses.replace(world.PIP, scene="night", accessory="hat", framing="close-up", seed=9)
    assert world.identity(elsewhere) == world.identity(world.PIP)
    assert world.identity(dataclasses.replace(world.PIP, belly="rose")) != world.identity(world.PIP)
