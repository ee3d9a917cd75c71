"""A shot's id stands for its pixels: what changes them changes it, what does not, does not."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.picture.shot import SAMPLERS, Lora, Ref, Shot, sampler_name
from models.system.errors import UserError

BASE = Shot(prompt="a fox", model=Ref("toybox", "m1"), seed=1, width=64, height=64)


def test_today_id_is_the_id_of_tomorrow() -> None:
    """Pictures are found by this id: a change here orphans every picture that anybody has."""
    assert BASE.id == "4609e30e3ff33c5482fd751b"


CHANGES = {
    "prompt": "a cat",
    "model": Ref("toybox", "m2"),
    "seed": 2,
    "width": 72,
    "height": 72,
    "negative": "a hat",
    "steps": 26,
    "guidance": 5.5,
    "guidance_until": 0.8,
    "sampler": "ddim",
    "vae": Ref("other", "v1"),
    "embeddings": (Ref("pip", "e1"),),
    "loras": (Lora("ink", "l1", 0.8),),
    "init": Ref("sketch.png", "p1"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_part_of_a_shot_changes_its_id(name: str) -> None:
    assert BASE.with_changes(**{name: CHANGES[name]}).id != BASE.id


def test_every_field_is_covered_above() -> None:
    assert {field.name for field in dataclasses.fields(Shot)} == CHANGES.keys() | {"strength"}


def test_weight_of_a_lora_and_strength_of_an_init_change_the_id() -> None:
    worn = BASE.with_changes(loras=(Lora("ink", "l1", 0.8),))
    assert worn.id != BASE.with_changes(loras=(Lora("ink", "l1", 0.7),)).id
    begun = BASE.with_changes(init=Ref("sketch.png", "p1"), strength=0.5)
    assert begun.id != begun.with_changes(strength=0.6).id


def test_names_and_paths_are_not_identity() -> None:
    moved = BASE.with_changes(model=Ref("/elsewhere/toybox", "m1"))
    assert moved == BASE
    assert moved.id == BASE.id


def test_strength_without_an_init_picture_plays_no_part() -> None:
    assert BASE.with_changes(strength=0.9) == BASE


def test_whole_and_broken_numbers_of_the_same_value_are_equal() -> None:
    assert BASE.with_changes(guidance=7).id == BASE.with_changes(guidance=7.0).id


def test_zero_has_one_sign() -> None:
    assert BASE.with_changes(guidance=-0.0).id == BASE.with_changes(guidance=0.0).id


def test_the_weight_of_a_lora_is_a_number() -> None:
    with pytest.raises(UserError, match="the weight of a LoRA nan is not a number"):
        Lora("ink", "l1", float("nan"))


@given(
    prompt=st.text(min_size=1),
    seed=st.integers(0, 2**63 - 1),
    guidance=st.floats(0, 100),
    side=st.integers(1, 512).map(lambda n: n * 8),
    sampler=st.sampled_from(sorted(SAMPLERS)),
)
def test_json_keeps_a_shot(prompt: str, seed: int, guidance: float, side: int, sampler: str) -> None:
    shot = BASE.with_changes(prompt=prompt, seed=seed, guidance=guidance, width=side, sampler=sampler)
    shot = shot.with_changes(loras=(Lora("ink", "l1", 0.8),), init=Ref("a.png", "p"))
    again = Shot.from_dict(json.loads(json.dumps(shot.as_dict())))
    assert again == shot
    assert again.id == shot.id


def test_a_shot_of_a_newer_version_is_refused() -> None:
    with pytest.raises(UserError, match=r"does not know \(camera\): update restage"):
        Shot.from_dict(BASE.as_dict() | {"camera": "top"})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"width": 1000, "height": 1001}, "height 1001 is not a multiple of 8: use 1000 or 1008"),
        ({"width": 0}, "width 0 is out of range: use 8 to 4096"),
        ({"width": 4104}, "width 4104 is out of range: use 8 to 4096"),
        ({"steps": 0}, "steps 0 is out of range: use 1 to 500"),
        ({"steps": 2.5}, "steps 2.5 is not a whole number"),
        ({"steps": 51, "sampler": "lcm"}, "steps 51 is out of range: use 1 to 50"),
        ({"prompt": "caf\udce9"}, "is not text: write it in UTF-8"),
        ({"negative": None}, "negative None is not text"),
        ({"seed": -1}, "seed -1 is out of range"),
        ({"guidance": float("nan")}, "guidance nan is not a number"),
        ({"guidance_until": 1.5}, "guidance_until 1.5 is out of range: use 0 to 1"),
        ({"init": Ref("a.png", "p"), "strength": 0.01}, "strength 0.01 leaves none of the 25 steps: use 0.04 or more"),
        ({"sampler": "eular"}, "sampler 'eular' is unknown .did you mean 'euler'..: use one of euler, euler a"),
    ],
)
def test_bad_values_are_refused_in_one_sentence(changes: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        BASE.with_changes(**changes)


@pytest.mark.parametrize(("written", "meant"), [("Euler_a", "euler a"), ("DPMpp 2M-Karras", "dpm++ 2m karras")])
def test_samplers_go_by_the_spellings_people_use(written: str, meant: str) -> None:
    assert sampler_name(written) == meant
