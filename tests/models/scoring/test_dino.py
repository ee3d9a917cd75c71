"""The scorer over real DINO models, only tiny: 28×28 pixels, two layers, random weights kept in a file."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoImageProcessor,
    AutoModel,
    Dinov2Config,
    Dinov2Model,
    DINOv3ConvNextConfig,
    DINOv3ConvNextModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    PreTrainedModel,
)

from models.scoring import clip, dino
from models.system.errors import UserError
from tests.support import tiny

SIDE = 28


def _untrained(kind: str) -> PreTrainedModel:
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": SIDE}
    if kind == "dinov2":
        return Dinov2Model(Dinov2Config(**shape))
    if kind == "dinov3_vit":
        return DINOv3ViTModel(DINOv3ViTConfig(**shape, intermediate_size=64, patch_size=14, num_register_tokens=2))
    return DINOv3ConvNextModel(DINOv3ConvNextConfig(hidden_sizes=[8, 8, 16, 32], depths=[1, 1, 1, 1]))


def make_model(folder: Path, seed: int, kind: str = "dinov2") -> Path:
    """A model of which nothing is as it was initialised, so that every weight matters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _untrained(kind)
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(folder)
    side = 32 if kind == "dinov3_convnext" else SIDE
    small = {"size": {"shortest_edge": 32}, "crop_size": {"height": side, "width": side}}
    usual = {"image_processor_type": "BitImageProcessor", **dino.USUAL_PREPROCESSING["dinov2"], **small}
    (folder / dino.PREPROCESSING).write_text(json.dumps(usual))
    return folder


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def two_threads(one_thread: None) -> Iterator[None]:
    """With one thread, rows that do not fill a block hardly ever differ by their place in the batch."""
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("dino") / "tiny", seed=0)


@pytest.fixture(scope="module")
def scorer(folder: Path) -> dino.DinoScorer:
    return dino.load_dino(f"dinov2:{folder}", device="cpu", batch_size=8)


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """A model folder to break."""
    return Path(shutil.copytree(folder, tmp_path / "copied"))


def noise(seed: int, size: int = 48) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8))


def vectors_of(scorer: dino.DinoScorer, pictures: list[Image.Image]) -> np.ndarray:
    return np.stack([vector for _, vector in scorer.encode_pictures(pictures)])


def count_passes(scorer: dino.DinoScorer) -> list[int]:
    """The sizes of the passes that the model really runs from now on."""
    sizes: list[int] = []
    scorer.model.register_forward_hook(lambda _module, inputs, _output: sizes.append(len(inputs[0])))
    return sizes


def error_of(name: object, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        dino.load_dino(f"dinov2:{name}", device="cpu", **options)
    message = str(caught.value)
    assert "\n" not in message
    assert not message.endswith(".")
    return message


# --- Vectors ------------------------------------------------------------------------------------------------------


def test_vectors_are_those_of_transformers_at_unit_length(scorer: dino.DinoScorer, folder: Path) -> None:
    model = AutoModel.from_pretrained(folder, dtype=torch.float32)
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    with torch.no_grad():
        expected = model(**processor(noise(1), return_tensors="pt")).last_hidden_state[:, 0].numpy()
    found = vectors_of(scorer, [noise(1)])
    assert (found.dtype, found.shape, scorer.dimension) == (np.float32, (1, 32), 32)
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-5)


@pytest.mark.parametrize("kind", ["dinov3_vit", "dinov3_convnext"])
def test_dinov3_gives_what_transformers_pools(tmp_path: Path, kind: str) -> None:
    made = make_model(tmp_path, seed=0, kind=kind)
    model = AutoModel.from_pretrained(made, dtype=torch.float32).eval()
    processor = AutoImageProcessor.from_pretrained(made, backend="pil")
    with torch.no_grad():
        expected = model(**processor(noise(1), return_tensors="pt")).pooler_output.numpy()
    scorer = dino.load_dino(f"dinov3:{made}", device="cpu")
    assert scorer.dimension == 32
    np.testing.assert_allclose(vectors_of(scorer, [noise(1)]), expected / np.linalg.norm(expected), atol=1e-5)


def test_different_pictures_have_different_vectors(scorer: dino.DinoScorer) -> None:
    vectors = vectors_of(scorer, [noise(n) for n in range(11)])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert (vectors @ vectors.T - np.eye(11)).max() < 0.999


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("batch_size", [5, 16])
def test_a_picture_has_the_same_bits_alone_in_any_order_and_in_any_batch(folder: Path, batch_size: int) -> None:
    scorer = dino.load_dino(f"dinov2:{folder}", device="cpu", batch_size=batch_size)
    pictures = [noise(n) for n in range(11)]
    passes = count_passes(scorer)
    together = vectors_of(scorer, pictures)
    alone = np.stack([vectors_of(scorer, [picture])[0] for picture in pictures])
    backwards = vectors_of(scorer, pictures[::-1])[::-1]
    shifted = vectors_of(scorer, [noise(99), *pictures])[1:]
    assert set(passes) == {8 if batch_size == 5 else 16}
    for other in (alone, backwards, shifted):
        np.testing.assert_array_equal(together, other)


def test_loading_leaves_the_global_random_state_alone(folder: Path) -> None:
    before = torch.get_rng_state()
    dino.load_dino(f"dinov2:{folder}", device="cpu")
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.gpu
def test_vectors_on_a_gpu_are_near_and_as_steady(scorer: dino.DinoScorer, folder: Path) -> None:
    pictures = [noise(n) for n in range(11)]
    there = dino.load_dino(f"dinov2:{folder}", device="cuda", batch_size=8)
    np.testing.assert_allclose(vectors_of(there, pictures), vectors_of(scorer, pictures), atol=1e-3)
    np.testing.assert_array_equal(vectors_of(there, pictures)[::-1], vectors_of(there, pictures[::-1]))


def test_a_folder_without_preprocessing_takes_the_published_models_own(copied: Path) -> None:
    (copied / dino.PREPROCESSING).unlink()
    scorer = dino.load_dino(str(copied), device="cpu")
    assert scorer._prepare_picture(noise(1)).shape == (3, 224, 224)
    white = scorer._prepare_picture(Image.new("RGB", (300, 200), "white"))[:, 0, 0]
    assert white.tolist() == pytest.approx([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])


def test_published_dinov3_models_look_at_the_whole_picture(tmp_path: Path) -> None:
    made = make_model(tmp_path, seed=0, kind="dinov3_convnext")
    (made / dino.PREPROCESSING).unlink()
    scorer = dino.load_dino(f"dinov3:{made}", device="cpu")
    edges = Image.new("RGB", (60, 20), "black")
    edges.paste("white", (0, 0, 10, 20))
    seen = scorer._prepare_picture(edges)
    assert seen.shape == (3, 224, 224)
    assert seen[0, 0, 0] == pytest.approx((1 - 0.485) / 0.229)
    assert seen[0, 0, -1] == pytest.approx(-0.485 / 0.229)


# --- Pictures and the cache ---------------------------------------------------------------------------------------


def test_a_bad_picture_stops_the_stream_unless_told_otherwise(scorer: dino.DinoScorer, tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.png" for n in range(3)]
    for path in paths:
        noise(1).save(path)
    paths[1].write_text("no picture")
    with pytest.raises(UserError, match=r"1\.png is not a picture"):
        list(scorer.encode_pictures(paths))
    told: list[Path] = []
    assert [path for path, _ in scorer.encode_pictures(paths, bad=lambda path, _: told.append(path))] == [
        paths[0],
        paths[2],
    ]
    assert told == [paths[1]]


def test_a_picture_met_before_runs_no_pass_in_a_later_load(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "data" / "vectors.sqlite"
    pictures = [noise(n) for n in range(11)]
    first, later = (dino.load_dino(str(folder), device="cpu", cache=cache, batch_size=8) for _ in range(2))
    passes, none = count_passes(first), count_passes(later)
    made = vectors_of(first, pictures)
    np.testing.assert_array_equal(vectors_of(later, pictures), made)
    assert (passes, none) == ([8, 8], [])


def test_what_changes_the_vectors_is_not_mixed_in_one_cache(folder: Path, copied: Path, tmp_path: Path) -> None:
    cache = tmp_path / "vectors.sqlite"
    other = make_model(tmp_path / "other", seed=1)
    settings = json.loads((copied / dino.PREPROCESSING).read_text())
    (copied / dino.PREPROCESSING).write_text(json.dumps(settings | {"image_mean": [0.1, 0.1, 0.1]}))
    looks = tiny.tiny_clip(tmp_path / "clip")  # 32 numbers wide too
    for model in (folder, other, copied):
        cached = vectors_of(dino.load_dino(str(model), device="cpu", cache=cache), [noise(1)])
        np.testing.assert_array_equal(cached, vectors_of(dino.load_dino(str(model), device="cpu"), [noise(1)]))
    seen = [vector for _, vector in clip.load_clip(str(looks), device="cpu", cache=cache).encode_pictures([noise(1)])]
    assert abs(seen[0] @ cached[0]) < 0.9


# --- Names and weights --------------------------------------------------------------------------------------------


def test_a_name_with_or_without_its_prefix_means_the_same_model(
    folder: Path, scorer: dino.DinoScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    for name in (str(folder), "dinov2:tiny", "tiny"):
        assert dino.load_dino(name, device="cpu").model_hash == scorer.model_hash


def test_a_place_without_a_model_is_named(tmp_path: Path) -> None:
    assert error_of("nowhere").startswith("there is no DINO model folder at nowhere: name one")
    missing = f"{tmp_path} is not a DINO model folder: it has no config.json, so name the folder that has it"
    assert error_of(tmp_path) == missing


def test_another_kind_of_model_is_refused(copied: Path) -> None:
    (copied / dino.CONFIG).write_text(json.dumps({"model_type": "vit"}))
    expected = "dinov2, dinov2_with_registers, dinov3_vit or dinov3_convnext"
    assert error_of(copied) == f"{copied} holds a model of type 'vit': name a folder of type {expected}"


def test_a_model_of_the_other_generation_says_what_to_call_it(tmp_path: Path) -> None:
    made = make_model(tmp_path, seed=0, kind="dinov3_vit")
    assert error_of(made) == f"{made} holds a model of type 'dinov3_vit': call it dinov3:{made}"


@pytest.mark.parametrize("file", [dino.CONFIG, dino.PREPROCESSING])
@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_torn_configuration_is_named(copied: Path, file: str, text: str) -> None:
    (copied / file).write_text(text)
    assert error_of(copied).startswith(f"{copied / file} is damaged (")


@pytest.mark.parametrize(
    "settings", [{"image_mean": "red"}, {**dino.USUAL_PREPROCESSING["dinov2"], "do_center_crop": False}]
)
def test_preprocessing_that_prepares_nothing_is_named(copied: Path, settings: dict[str, object]) -> None:
    (copied / dino.PREPROCESSING).write_text(json.dumps(settings))
    assert error_of(copied).startswith(f"{copied / dino.PREPROCESSING} does not say how to prepare pictures (")


def test_missing_weights_are_named(copied: Path) -> None:
    (copied / dino.WEIGHTS).unlink()
    assert error_of(copied) == f"the DINO model folder {copied} has no weights: put model.safetensors there"


@pytest.mark.parametrize("left", [0, 5, -1])
def test_weights_cut_short_are_named(copied: Path, left: int) -> None:
    whole = (copied / dino.WEIGHTS).read_bytes()
    (copied / dino.WEIGHTS).write_bytes(whole[:left])
    message = error_of(copied)
    assert message.startswith(f"the DINO weights {copied / dino.WEIGHTS} are damaged or cut short (")
    assert message.endswith("): get the file again")


@pytest.mark.parametrize("fault", ["lacks", "shape"])
def test_weights_that_do_not_fit_are_named_and_never_filled_with_random_numbers(copied: Path, fault: str) -> None:
    weights = load_file(copied / dino.WEIGHTS)
    if fault == "lacks":
        del weights["layernorm.weight"]
    else:
        weights["layernorm.weight"] = torch.ones(5)
    save_file(weights, copied / dino.WEIGHTS, metadata={"format": "pt"})
    message = error_of(copied)
    assert message.startswith(f"the DINO weights {copied / dino.WEIGHTS} do not fit config.json beside them (")
    assert message.endswith("): get the model's folder again")
    assert fault == "shape" or "they lack layernorm.weight" in message


def test_weights_without_what_only_training_needs_give_the_same_vectors(copied: Path, scorer: dino.DinoScorer) -> None:
    weights = load_file(copied / dino.WEIGHTS)
    del weights["embeddings.mask_token"]
    save_file(weights, copied / dino.WEIGHTS, metadata={"format": "pt"})
    found = vectors_of(dino.load_dino(str(copied), device="cpu", batch_size=8), [noise(1)])
    np.testing.assert_allclose(found, vectors_of(scorer, [noise(1)]), atol=1e-6)


def test_weights_that_give_no_numbers_are_named(copied: Path) -> None:
    weights = load_file(copied / dino.WEIGHTS)
    weights["layernorm.weight"][:] = torch.nan
    save_file(weights, copied / dino.WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"model\.safetensors gives no usable numbers in fp32"):
        vectors_of(dino.load_dino(str(copied), device="cpu"), [noise(1)])


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_a_hub_model_fetched_earlier_is_found(hub_cache: Path, folder: Path, scorer: dino.DinoScorer) -> None:
    repository = hub_cache / "models--owner--tiny"
    shutil.copytree(folder, repository / "snapshots" / "0123")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123")
    assert dino.load_dino("dinov2:owner/tiny", device="cpu").model_hash == scorer.model_hash


@pytest.mark.parametrize("name", ["facebook/dinov2-base", "bad--name/x"])
def test_a_hub_model_that_is_not_here_says_how_to_get_it(hub_cache: Path, name: str) -> None:
    assert error_of(name) == (
        f"the DINO model {name} is not on this machine: fetch it once with `hf download {name}`, or name a folder"
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"batch_size": 0}, "DINO batch size 0 is too small: use 1 or more"),
        ({"cache": Path("/dev/null/vectors.db")}, "the vector cache /dev/null/vectors.db cannot be used"),
    ],
)
def test_wrong_options_are_named(folder: Path, options: dict[str, object], sentence: str) -> None:
    assert error_of(folder, **options).startswith(sentence)


def test_heavy_libraries_load_with_a_model_not_before() -> None:
    heavy = "{'torch', 'open_clip', 'transformers'}"
    light = f"import sys; from models.scoring import dino; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", light], capture_output=True, text=True).stdout == "[]\n"
