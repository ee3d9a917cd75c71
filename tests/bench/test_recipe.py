"""The common recipe and the trainer, given the same noise, find the same."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest
import torch

from bench.recipe import Given, Recipe
from bench.training_step import TOKEN, examples, given, load
from models.inversion import Config, train_token
from models.inversion.batches import Batches
from models.inversion.vectors import initial_vectors

CONFIG = Config(
    token=TOKEN, init="fox", vectors=3, steps=3, batch=2, optimizer="adamw", norms=None, clip=0, min_snr=0,
    stages=((64, 1.0),),
)  # fmt: skip


@pytest.fixture(scope="module")
def recipe() -> tuple[Recipe, list[Given]]:
    model = load("toybox", "cpu", 0)
    batches = Batches(model, examples(64), CONFIG)
    batches.encode_latents(model, [64])
    start = initial_vectors(CONFIG, model.encoders)
    return Recipe(model, TOKEN, start, weight_decay=0.0, pooling="end"), [
        given(batches, CONFIG, examples(64), number) for number in range(CONFIG.steps)
    ]


def test_the_same_noise_gives_the_same_losses_and_vectors(recipe: tuple[Recipe, list[Given]]) -> None:
    plain, steps = recipe
    expected = [plain.step(each) for each in steps]
    with closing(train_token(load("toybox", "cpu", 0), examples(64), CONFIG)) as ours:
        records = [(each.loss, each.current_embedding.vectors) for each in ours]
    assert [loss for loss, _ in records] == pytest.approx(expected, rel=1e-4)
    start = initial_vectors(CONFIG, load("toybox", "cpu", 0).encoders)
    for mine, other, first in zip(records[-1][1], plain.vectors, start, strict=True):
        moved = (other - first).norm()
        assert float((mine - other).norm() / moved) < 0.02
        assert float(moved) > 0.01


def test_what_follows_the_word_is_lost_where_the_highest_id_is_the_end(recipe: tuple[Recipe, list[Given]]) -> None:
    plain, steps = recipe
    other = replace(steps[0], captions=[f"{text} by night" for text in steps[0].captions])
    found = {}
    for pooling in ("argmax", "end"):
        plain.pooling = pooling  # type: ignore[assignment]
        with torch.no_grad():
            found[pooling] = float((plain._read(steps[0].captions)[1] - plain._read(other.captions)[1]).norm())
    plain.pooling = "end"
    assert found["argmax"] < 1e-4 < 0.1 < found["end"]
