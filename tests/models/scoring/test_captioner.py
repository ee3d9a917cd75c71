"""Captions by a real BLIP and a real Florence-2, only tiny, which learned in a moment to tell red pictures from blue."""

import json
import pickle
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
    BartTokenizer,
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    BlipProcessor,
    CLIPImageProcessorPil,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2Processor,
)

from models.scoring import captioner
from models.system.errors import UserError
from tests.support import tiny

RED, BLUE = "a red fox .", "an image of the blue sea ."
SAID = {"red": "a red fox", "blue": "an image of the blue sea"}
LESSONS = 40
KINDS = list(captioner.KINDS)


def picture(colour: str, seed: int = 0, size: int = 48) -> Image.Image:
    """Mostly of one colour, with noise that makes each its own."""
    noise = np.random.default_rng(seed).integers(0, 60, (size, size, 3), dtype=np.uint8)
    noise[..., 0 if colour == "red" else 2] += 190
    return Image.fromarray(noise)


def blip_parts() -> tuple[torch.nn.Module, BlipProcessor]:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(f"{RED} {BLUE}".split())]
    tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(words)}, bos_token="[DEC]")
    width = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "sep_token_id", "pad_token_id")}
    config = BlipConfig(
        text_config={**width, "vocab_size": len(tokenizer), "max_position_embeddings": 64, **ids},
        vision_config={**width, "image_size": 32, "patch_size": 8},
    )
    processor = BlipProcessor(BlipImageProcessorPil(size={"height": 32, "width": 32}), tokenizer)
    return BlipForConditionalGeneration(config), processor


def florence2_parts() -> tuple[torch.nn.Module, Florence2Processor]:
    letters = ["<s>", "<pad>", "</s>", "<unk>", *tiny._byte_letters(), "<mask>"]
    tokenizer = BartTokenizer(
        vocab={letter: number for number, letter in enumerate(letters)},
        merges=[],
        extra_special_tokens={"image_token": "<image>"},
    )
    size = {"height": 32, "width": 32}  # one patch of the last stage, and the mean over all patches
    prepare = CLIPImageProcessorPil(size=size, do_center_crop=False, image_seq_length=2)
    text = {f"{side}_{what}": number for side in ("encoder", "decoder") for what, number in (("layers", 1),)}
    text |= {f"{side}_{what}": 2 for side in ("encoder", "decoder") for what in ("attention_heads",)}
    text |= {"encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "d_model": 32, "max_position_embeddings": 128}
    ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2}
    vision = {"embed_dim": (8, 8, 16, 16), "num_heads": (1, 1, 2, 2), "num_groups": (1, 1, 2, 2)}
    config = Florence2Config(
        text_config={"model_type": "bart", "vocab_size": len(tokenizer), "forced_eos_token_id": 2, **text, **ids},
        vision_config={**vision, "depths": (1, 1, 1, 1), "window_size": 4, "projection_dim": 32},
        image_token_id=tokenizer.image_token_id,
    )
    return Florence2ForConditionalGeneration(config), Florence2Processor(prepare, tokenizer)


def taught(kind: str) -> tuple[torch.nn.Module, BlipProcessor | Florence2Processor]:
    model, processor = blip_parts() if kind == "blip" else florence2_parts()
    pictures = [picture(colour, seed) for seed in range(4) for colour in ("red", "blue")]
    inputs = captioner._prepare_inputs(processor, pictures, captioner.KINDS[kind])
    words = processor.tokenizer([RED, BLUE] * 4, padding=True, return_tensors="pt").input_ids
    if kind == "blip":
        words[:, 0] = processor.tokenizer.bos_token_id
        inputs["input_ids"] = words
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.1)  # as they are made, hardly anything of a picture reaches the words
    labels = words.masked_fill(words == processor.tokenizer.pad_token_id, -100)
    model.eval()  # without dropout
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(LESSONS):
        model(**inputs, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, processor


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model folder of each kind."""
    place = tmp_path_factory.mktemp("captioners")
    for kind in KINDS:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model, processor = taught(kind)
        model.save_pretrained(place / kind)
        processor.save_pretrained(place / kind)
    return {kind: place / kind for kind in KINDS}


@pytest.fixture(params=KINDS)
def name(request: pytest.FixtureRequest, folders: dict[str, Path]) -> str:
    """Each captioner in turn, as the settings name it."""
    return f"{request.param}:{folders[request.param]}"


@pytest.fixture
def copied(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A BLIP folder to break."""
    return Path(shutil.copytree(folders["blip"], tmp_path / "copied"))


def said(name: str, pictures: list[Image.Image] | list[Path], **options: Path) -> list[str]:
    return list(captioner.load_captioner(name, "cpu", **options).describe_pictures(pictures))


def count_passes(model: captioner.Captioner) -> list[int]:
    """How many pictures each pass from now on holds."""
    inner = model.model.vision_model if model.source.kind.type == "blip" else model.model.model.vision_tower
    sizes: list[int] = []
    inner.register_forward_hook(lambda _module, _inputs, output: sizes.append(len(output.last_hidden_state)))
    return sizes


def error_of(name: str) -> str:
    with pytest.raises(UserError) as caught:
        captioner.load_captioner(name, "cpu")
    message = str(caught.value)
    assert "\n" not in message
    assert not message.endswith(".")
    return message


# --- Captions -----------------------------------------------------------------------------------------------------


def test_a_captioner_says_what_a_picture_shows(name: str, tmp_path: Path) -> None:
    picture("blue", 11).save(tmp_path / "sea.png")
    assert said(name, [picture("red", 12)]) == [SAID["red"]]
    assert said(name, [tmp_path / "sea.png"]) == [SAID["blue"]]
    assert said(name, []) == []


def test_every_pass_has_one_size_and_captions_keep_their_order(name: str) -> None:
    model = captioner.load_captioner(name, "cpu")
    passes = count_passes(model)
    colours = ["red", "blue", "blue"] * 4
    shapes = [picture(colour, 20 + n, size=40 + n) for n, colour in enumerate(colours)]
    assert list(model.describe_pictures(shapes)) == [SAID[colour] for colour in colours]
    assert passes == [captioner.PICTURES_PER_PASS] * 2


def test_a_generation_config_that_asks_for_chance_is_not_followed(folders: dict[str, Path], tmp_path: Path) -> None:
    for kind in KINDS:
        folder = Path(shutil.copytree(folders[kind], tmp_path / kind))
        file = folder / "generation_config.json"
        chance = {"do_sample": True, "temperature": 9.0, "num_beams": 3, "num_return_sequences": 2}
        file.write_text(json.dumps(json.loads(file.read_text()) | chance))
        assert said(f"{kind}:{folder}", [picture("red", 12), picture("blue", 11)]) == [SAID["red"], SAID["blue"]]


def test_florence2_is_asked_for_a_caption(folders: dict[str, Path]) -> None:
    model = captioner.load_captioner(f"florence2:{folders['florence2']}", "cpu")
    asked: list[torch.Tensor] = []
    model.model.get_input_embeddings().register_forward_hook(lambda _module, inputs, _output: asked.append(inputs[0]))
    list(model.describe_pictures([picture("red")]))
    assert "What does the image describe?" in model._load_processor.decode(asked[0][0])


def test_no_more_than_a_pass_is_read_ahead(name: str) -> None:
    read: list[int] = []

    def endless() -> Iterator[Image.Image]:
        while True:
            read.append(1)
            yield picture("red", len(read))

    assert next(captioner.load_captioner(name, "cpu").describe_pictures(endless())) == SAID["red"]
    assert len(read) == captioner.PICTURES_PER_PASS


def test_a_bad_picture_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no picture")
    with pytest.raises(UserError, match=r"bad\.png is not a picture"):
        said(name, [tmp_path / "bad.png"])


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("a fox in the snow.", "a fox in the snow"),
        ("  A fox.\nIn the snow. ", "A fox. In the snow"),
        ("a picture of a fox", "a picture of a fox"),
        ("<s>a fox<loc_12></s>", "a fox"),
        ("a <pip> fox \ufffd", "a fox"),
        (" . ", ""),
    ],
)
def test_answers_are_one_line_without_a_stop_or_a_models_notation(answer: str, text: str) -> None:
    assert captioner._clean_caption(answer) == text


def test_loading_and_captioning_leave_the_global_random_state_alone(name: str) -> None:
    before = torch.get_rng_state()
    said(name, [picture("red")])
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.gpu
def test_a_gpu_says_the_same(name: str) -> None:
    pictures = [picture("red", 12), picture("blue", 11)]
    assert list(captioner.load_captioner(name, "cuda").describe_pictures(pictures)) == [SAID["red"], SAID["blue"]]


# --- The cache ----------------------------------------------------------------------------------------------------


def test_a_picture_met_before_runs_no_pass_in_a_later_load(name: str, tmp_path: Path) -> None:
    cache, memory = tmp_path / "cache" / "captions", tmp_path / "cache" / "hashes.json"
    first, later = (captioner.load_captioner(name, "cpu", memory, cache) for _ in range(2))
    passes, none = count_passes(first), count_passes(later)
    pictures = [picture("red", 1), picture("blue", 2), picture("red", 1)]
    made = list(first.describe_pictures(pictures))
    assert list(later.describe_pictures(pictures)) == made == [SAID["red"], SAID["blue"], SAID["red"]]
    assert (passes, none) == ([captioner.PICTURES_PER_PASS], [])
    assert len(list(cache.rglob("*.txt"))) == 2


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "processor_config.json"])
def test_captions_of_another_model_are_not_taken(copied: Path, file: str, tmp_path: Path) -> None:
    cache = tmp_path / "captions"
    said(f"blip:{copied}", [picture("red")], cache=cache)
    if file.endswith(".json"):
        with (copied / file).open("a") as more:
            more.write("\n")
    else:
        weights = load_file(copied / file)
        save_file({key: weight * 1.001 for key, weight in weights.items()}, copied / file, metadata={"format": "pt"})
    other = captioner.load_captioner(f"blip:{copied}", "cpu", cache=cache)
    passes = count_passes(other)
    list(other.describe_pictures([picture("red")]))
    assert passes == [captioner.PICTURES_PER_PASS]


def test_a_kept_caption_that_cannot_be_read_is_named(copied: Path, tmp_path: Path) -> None:
    cache = tmp_path / "captions"
    said(f"blip:{copied}", [picture("red")], cache=cache)
    (file,) = cache.rglob("*.txt")
    file.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UserError, match=r"the kept caption .* cannot be read .*: move it away, and it is made anew"):
        said(f"blip:{copied}", [picture("red")], cache=cache)


# --- Names and weights --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "blip", "blip:", "blip: ", "clip:x", "nowhere/at-all", ":x"])
def test_an_unknown_captioner_is_told_the_known_ones(name: str) -> None:
    assert error_of(name) == (
        f"the captioner {name!r} is unknown: write blip:Salesforce/blip-image-captioning-base or "
        "florence2:florence-community/Florence-2-base, or a folder after the colon"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_place_without_a_model_is_named(kind: str, tmp_path: Path) -> None:
    known = captioner.KINDS[kind]
    assert error_of(f"{kind}:nowhere") == (
        f"there is no {known.name} model folder at nowhere: name one, or a hub id such as {known.example}"
    )
    assert error_of(f"{kind}:{tmp_path}") == (
        f"{tmp_path} is not a {known.name} model folder: it has no config.json, so name the folder that has it"
    )


def test_another_kind_of_model_is_refused(folders: dict[str, Path]) -> None:
    assert error_of(f"florence2:{folders['blip']}") == (
        f"{folders['blip']} holds a model of type 'blip', not 'florence2': name another folder or prefix"
    )


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_torn_configuration_is_named(copied: Path, text: str) -> None:
    (copied / "config.json").write_text(text)
    assert error_of(f"blip:{copied}").startswith(f"{copied / 'config.json'} is damaged (")


@pytest.mark.parametrize("file", ["tokenizer.json", "processor_config.json"])
def test_a_folder_without_all_of_its_files_is_named(copied: Path, file: str) -> None:
    (copied / file).unlink()
    message = error_of(f"blip:{copied}")
    assert message.startswith(f"{copied} does not say how to prepare pictures and read answers (")
    assert message.endswith("): get the whole BLIP folder again")


def test_missing_weights_are_named(copied: Path) -> None:
    (copied / "model.safetensors").unlink()
    assert error_of(f"blip:{copied}") == f"the BLIP model folder {copied} has no weights: put model.safetensors there"


@pytest.mark.parametrize("fault", ["empty", "cut", "lacks", "shape", "nan"])
def test_weights_that_cannot_be_used_are_named_and_never_filled_with_random_numbers(copied: Path, fault: str) -> None:
    file, part = copied / "model.safetensors", "vision_model.post_layernorm.weight"
    weights = load_file(file)
    changed = {"lacks": None, "shape": torch.ones(5), "nan": weights[part] * torch.nan}
    if fault in changed:
        weights[part] = changed[fault]
        save_file({key: each for key, each in weights.items() if each is not None}, file, metadata={"format": "pt"})
    else:
        file.write_bytes(file.read_bytes()[: -1 if fault == "cut" else 0])
    message = error_of(f"blip:{copied}")
    assert message.startswith(f"the BLIP weights {file} cannot be used (")
    assert message.endswith("code of the model's own, such as Salesforce/blip-image-captioning-base")
    assert fault != "lacks" or f"they lack {part}" in message


def test_weights_of_a_torch_file_say_the_same(copied: Path) -> None:
    torch.save(load_file(copied / "model.safetensors"), copied / "pytorch_model.bin")
    (copied / "model.safetensors").unlink()
    assert said(f"blip:{copied}", [picture("blue", 11)]) == [SAID["blue"]]


class _Code:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.marker,)


def test_code_in_a_torch_file_is_not_run(copied: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    torch.save({"weight": _Code(marker)}, copied / "pytorch_model.bin", pickle_module=pickle)
    (copied / "model.safetensors").unlink()
    assert error_of(f"blip:{copied}").startswith(f"the BLIP weights {copied / 'pytorch_model.bin'} cannot be used (")
    assert not marker.exists()


def test_code_that_a_folder_brings_along_is_not_run(folders: dict[str, Path], tmp_path: Path) -> None:
    """As in Florence-2's first publication, which transformers would ask about on the terminal."""
    folder = Path(shutil.copytree(folders["florence2"], tmp_path / "own"))
    own = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own", "AutoProcessor": "own.Own"}
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: pass\n")
    for file in ("config.json", "processor_config.json", "tokenizer_config.json"):
        (folder / file).write_text(json.dumps(json.loads((folder / file).read_text()) | {"auto_map": own}))
    assert said(f"florence2:{folder}", [picture("red", 12)]) == [SAID["red"]]
    assert not (tmp_path / "ran").exists()


def test_a_processor_for_another_size_of_picture_is_named(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders["florence2"], tmp_path / "other"))
    file = folder / "processor_config.json"
    settings = json.loads(file.read_text())
    settings["image_processor"]["image_seq_length"] = 7
    file.write_text(json.dumps(settings))
    with pytest.raises(UserError, match=r"^the captioner .*other cannot describe pictures \(.*\): get the model's fol"):
        said(f"florence2:{folder}", [picture("red")])


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_a_hub_model_fetched_earlier_is_found(hub_cache: Path, folders: dict[str, Path]) -> None:
    repository = hub_cache / "models--owner--tiny"
    shutil.copytree(folders["blip"], repository / "snapshots" / "0123")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123")
    assert said("blip:owner/tiny", [picture("red", 12)]) == [SAID["red"]]


@pytest.mark.parametrize("name", ["florence-community/Florence-2-base", "bad--name/x"])
def test_a_hub_model_that_is_not_here_says_how_to_get_it(hub_cache: Path, name: str) -> None:
    assert error_of(f"florence2:{name}") == (
        f"the Florence-2 model {name} is not on this machine: fetch it once with `hf download {name}`, or name a folder"
    )


def test_heavy_libraries_load_with_a_model_not_before() -> None:
    light = (
        "import sys; from models.scoring import captioner; print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", light], capture_output=True, text=True).stdout == "[]\n"
