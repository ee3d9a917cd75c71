from pathlib import Path

import numpy as np
import torch
from torch import nn

from models.toybox.recipe.resumable_training import Course
from models.toybox.recipe.drawings import critter_at, drawings
from models.toybox.recipe.numbers import TINY, Schedule
from models.toybox.recipe.vae import new_vae, psnr, settle, to_tensor


def straight(folder: Path, stop_after: int | None = None) -> Course:
    """A line learning to be y = 2x, perhaps killed on the way."""
    torch.manual_seed(0)
    modules = nn.ModuleDict({"line": nn.Linear(1, 1)})
    course = Course(modules, Schedule(steps=20, batch=4, peak=1e-2), folder / "line.pt", 5, torch.device("cpu"))

    def loss_of(generator: torch.Generator, _: float) -> dict[str, torch.Tensor]:
        x = torch.randn(4, 1, generator=generator)
        return {"loss": (modules["line"](x) - 2 * x).pow(2).mean()}

    for row in course.run(loss_of, every=5):
        if row["step"] == stop_after:
            break
    return course


def test_a_killed_training_ends_where_an_undisturbed_one_does(tmp_path: Path) -> None:
    whole = straight(tmp_path / "whole")
    straight(tmp_path / "killed", stop_after=13)
    resumed = straight(tmp_path / "killed")
    assert resumed.step == whole.step == 20
    for one, other in zip(whole.average.parameters(), resumed.average.parameters(), strict=True):
        assert torch.equal(one, other)
    assert whole.history == resumed.history or [r["loss"] for r in whole.history] == [
        r["loss"] for r in resumed.history
    ]


def test_a_half_written_checkpoint_is_never_read(tmp_path: Path) -> None:
    straight(tmp_path)
    (tmp_path / "line.new").write_bytes(b"half")
    assert straight(tmp_path).step == 20


def test_settled_latents_are_even_and_decode_as_before() -> None:
    torch.manual_seed(1)
    vae = new_vae(TINY).eval().requires_grad_(False)
    pictures = to_tensor(np.random.default_rng(0).integers(0, 255, (8, 64, 64, 3), dtype=np.uint8))
    before = psnr(vae, pictures)
    settle(vae, pictures)
    latents = vae.encode(pictures).latent_dist.mean * vae.config.scaling_factor
    assert torch.allclose(latents.mean((0, 2, 3)), torch.zeros(16), atol=1e-3)
    assert torch.allclose(latents.std((0, 2, 3)), torch.ones(16), atol=1e-2)
    assert abs(psnr(vae, pictures) - before) < 0.01


def test_drawings_are_the_critters_they_are_numbered_for(tmp_path: Path) -> None:
    from models.toybox import world

    shelf = drawings(3, 6, tmp_path / "shelf.npy")
    assert (shelf[5] == np.asarray(world.draw(critter_at(3, 5)))).all()
    assert (drawings(3, 6, tmp_path / "shelf.npy") == shelf).all()
