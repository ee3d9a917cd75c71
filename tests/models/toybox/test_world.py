import dataclasses

import numpy as np
import pytest

from models.toybox import world


def test_truth_leaves_out_the_colour_of_what_is_not_there() -> None:
    bare = dataclasses.replace(world.PIP, accessory="none", marking="none")
    assert not {"accessory_colour", "marking_colour"} & world.truth(bare).keys()
    assert world.truth(dataclasses.replace(world.PIP, accessory="hat"))["accessory_colour"] == "red"


def test_a_close_up_does_not_show_the_pose() -> None:
    near = dataclasses.replace(world.PIP, framing="close-up", pose="running")
    assert "pose" not in world.truth(near)
    assert "running" not in world.caption(near, np.random.default_rng(0))


def test_the_scene_called_night_is_always_dark() -> None:
    assert world.truth(dataclasses.replace(world.PIP, scene="night"))["light"] == "night"


def test_a_caption_that_says_everything_names_every_visible_value() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        critter = world.random_critter(rng)
        caption = world.caption(critter, rng, traits=1.0)
        for name in ("kind", "colour", "accessory_colour", "belly", "eyes", "marking_colour"):
            assert world.truth(critter).get(name, "") in caption
        assert any(phrase in caption for phrase in world.SCENE_PHRASES[critter.scene])
        assert any(phrase in caption for phrase in world.FRAMING_PHRASES[critter.framing])
        assert critter.prop == "none" or any(phrase in caption for phrase in world.PROP_PHRASES[critter.prop])


@pytest.mark.parametrize("light", ["sunset", "night"])
def test_an_unusual_light_is_named(light: str) -> None:
    caption = world.caption(dataclasses.replace(world.PIP, scene="city", light=light), np.random.default_rng(0))
    assert any(phrase in caption for phrase in world.LIGHT_PHRASES[light])


def test_night_alone_is_the_hill_under_the_stars() -> None:
    """`at night` without a place means the scene; another place in the dark is then said in other words."""
    rng = np.random.default_rng(0)
    city = dataclasses.replace(world.PIP, scene="city", light="night")
    captions = [world.caption(city, rng, open_share=0.5) for _ in range(200)]
    placeless = [
        caption for caption in captions if not any(phrase in caption for phrase in world.SCENE_PHRASES["city"])
    ]
    assert placeless
    assert not any("at night" in caption or "by night" in caption for caption in placeless)


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


def test_identity_forgets_scene_clothes_and_pose_but_not_traits() -> None:
    elsewhere = dataclasses.replace(
        world.PIP,
        scene="night",
        accessory="hat",
        framing="close-up",
        prop="balloon",
        pose="jumping",
        light="sunset",
        seed=9,
    )
    assert world.identity(elsewhere) == world.identity(world.PIP)
    assert world.identity(dataclasses.replace(world.PIP, belly="rose")) != world.identity(world.PIP)


def test_words_of_the_first_toybox_are_still_words() -> None:
    assert {"fox", "cat", "rabbit", "bear", "frog", "owl"} <= set(world.KINDS)
    assert {"forest", "beach", "snow", "desert", "city", "meadow", "night", "sea"} == set(world.SCENES)
    assert "under the stars" in world.SCENE_PHRASES["night"]
