import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline

from bench.oracle import Oracle, load_oracle
from bench.toybox_clip import Scorer, triples, zero_shot
from models import toybox
from models.toybox import world
from models.toybox.drawing import SIDE, draw
from models.toybox.recipe.pixels import to_tensor
from models.toybox.recipe.vae import psnr


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionXLPipeline:
    pipeline = StableDiffusionXLPipeline.from_pretrained(toybox.folder(), torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return load_oracle()


def test_the_oracle_knows_drawings(oracle: Oracle) -> None:
    rng = np.random.default_rng(40)
    critters = [world.random_critter(rng) for _ in range(24)]
    seen = oracle.name([draw(critter) for critter in critters])
    right = [seen[i].get(name) == value for i, c in enumerate(critters) for name, value in world.truth(c).items()]
    assert np.mean(right) > 0.9


def test_pictures_show_what_the_prompt_says(pipeline: StableDiffusionXLPipeline, oracle: Oracle) -> None:
    wishes = [("red", "bear", "in the snow", "snow"), ("blue", "owl", "at night", "night")]
    wishes += [("green", "frog", "on the beach", "beach"), ("orange", "fox", "in the city", "city")]
    prompts = [f"a portrait of a {colour} {kind} {place}" for colour, kind, place, _ in wishes]
    seeds = [torch.Generator().manual_seed(i) for i in range(len(prompts))]
    made = pipeline(
        prompts, num_inference_steps=15, guidance_scale=4.0, generator=seeds, height=SIDE, width=SIDE
    ).images
    answers = oracle.name(made)
    right = [
        answer[name] == value
        for answer, (colour, kind, _, scene) in zip(answers, wishes, strict=True)
        for name, value in (("colour", colour), ("kind", kind), ("scene", scene))
    ]
    assert np.mean(right) >= 0.9


def test_accessories_and_traits_are_obeyed_when_named(pipeline: StableDiffusionXLPipeline, oracle: Oracle) -> None:
    rng = np.random.default_rng(43)
    critters = [world.random_critter(rng, accessory=str(rng.choice(["hat", "scarf", "crown"]))) for _ in range(8)]
    prompts = [world.caption(critter, rng, traits=1.0) for critter in critters]
    seeds = [torch.Generator().manual_seed(i) for i in range(len(prompts))]
    made = pipeline(
        prompts, num_inference_steps=20, guidance_scale=4.0, generator=seeds, height=SIDE, width=SIDE
    ).images
    answers = oracle.name(made)
    for names, least in ((("accessory", "accessory_colour"), 0.7), (("belly", "eyes"), 0.7)):
        right = [a.get(name) == getattr(c, name) for a, c in zip(answers, critters, strict=True) for name in names]
        assert np.mean(right) >= least, names


def test_the_vae_gives_drawings_back(pipeline: StableDiffusionXLPipeline) -> None:
    rng = np.random.default_rng(41)
    drawn = to_tensor(np.stack([np.asarray(draw(world.random_critter(rng))) for _ in range(8)]))
    assert psnr(pipeline.vae, drawn) > 25


def test_the_second_encoder_pools_at_the_end_of_the_text(pipeline: StableDiffusionXLPipeline) -> None:
    assert pipeline.text_encoder_2.config.eos_token_id == pipeline.tokenizer_2.eos_token_id


def test_clip_sees_single_attributes_and_identity() -> None:
    scorer = Scorer()
    assert zero_shot(scorer, 40) > 0.85
    assert triples(scorer, 40) > 0.85


def test_clip_tells_a_true_caption_from_a_false_one() -> None:
    scorer = Scorer()
    picture = scorer.pictures([draw(world.PIP)])
    true, false = scorer.texts(["a portrait of a teal fox in the forest", "a portrait of a pink owl in the desert"])
    assert picture @ true > picture @ false
