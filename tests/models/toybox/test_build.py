"""The recipe in miniature: every stage once, then what a kill at a bad moment does."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from torch import nn

from models.toybox.drawing import draw
from models.toybox.recipe import drawings as recipe_drawings
from models.toybox.recipe.build import STAGES, Build
from models.toybox.recipe.drawings import critter_at, drawings
from models.toybox.recipe.latents import SHAPES
from models.toybox.recipe.numbers import TINY, Schedule
from models.toybox.recipe.pixels import to_tensor
from models.toybox.recipe.quick import FILE, FOLDER
from models.toybox.recipe.resumable_training import Training, averaged, finished
from models.toybox.recipe.vae import new_vae, psnr, settle


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    work: Path = tmp_path_factory.mktemp("toybox")
    build = Build(TINY, work, work / "weights", torch.device("cpu"))
    for stage in STAGES:
        getattr(build, stage)()
    return build


def test_every_training_came_to_its_end(build: Build) -> None:
    for stage in ("vae", "words", "unet", "scorer", "polish", "oracle", "identity", "quick"):
        assert finished(build.work / f"{stage}.pt"), stage


def test_all_shapes_became_latents(build: Build) -> None:
    assert [bucket.size for bucket in build.buckets] == list(SHAPES)
    for bucket in build.buckets:
        width, height = bucket.size
        assert bucket.latents.shape[1:] == (TINY.latent_channels, height // 16, width // 16)
        assert bucket.details.shape == (len(bucket.latents), height // 16, width // 16)


def test_the_pipeline_opens_the_folder_and_the_quick_adapter(build: Build) -> None:
    pipeline = StableDiffusionXLPipeline.from_pretrained(build.out, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline.vae_scale_factor == 16

    def picture(width: int, height: int, **given: float) -> np.ndarray:
        generator = torch.Generator().manual_seed(1)
        images = pipeline(
            "a fox", num_inference_steps=2, width=width, height=height, generator=generator, output_type="np", **given
        ).images
        return images[0]

    for width, height in SHAPES[:4]:
        assert picture(width, height).shape == (height, width, 3)
    before = picture(256, 256, guidance_scale=1.0)
    pipeline.load_lora_weights(build.out / FOLDER, weight_name=FILE)
    assert np.abs(picture(256, 256, guidance_scale=1.0) - before).max() > 0


def test_the_exported_adapter_is_the_trained_one_in_every_layer(build: Build) -> None:
    pipeline = StableDiffusionXLPipeline.from_pretrained(build.out, torch_dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # of weights that found no place
        pipeline.load_lora_weights(build.out / FOLDER, weight_name=FILE, adapter_name="quick")
    wanted = averaged(build.work / "quick.pt", "unet.")
    loaded = pipeline.unet.state_dict()
    names = [name for name in wanted if "lora_" in name]
    assert len(names) > 100
    for name in names:
        assert torch.allclose(loaded[name], wanted[name], atol=1e-3), name


def train_line(folder: Path, stop_after: int | None = None, muon: bool = False) -> Training:
    """Teach a line to be y = 2x, perhaps killed on the way."""
    torch.manual_seed(0)
    modules = nn.ModuleDict({"line": nn.Linear(16, 16) if muon else nn.Linear(1, 1)})
    schedule = Schedule(steps=20, batch=4, peak=1e-2, muon=muon)
    training = Training(modules, schedule, folder / "line.pt", 5, torch.device("cpu"))
    size = 16 if muon else 1

    def loss_of(generator: torch.Generator, _: float) -> dict[str, torch.Tensor]:
        x = torch.randn(4, size, generator=generator)
        return {"loss": (modules["line"](x) - 2 * x).pow(2).mean()}

    for row in training.run(loss_of):
        if row["step"] == 10:
            training.save()
        if row["step"] == stop_after:
            break
    return training


@pytest.mark.parametrize("muon", [False, True])
def test_a_killed_training_ends_where_an_undisturbed_one_does(tmp_path: Path, muon: bool) -> None:
    whole = train_line(tmp_path / "whole", muon=muon)
    train_line(tmp_path / "killed", stop_after=13, muon=muon)
    resumed = train_line(tmp_path / "killed", muon=muon)
    assert resumed.step == whole.step == 20
    for one, other in zip(whole.average.parameters(), resumed.average.parameters(), strict=True):
        assert torch.equal(one, other)
    assert [row["loss"] for row in whole.history] == [row["loss"] for row in resumed.history]


def test_a_half_written_checkpoint_is_never_read(tmp_path: Path) -> None:
    train_line(tmp_path)
    (tmp_path / "line.new").write_bytes(b"half")
    assert train_line(tmp_path).step == 20


def test_settled_latents_are_even_and_decode_as_before() -> None:
    torch.manual_seed(1)
    vae = new_vae(TINY).eval().requires_grad_(False)
    pictures = to_tensor(np.random.default_rng(0).integers(0, 255, (8, 64, 64, 3), dtype=np.uint8))
    before = psnr(vae, pictures)
    settle(vae, pictures)
    latents = vae.encode(pictures).latent_dist.mean * vae.config.scaling_factor
    assert torch.allclose(latents.mean((0, 2, 3)), torch.zeros(TINY.latent_channels), atol=1e-3)
    assert torch.allclose(latents.std((0, 2, 3)), torch.ones(TINY.latent_channels), atol=1e-2)
    assert abs(psnr(vae, pictures) - before) < 0.01


def test_drawings_are_the_critters_they_are_numbered_for(tmp_path: Path) -> None:
    drawn = drawings(3, 6, tmp_path / "drawn.npy")
    assert (drawn[5] == np.asarray(draw(critter_at(3, 5)))).all()
    assert (drawings(3, 6, tmp_path / "drawn.npy") == drawn).all()


def test_drawing_goes_on_after_the_last_whole_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = drawings(3, 6, tmp_path / "whole.npy", block=2)
    ranges: list[tuple[int, int]] = []

    def draw_until_killed(*given: object) -> np.ndarray:
        ranges.append(given[-1])  # type: ignore[arg-type]
        if len(ranges) == 2:
            raise KeyboardInterrupt
        return original(*given)  # type: ignore[arg-type]

    original = recipe_drawings.draw_range
    monkeypatch.setattr(recipe_drawings, "draw_range", draw_until_killed)
    with pytest.raises(KeyboardInterrupt):
        drawings(3, 6, tmp_path / "killed.npy", block=2)
    assert not (tmp_path / "killed.npy").exists()
    assert (drawings(3, 6, tmp_path / "killed.npy", block=2) == whole).all()
    assert ranges == [(0, 2), (2, 4), (2, 4), (4, 6)]
