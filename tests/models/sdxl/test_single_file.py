"""Checkpoints of one file: the same pixels as the folder they were made from, or one sentence on what is wrong."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.picture.shot import Shot
from models.sdxl import locate, pipeline
from models.sdxl.locate import ModelSource
from models.sdxl.pipeline import Options
from models.sdxl.renderer import Renderer
from models.system.errors import UserError
from tests.support import single_file, tiny

MAKERS: dict[str, Callable[..., Any]] = {"sdxl": tiny.tiny_sdxl, "sd1": tiny.tiny_sd1}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The weights of the folders in `conftest`, each in one file."""
    folder = tmp_path_factory.mktemp("files")
    return {
        family: single_file.write_single_file(make(), folder / f"{family}.safetensors")
        for family, make in MAKERS.items()
    }


@pytest.fixture
def other(sdxl_folder: Path, tmp_path: Path) -> Callable[..., str]:
    """The SDXL folder with something else in the configuration of one part, and without weights."""

    def made(part: str, **changes: Any) -> str:
        copy = shutil.copytree(sdxl_folder, tmp_path / "other", ignore=shutil.ignore_patterns("*.safetensors"))
        config = json.loads((copy / part / "config.json").read_text())
        (copy / part / "config.json").write_text(json.dumps(config | changes))
        return str(copy)

    return made


def pixels(source: ModelSource, options: Options, shot: Shot) -> list[str]:
    """The hashes of one batch."""
    shot = shot.with_changes(model=source.ref, vae=options.vae.ref if options.vae else None)
    shots = [shot.with_changes(seed=seed) for seed in range(options.batch_size)]
    return [picture.provenance.pixels for picture in Renderer(source, options).generate(shots)]


@pytest.mark.parametrize("family", ["sdxl", "sd1"])
def test_file_and_folder_make_the_same_pixels(
    family: str, files: dict[str, Path], shot: Shot, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(family)
    one = locate.locate_model(str(files[family]), config=str(folder.path))
    assert (one.family, one.files) == (family, (files[family],))
    options = Options(batch_size=4)
    assert pixels(one, options, shot) == pixels(folder, options, shot)


def test_the_configuration_is_part_of_what_a_file_is(files: dict[str, Path], other: Callable[..., str]) -> None:
    """It says how prompts are cut and latents scaled, so two configurations are two models."""
    bare, with_one = (
        locate.locate_model(str(files["sdxl"]), config=each) for each in ("", other("vae", scaling_factor=2.0))
    )
    assert bare.ref != with_one.ref


def test_the_place_of_weights_in_a_file_does_not_reach_the_bits(sdxl_folder: Path, tmp_path: Path) -> None:
    """The header moves the weights by steps of eight bytes, and sums on a CPU care about steps of 64."""
    folder, ids, found = shutil.copytree(sdxl_folder, tmp_path / "moved"), torch.arange(77)[None], set()
    path = folder / "text_encoder_2" / "model.safetensors"
    for moved in (0, 1, 2, 3):
        save_file(load_file(path), path, {"format": "pt", "moved": " " * 8 * moved})
        pipe = pipeline.load_pipeline(locate.locate_model(str(folder)), Options(), "cpu", "fp32")
        with torch.no_grad():
            found.add(pipe.text_encoder_2(ids).text_embeds.numpy().tobytes())
    assert len(found) == 1


def test_a_configuration_needs_no_weights(files: dict[str, Path], other: Callable[..., str]) -> None:
    model = Renderer(locate.locate_model(str(files["sdxl"]), config=other("unet")), Options())
    assert torch.equal(next(model.pipe.unet.parameters()), next(tiny.tiny_sdxl().unet.parameters()))


@pytest.mark.timeout(60)  # and it does not wait for the hub
@pytest.mark.parametrize("family", ["sdxl", "sd1"])
def test_without_configuration_and_without_hub(
    family: str, files: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    one = locate.locate_model(str(files[family]))
    with pytest.raises(UserError, match=rf"{family}\.safetensors is a single file without its configuration, and the"):
        Renderer(one, Options())
    with pytest.raises(UserError, match=r"needs the configuration 'owner/name', and the hub .* cannot be reached: set"):
        Renderer(replace(one, config="owner/name"), Options())
    assert capfd.readouterr() == ("", "")


def test_a_torn_file_is_named(files: dict[str, Path], sdxl_folder: Path, tmp_path: Path) -> None:
    path, whole = tmp_path / "torn.safetensors", files["sdxl"].read_bytes()
    path.write_bytes(whole)
    source = locate.locate_model(str(path), config=str(sdxl_folder))
    for length in (len(whole) // 2, 100, 4, 0):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"torn\.safetensors is torn or not a safetensors file .*: get the file"):
            locate.locate_model(str(path))
        with pytest.raises(UserError, match=r"torn\.safetensors cannot be loaded \(.*\): get its files again"):
            Renderer(source, Options())


@pytest.mark.parametrize(
    ("part", "changes", "why"),
    [
        ("unet", {"block_out_channels": [32, 64]}, "time_embedding.*expected shape"),
        ("unet", {"transformer_layers_per_block": [1, 1]}, r"its unet holds \d+ numbers, not \d+"),
        ("unet", {"transformer_layers_per_block": [1, 3]}, "weights are missing"),
        ("unet", {"addition_embed_type": None}, r"its unet holds \d+ numbers, not \d+"),
        ("vae", {"layers_per_block": 2}, "weights are missing"),
        ("text_encoder", {"num_hidden_layers": 2}, r"its text encoder holds \d+ numbers, not \d+"),
        ("text_encoder", {"num_hidden_layers": 4}, r"its text encoder holds \d+ numbers, not \d+"),
        ("text_encoder_2", {"num_hidden_layers": 2}, r"its text encoder 2 holds \d+ numbers, not \d+"),
        ("text_encoder_2", {"projection_dim": 48}, "text_projection.*expected shape"),
    ],
)
def test_another_architecture(
    part: str, changes: dict[str, Any], why: str, files: dict[str, Path], other: Callable[..., str]
) -> None:
    with pytest.raises(
        UserError, match=rf"sdxl\.safetensors does not fit the configuration .*other \(.*{why}.*\): set "
    ):
        Renderer(locate.locate_model(str(files["sdxl"]), config=other(part, **changes)), Options())


def test_another_family(files: dict[str, Path], sdxl_folder: Path, sd1_folder: Path) -> None:
    for family, folder in (("sdxl", sd1_folder), ("sd1", sdxl_folder)):
        with pytest.raises(
            UserError, match=rf"{family}\.safetensors does not fit the configuration {folder}"
        ) as caught:
            Renderer(locate.locate_model(str(files[family]), config=str(folder)), Options())
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("lost", ["first_stage_model.", "conditioner.embedders.1.model.text_projection", "model."])
def test_a_file_without_some_weights(lost: str, files: dict[str, Path], sdxl_folder: Path, tmp_path: Path) -> None:
    """Nor are they taken from the folder in silence, which holds them."""
    kept = {name: each for name, each in load_file(files["sdxl"]).items() if not name.startswith(lost)}
    save_file(kept, tmp_path / "less.safetensors")
    with pytest.raises(UserError, match=r"less\.safetensors does not fit the configuration .*missing") as caught:
        Renderer(locate.locate_model(str(tmp_path / "less.safetensors"), config=str(sdxl_folder)), Options())
    assert "\n" not in str(caught.value)


@pytest.fixture
def vaes(tmp_path: Path) -> dict[str, Path]:
    """One other VAE as a folder, and as a file in each of the three spellings that are published."""
    other = tiny.tiny_sdxl(seed=5).vae
    other.save_pretrained(tmp_path / "vae")
    tensors = single_file.vae(other)
    prefixed = {f"first_stage_model.{name}": tensor for name, tensor in tensors.items()}
    return {
        "folder": tmp_path / "vae",
        "diffusers": tmp_path / "vae" / "diffusion_pytorch_model.safetensors",
        "bare": single_file.write(tensors, tmp_path / "b.safetensors"),
        "prefixed": single_file.write(prefixed, tmp_path / "c.safetensors"),
    }


def test_a_vae_of_one_file(vaes: dict[str, Path], files: dict[str, Path], sdxl: ModelSource, shot: Shot) -> None:
    """Its configuration is the one that is set, or else the one of the model's own VAE."""
    shot, plain = shot.with_changes(steps=1), Options(batch_size=1)
    found = {name: pixels(sdxl, replace(plain, vae=locate.locate_vae(str(path))), shot) for name, path in vaes.items()}
    assert all(each == found["folder"] for each in found.values())
    assert found["folder"] != pixels(sdxl, plain, shot)
    both = replace(plain, vae=locate.locate_vae(str(vaes["bare"]), config=str(sdxl.path)))
    assert pixels(locate.locate_model(str(files["sdxl"]), config=str(sdxl.path)), both, shot) == found["folder"]


def test_vae_files_that_cannot_be_used(
    vaes: dict[str, Path], files: dict[str, Path], other: Callable[..., str], sdxl: ModelSource
) -> None:
    vae = locate.locate_vae(str(vaes["bare"]))
    with pytest.raises(UserError, match=r"b\.safetensors is a single file without its configuration, and the hub"):
        Renderer(locate.locate_model(str(files["sdxl"])), Options(vae=vae))
    with pytest.raises(UserError, match=r"b\.safetensors does not fit the configuration .*other \(.*missing.*\): set"):
        Renderer(sdxl, Options(vae=replace(vae, config=other("vae", layers_per_block=2))))
    save_file({"x": torch.zeros(1)}, vaes["bare"])
    with pytest.raises(UserError, match=r"b\.safetensors does not fit the configuration"):
        Renderer(sdxl, Options(vae=locate.locate_vae(str(vaes["bare"]))))
    vaes["bare"].write_bytes(b"torn")
    with pytest.raises(UserError, match=r"b\.safetensors is torn or not a safetensors file"):
        locate.locate_vae(str(vaes["bare"]))
