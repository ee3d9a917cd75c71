"""Models by name: what is found, what its hash means, and what each kind of broken model is told."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from models.sdxl import locate, renderer
from models.sdxl.locate import ModelSource
from models.sdxl.pipeline import Options
from models.sdxl.renderer import Renderer
from models.system.errors import UserError
from tests.support import tiny


@pytest.fixture
def copy(sdxl_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sdxl_folder, tmp_path / "copy")


def test_a_folder_is_known_by_content_and_not_by_place(copy: Path, sdxl: ModelSource) -> None:
    assert locate.locate_model(str(copy)).ref == sdxl.ref
    (copy / "README.md").write_text("words that reach no pixel")
    assert locate.locate_model(str(copy)).ref == sdxl.ref
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert locate.locate_model(str(copy)).ref != sdxl.ref


def test_families_and_sizes_are_read_from_the_folder(sdxl: ModelSource, sd1: ModelSource) -> None:
    assert (sdxl.family, sdxl.side) == ("sdxl", 128)
    assert (sd1.family, sd1.side) == ("sd1", 128)


def test_a_variant_is_taken_where_it_is_asked_for(copy: Path, sdxl: ModelSource) -> None:
    other = tiny.tiny_sdxl(seed=9)
    other.unet.save_pretrained(copy / "unet", variant="fp16")
    plain, variant = locate.locate_model(str(copy)), locate.locate_model(str(copy), variant="fp16")
    assert plain.ref == sdxl.ref
    assert variant.ref != sdxl.ref
    assert [path.name for path in variant.files if path.parent.name == "unet" and path.suffix == ".safetensors"] == [
        "diffusion_pytorch_model.fp16.safetensors"
    ]
    loaded = next(Renderer(variant, Options()).pipe.unet.parameters())
    assert torch.equal(loaded, next(other.unet.parameters()))


def test_large_files_are_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "MAX_REHASHED_BYTES", 10)
    large, memory = tmp_path / "large", tmp_path / "hashes.json"
    large.write_bytes(b"a" * 100)
    first = locate.file_hash(large, memory)
    (key,) = json.loads(memory.read_text())
    memory.write_text(json.dumps({key: "remembered"}))
    assert locate.file_hash(large, memory) == "remembered"
    large.write_bytes(b"b" * 100)  # another time of change: read again
    assert locate.file_hash(large, memory) not in ("remembered", first)
    for broken in (b"torn {", b"[]", b"\xff\xfe"):
        memory.write_bytes(broken)
        assert locate.file_hash(large, memory)
    assert locate.file_hash(large, large / "below a file") == locate.file_hash(large)


def test_the_last_model_stays_loaded(sdxl: ModelSource, sd1: ModelSource) -> None:
    first = renderer.load_renderer(sdxl, Options(batch_size=2))
    assert renderer.load_renderer(sdxl, Options(batch_size=2)) is first
    assert renderer.load_renderer(sd1, Options(batch_size=2)) is not first
    assert len(renderer._loaded_renderers) == 1


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "stabilityai/stable-diffusion-xl-base-1.0",
            "is not on this machine and the hub cannot be reached: connect once",
        ),
        ("stabilityai/stable-diffusion-xl-base-1.0@main#fp16", "base-1.0' at revision 'main' is not on this machine"),
        ("no/such/folder", "there is no model at 'no/such/folder': use toybox, a hub id"),
        ("nothing", "there is no model at 'nothing'"),
        ("./models/x.safetensors", r"there is no model at './models/x\.safetensors'"),
    ],
)
def test_names_that_lead_nowhere(name: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        locate.locate_model(name)


def test_a_hub_model_in_the_cache_works_offline(sdxl_folder: Path, sdxl: ModelSource, tmp_path: Path) -> None:
    """The cache's own layout, filled by hand: snapshots of a revision, with a reference to it."""
    import os
    import subprocess
    import sys

    repo = tmp_path / "hub" / "models--owner--tiny"
    shutil.copytree(sdxl_folder, repo / "snapshots" / ("a" * 40))
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("a" * 40)
    code = "from models.sdxl.locate import locate_model; print(locate_model('owner/tiny').ref.hash)"
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub")}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert run.stdout.strip() == sdxl.ref.hash, run.stderr


def test_broken_folders(copy: Path, tmp_path: Path) -> None:
    weights = copy / "vae" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    for broken in (whole[: len(whole) // 2], b"not tensors", b""):
        weights.write_bytes(broken)
        with pytest.raises(
            UserError, match=r"vae/diffusion_pytorch_model\.safetensors is torn or not a safetensors file"
        ):
            locate.locate_model(str(copy))
    weights.unlink()
    with pytest.raises(UserError, match=r"vae has no \.safetensors weights"):
        locate.locate_model(str(copy))
    (copy / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    with pytest.raises(UserError, match="holds a FluxPipeline: restage works with StableDiffusionXLPipeline"):
        locate.locate_model(str(copy))
    for broken in ("{", "[]"):
        (copy / "model_index.json").write_text(broken)
        with pytest.raises(UserError, match=r"model_index\.json is damaged"):
            locate.locate_model(str(copy))
    with pytest.raises(UserError, match=r"model_index\.json is damaged"):
        locate.locate_model(str(copy))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"is not a model folder: it has no model_index\.json"):
        locate.locate_model(str(tmp_path / "empty"))


@pytest.mark.parametrize("part", ["text_encoder", "text_encoder_2", "unet", "vae"])
def test_a_missing_tensor_is_never_made_up(part: str, copy: Path) -> None:
    from safetensors.torch import load_file

    (path,) = (copy / part).glob("*.safetensors")
    tensors = load_file(path)
    tensors.pop(next(name for name in tensors if name.endswith("q_proj.weight") or name.endswith("conv1.weight")))
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(UserError, match=r"cannot be loaded \(.*(lacks|missing).*\): get its files again") as caught:
        Renderer(locate.locate_model(str(copy)), Options())
    assert "\n" not in str(caught.value)


def test_only_a_variant_and_no_tokenizer(copy: Path) -> None:
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_name("diffusion_pytorch_model.fp16.safetensors"))
    with pytest.raises(UserError, match=r"unet has only the variant fp16: set models\.variant to 'fp16'"):
        locate.locate_model(str(copy))
    assert locate.locate_model(str(copy), variant="fp16")
    (copy / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"tokenizer has no tokenizer\.json"):
        locate.locate_model(str(copy), variant="fp16")


def test_without_a_network_it_is_said_at_once_and_in_one_line(tmp_path: Path) -> None:
    """Not in offline mode: at a closed port of this machine."""
    import os
    import subprocess
    import sys

    code = """
import sys
from models.system.errors import UserError
from models.sdxl import locate as registry
for name in ("owner/model", "owner/vae"):
    try:
        (registry.locate_model if name.endswith("model") else registry.locate_vae)(name)
    except UserError as error:
        print(error)
"""
    outside = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
    outside |= {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=outside, timeout=60)
    assert run.stdout.count("\n") == 2, run.stdout
    assert "the hub cannot be reached" in run.stdout
    assert run.stderr == ""


def test_a_home_that_does_not_exist() -> None:
    with pytest.raises(UserError, match="names a home folder that does not exist: write the path in full"):
        locate.locate_model("~nobody-here/model")


def test_weights_of_another_shape_are_refused_by_name(copy: Path) -> None:
    config = json.loads((copy / "unet" / "config.json").read_text()) | {"block_out_channels": [32, 64]}
    (copy / "unet" / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="cannot be loaded") as caught:
        Renderer(locate.locate_model(str(copy)), Options())
    assert "\n" not in str(caught.value)


def test_files_that_are_no_checkpoint(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "lora.safetensors")
    with pytest.raises(UserError, match=r"is not a checkpoint of SDXL or SD 1\.x: give a full checkpoint, not a LoRA"):
        locate.locate_model(str(tmp_path / "lora.safetensors"))
    (tmp_path / "old.ckpt").write_bytes(b"pickle")
    with pytest.raises(UserError, match=r"is a \.ckpt file: give a \.safetensors file or a folder"):
        locate.locate_model(str(tmp_path / "old.ckpt"))


def test_the_scaling_of_a_vae_is_part_of_it(sdxl_folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(sdxl_folder / "vae", tmp_path / "vae")
    config = json.loads((other / "config.json").read_text()) | {"scaling_factor": 0.5}
    (other / "config.json").write_text(json.dumps(config))
    assert locate.locate_vae(str(other)).ref != locate.locate_vae(str(sdxl_folder)).ref


def test_vaes_by_name(sdxl_folder: Path, sdxl: ModelSource, tmp_path: Path) -> None:
    whole, bare = locate.locate_vae(str(sdxl_folder)), locate.locate_vae(str(sdxl_folder / "vae"))
    assert whole.ref == bare.ref
    assert whole.path == bare.path
    with pytest.raises(UserError, match="holds no VAE"):
        locate.locate_vae(str(tmp_path))
    with pytest.raises(UserError, match="VAE 'owner/vae' is not on this machine and cannot be had from the hub"):
        locate.locate_vae("owner/vae")
    with pytest.raises(UserError, match=r"there is no VAE at '\./vae'"):
        locate.locate_vae("./vae")
