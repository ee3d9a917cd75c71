"""The scorer over a real open_clip model, only tiny: 32×32 pixels, two layers, random weights kept in a file."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from models.scoring import clip, clip_weights
from models.scoring.vector_cache import VectorCache
from models.system.errors import UserError

CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


def make_model(folder: Path, seed: int) -> Path:
    folder.mkdir()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = open_clip.CLIP(**CONFIG)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG, "preprocess_cfg": {}}))
    save_file(
        {key: value.contiguous() for key, value in model.state_dict().items()}, folder / clip_weights.FOLDER_WEIGHTS[0]
    )
    return folder


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """A model this small only waits for a second thread, on a busy machine twenty times as long as it computes."""
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
    return make_model(tmp_path_factory.mktemp("clip") / "tiny", seed=0)


@pytest.fixture(scope="module")
def architecture(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tiny model as a registered architecture, the way open_clip lets users add theirs."""
    file = tmp_path_factory.mktemp("architecture") / "tiny-clip.json"
    file.write_text(json.dumps(CONFIG))
    open_clip.add_model_config(file)
    return "tiny-clip"


@pytest.fixture(scope="module")
def scorer(folder: Path) -> clip.ClipScorer:
    return clip.load_clip(str(folder), batch_size=8)


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """A model folder to break."""
    return Path(shutil.copytree(folder, tmp_path / "copied"))


def noise(seed: int, size: int = 48) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8))


def vectors_of(scorer: clip.ClipScorer, pictures: list[Image.Image]) -> np.ndarray:
    return np.stack([vector for _, vector in scorer.encode_pictures(pictures)])


def count_passes(scorer: clip.ClipScorer) -> list[int]:
    """The sizes of the picture passes that the model really runs from now on."""
    sizes: list[int] = []
    scorer.model.visual.register_forward_hook(lambda _module, inputs, _output: sizes.append(len(inputs[0])))
    return sizes


def error_of(name: object, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        clip.load_clip(str(name), **options)
    message = str(caught.value)
    assert "\n" not in message
    assert not message.endswith(".")
    return message


# --- Vectors ------------------------------------------------------------------------------------------------------


def test_vectors_are_float32_of_unit_length(scorer: clip.ClipScorer) -> None:
    for vectors in (vectors_of(scorer, [noise(n) for n in range(11)]), scorer.encode_texts(["a cat", "a dog"])):
        assert vectors.dtype == np.float32
        assert vectors.shape[1] == scorer.dimension == 32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_vectors_are_those_of_open_clip(scorer: clip.ClipScorer, folder: Path) -> None:
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    with torch.no_grad():
        picture = model.encode_image(transform(noise(1))[None], normalize=True)
        text = model.encode_text(open_clip.get_tokenizer(f"local-dir:{folder}")(["a red cat"]), normalize=True)
    np.testing.assert_allclose(vectors_of(scorer, [noise(1)]), picture.numpy(), atol=1e-5)
    np.testing.assert_allclose(scorer.encode_texts(["a red cat"]), text.numpy(), atol=1e-5)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("batch_size", [5, 16])
def test_a_picture_has_the_same_bits_alone_in_any_order_and_in_any_batch(folder: Path, batch_size: int) -> None:
    scorer = clip.load_clip(str(folder), batch_size=batch_size)
    pictures = [noise(n) for n in range(11)]
    together = vectors_of(scorer, pictures)
    alone = np.stack([vectors_of(scorer, [picture])[0] for picture in pictures])
    backwards = vectors_of(scorer, pictures[::-1])[::-1]
    shifted = vectors_of(scorer, [noise(99), *pictures])[1:]
    assert len(np.unique(together, axis=0)) == 11
    for other in (alone, backwards, shifted):
        np.testing.assert_array_equal(together, other)


def test_texts_come_in_order_and_equal_ones_are_computed_once(scorer: clip.ClipScorer) -> None:
    rows: list[int] = []
    watch = scorer.model.transformer.register_forward_hook(lambda _m, inputs, _o: rows.append(len(inputs[0])))
    vectors = scorer.encode_texts(["a cat", "a dog", "a cat"] * 20)
    watch.remove()
    assert rows == [8]
    np.testing.assert_array_equal(vectors[0], vectors[2])
    np.testing.assert_array_equal(vectors[1], scorer.encode_texts(["a dog"])[0])
    assert not np.array_equal(vectors[0], vectors[1])
    assert scorer.encode_texts([]).shape == (0, 32)


def test_bf16_stays_near_fp32_and_returns_float32(folder: Path, scorer: clip.ClipScorer) -> None:
    reduced = vectors_of(clip.load_clip(str(folder), precision="bf16"), [noise(1)])
    assert reduced.dtype == np.float32
    assert 0.99 < float((reduced @ vectors_of(scorer, [noise(1)]).T)[0, 0]) < 1 - 1e-9


def test_loading_leaves_the_global_random_state_alone(folder: Path) -> None:
    before = torch.get_rng_state()
    clip.load_clip(str(folder))
    assert torch.equal(before, torch.get_rng_state())


def test_similarity_is_the_cosine(scorer: clip.ClipScorer) -> None:
    pictures, texts = (
        vectors_of(scorer, [noise(n) for n in range(10)]),
        scorer.encode_texts(["a cat", "a dog", "a hat"]),
    )
    whole = clip.cosine_similarity(pictures, texts)
    assert whole.shape == (10, 3)
    cosine = sum(float(x) * float(y) for x, y in zip(pictures[4], texts[1], strict=True))
    assert whole[4, 1] == pytest.approx(cosine, abs=1e-6)
    assert np.diag(clip.cosine_similarity(pictures, pictures)) == pytest.approx(np.ones(10))
    assert clip.cosine_similarity(pictures, pictures).max() <= 1
    with pytest.raises(ValueError, match="cannot be compared"):
        clip.cosine_similarity(pictures, texts[:, :5])


# --- Streaming ----------------------------------------------------------------------------------------------------


def resident_mebibytes() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_2000_pictures_take_no_more_memory_than_100(folder: Path) -> None:
    scorer = clip.load_clip(str(folder))
    alive: weakref.WeakValueDictionary[int, Image.Image] = weakref.WeakValueDictionary()
    pulled = 0

    def lazily(count: int) -> Iterator[Image.Image]:
        nonlocal pulled
        for pulled in range(1, count + 1):
            picture = Image.new("RGB", (128, 128), (pulled % 256, pulled // 256, 0))
            alive[pulled] = picture
            yield picture

    def peak(count: int) -> float:
        most = 0.0
        for done, _ in enumerate(scorer.encode_pictures(lazily(count)), 1):
            assert pulled - done <= scorer.rows
            assert len(alive) <= 2 * scorer.rows
            most = max(most, resident_mebibytes()) if done % 50 == 0 and sys.platform == "linux" else most
        assert done == count
        return most

    peak(100)  # the allocator's own growth
    few = peak(100)
    assert peak(2000) - few < 12  # the pictures alone are 94 MiB


def test_a_bad_picture_stops_the_stream_unless_told_otherwise(scorer: clip.ClipScorer, tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.png" for n in range(5)]
    for n, path in enumerate(paths):
        noise(n).save(path)
    paths[2].write_text("no picture")
    with pytest.raises(UserError, match=r"2\.png is not a picture"):
        list(scorer.encode_pictures(paths))
    told: list[tuple[Path, str]] = []
    kept = [
        path.name for path, _ in scorer.encode_pictures(paths, bad=lambda path, error: told.append((path, str(error))))
    ]
    assert kept == ["0.png", "1.png", "3.png", "4.png"]
    assert told == [(paths[2], f"{paths[2]} is not a picture that can be read: use a PNG, JPEG or WebP file")]


# --- The cache ----------------------------------------------------------------------------------------------------


def test_a_picture_met_before_runs_no_pass_in_any_later_process(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "data" / "vectors.sqlite"
    pictures = [noise(n) for n in range(11)]
    first = clip.load_clip(str(folder), cache=cache, batch_size=8)
    passes = count_passes(first)
    made = vectors_of(first, pictures)
    assert passes == [8, 8]
    later = clip.load_clip(str(folder), cache=cache, batch_size=8)
    passes = count_passes(later)
    np.testing.assert_array_equal(vectors_of(later, pictures), made)
    assert passes == []
    mixed = vectors_of(later, [noise(3), noise(50), noise(4), noise(50)])
    assert passes == [8]
    np.testing.assert_array_equal(mixed[[0, 2]], made[[3, 4]])
    np.testing.assert_array_equal(mixed[1], mixed[3])


def test_without_a_cache_every_call_runs(folder: Path) -> None:
    scorer = clip.load_clip(str(folder), batch_size=8)
    passes = count_passes(scorer)
    vectors_of(scorer, [noise(1)])
    vectors_of(scorer, [noise(1)])
    assert passes == [8, 8]


def test_two_models_and_two_precisions_do_not_mix_in_one_cache(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "vectors.sqlite"
    other = make_model(tmp_path / "other", seed=1)
    kinds = [(folder, "fp32"), (other, "fp32"), (folder, "bf16")]
    cached = [vectors_of(clip.load_clip(str(f), cache=cache, precision=p), [noise(1)]) for f, p in kinds]
    plain = [vectors_of(clip.load_clip(str(f), precision=p), [noise(1)]) for f, p in kinds]
    np.testing.assert_array_equal(cached, plain)
    assert len(np.unique(np.concatenate(cached), axis=0)) == 3


WRITER = """
import sys
from pathlib import Path
import numpy as np
from models.scoring.vector_cache import VectorCache
cache, name = VectorCache(Path(sys.argv[1])), sys.argv[2]
vector = np.zeros(512, np.float32); vector[0] = 1
for batch in range(int(sys.argv[3])):
    cache.store_vectors("model", [(f"{name}-{batch}-{n}", vector) for n in range(int(sys.argv[4]))])
    print(batch, flush=True)
"""


def start_writer(cache: Path, name: str, batches: int, rows: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(cache), name, str(batches), str(rows)], stdout=subprocess.PIPE, text=True
    )


def test_kill_9_while_writing_leaves_a_readable_cache_of_whole_batches(tmp_path: Path) -> None:
    cache = tmp_path / "vectors.sqlite"
    writer = start_writer(cache, "killed", 10**6, rows=4000)  # long enough to be killed in the middle of one
    assert writer.stdout is not None
    while (line := writer.stdout.readline()) and int(line) < 3:
        pass
    log = tmp_path / "vectors.sqlite-wal"
    before = log.stat().st_mtime_ns
    while log.stat().st_mtime_ns == before:  # the next batch has begun to reach the disk
        pass
    os.kill(writer.pid, signal.SIGKILL)
    assert writer.wait() == -signal.SIGKILL
    writer.stdout.close()
    vectors = VectorCache(cache)
    assert vectors.read_vector("model", "killed-3-3999", 512) is not None
    with sqlite3.connect(cache) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*) FROM vectors").fetchone()[0] % 4000 == 0
    vectors.store_vectors("model", [("after", np.eye(512, dtype=np.float32)[0])])


def test_processes_that_start_together_share_one_cache(tmp_path: Path) -> None:
    cache = tmp_path / "vectors.sqlite"
    writers = [start_writer(cache, str(n), 20, rows=32) for n in range(4)]
    for writer in writers:
        writer.communicate(timeout=60)
    assert [writer.returncode for writer in writers] == [0] * 4
    with sqlite3.connect(cache) as database:
        assert database.execute("SELECT count(*) FROM vectors").fetchone() == (4 * 20 * 32,)


@pytest.mark.parametrize("content", ["text", "database", "cut"])
def test_a_foreign_or_damaged_cache_is_named_and_left_as_it_is(tmp_path: Path, content: str) -> None:
    cache = tmp_path / "vectors.sqlite"
    if content == "text":
        cache.write_text("my diary\n" * 200)
    elif content == "database":
        with sqlite3.connect(cache) as database:
            database.execute("CREATE TABLE accounts (name TEXT)")
    else:
        VectorCache(cache).close()
        cache.write_bytes(cache.read_bytes()[:3000])
    before = cache.read_bytes()
    message = error_of("nowhere", cache=cache)
    assert message.startswith(f"{cache} is not a readable vector cache (")
    assert cache.read_bytes() == before


def test_a_cache_that_is_a_folder_is_named(tmp_path: Path) -> None:
    assert error_of("nowhere", cache=tmp_path).startswith(f"the vector cache {tmp_path} cannot be used: ")


@pytest.mark.parametrize("blob", [b"\0" * 12, np.full(32, 7, "<f4").tobytes(), np.full(32, np.nan, "<f4").tobytes()])
def test_a_kept_vector_of_another_size_or_length_is_not_used(tmp_path: Path, blob: bytes) -> None:
    vectors = VectorCache(tmp_path / "vectors.sqlite")
    vectors.store_vectors("model", [("pixels", np.eye(32, dtype=np.float32)[0])])
    with sqlite3.connect(vectors.path) as database:
        database.execute("UPDATE vectors SET vector = ?", (blob,))
    with pytest.raises(UserError, match=r"vectors\.sqlite is damaged"):
        vectors.read_vector("model", "pixels", 32)


# --- Pictures -----------------------------------------------------------------------------------------------------


def test_exif_orientation_is_honoured(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned a quarter clockwise
    noise(1).save(tmp_path / "turned.png", exif=exif)
    seen = clip.read_picture(tmp_path / "turned.png")
    np.testing.assert_array_equal(np.asarray(seen), np.rot90(np.asarray(noise(1)), -1))


@pytest.mark.parametrize(
    ("mode", "color", "name", "seen"),
    [
        ("RGBA", (200, 0, 0, 0), "a.png", (255, 255, 255)),
        ("RGBA", (200, 0, 0, 255), "a.png", (200, 0, 0)),
        ("LA", (0, 0), "a.png", (255, 255, 255)),
        ("P", 3, "a.png", (3, 3, 3)),
        ("I;16", 128 * 256, "a.png", (128, 128, 128)),
        ("L", 77, "a.png", (77, 77, 77)),
        ("1", 1, "a.png", (255, 255, 255)),
        ("CMYK", (0, 0, 0, 255), "a.tiff", (0, 0, 0)),
        ("CMYK", (0, 255, 255, 0), "a.tiff", (255, 0, 0)),
    ],
)
def test_every_mode_becomes_rgb_as_it_is_seen(
    tmp_path: Path, mode: str, color: object, name: str, seen: tuple[int, int, int]
) -> None:
    image = Image.new(mode, (8, 8), color)
    if mode == "P":
        image.putpalette([n for n in range(256) for _ in "rgb"])
    image.save(tmp_path / name)
    picture = clip.read_picture(tmp_path / name)
    assert picture.mode == "RGB"
    assert picture.getpixel((4, 4)) == seen


def test_a_palette_with_a_transparent_color_lies_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 3)
    image.putpalette([0] * 768)
    image.save(tmp_path / "a.gif", transparency=3)
    assert clip.read_picture(tmp_path / "a.gif").getpixel((4, 4)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("missing", r"^there is no picture at \S+bad\.png: check the path$"),
        ("text", r"bad\.png is not a picture that can be read"),
        ("cut", r"bad\.png is torn or not a picture \(.+\): get the file again"),
        ("huge", r"bad\.png is too large"),
        ("thin", r"bad\.png is 2x50, which is no shape for a picture: crop it"),
        ("float", r"bad\.png cannot be used: a picture of floating-point pixels"),
        ("folder", r"bad\.png is torn or not a picture \(.+\): get the file again"),
    ],
)
def test_a_bad_picture_is_named_with_what_is_wrong(
    scorer: clip.ClipScorer, tmp_path: Path, fault: str, sentence: str
) -> None:
    path = tmp_path / "bad.png"
    if fault == "text":
        path.write_text("no picture")
    elif fault == "cut":
        noise(1).save(path)
        path.write_bytes(path.read_bytes()[:3000])
    elif fault == "huge":
        Image.new("1", (20000, 10000)).save(path)
    elif fault == "thin":
        Image.new("RGB", (2, 50)).save(path)
    elif fault == "float":
        Image.new("F", (8, 8)).save(path, format="TIFF")
    elif fault == "folder":
        path.mkdir()
    with pytest.raises(UserError, match=sentence):
        list(scorer.encode_pictures([path]))


# --- Names and weights --------------------------------------------------------------------------------------------


def test_a_folder_a_relative_folder_and_a_file_name_the_same_model(
    folder: Path, scorer: clip.ClipScorer, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    names = [
        "tiny",
        "./tiny",
        f"{architecture}:{folder}/open_clip_model.safetensors",
        f"{architecture}:tiny/{clip_weights.FOLDER_WEIGHTS[0]}",
    ]
    for name in names:
        other = clip.load_clip(name, batch_size=8)
        assert other.model_hash == scorer.model_hash
        np.testing.assert_array_equal(vectors_of(other, [noise(1)]), vectors_of(scorer, [noise(1)]))
        np.testing.assert_array_equal(other.encode_texts(["a cat"]), scorer.encode_texts(["a cat"]))


@pytest.mark.parametrize("changed", ["weights", "architecture", "preprocessing"])
def test_the_model_hash_tells_weights_architecture_and_preprocessing(
    copied: Path, scorer: clip.ClipScorer, changed: str
) -> None:
    config = json.loads((copied / "open_clip_config.json").read_text())
    if changed == "weights":
        weights = load_file(copied / clip_weights.FOLDER_WEIGHTS[0])
        weights["visual.proj"][0, 0] += 1
        save_file(weights, copied / clip_weights.FOLDER_WEIGHTS[0])
    elif changed == "architecture":
        config["model_cfg"]["quick_gelu"] = True
    else:
        config["preprocess_cfg"]["mean"] = [0.5, 0.5, 0.5]
    (copied / "open_clip_config.json").write_text(json.dumps(config))
    assert clip.load_clip(str(copied)).model_hash != scorer.model_hash


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("ViT-B-33:openai", "the CLIP architecture 'ViT-B-33' is unknown: the nearest known name is ViT-B-32"),
        ("vit-b-32:openai", "the CLIP architecture 'vit-b-32' is unknown: the nearest known name is ViT-B-32"),
        ("ViT-B-32:laion2b_s3", "ViT-B-32 has no published weights 'laion2b_s3': the nearest known name is laion2b_e16"),
        ("ViT-B-32:openai", "the CLIP weights 'openai' were trained with QuickGELU: use ViT-B-32-quickgelu:openai"),
        ("ViT-B-32:/nowhere/a.safetensors", "there is no CLIP weights file at /nowhere/a.safetensors"),
        ("/nowhere/model", "there is no CLIP model folder at /nowhere/model"),
    ],
)  # fmt: skip
def test_a_wrong_name_gets_the_right_one(name: str, sentence: str) -> None:
    assert error_of(name) == sentence


def test_an_architecture_alone_is_refused_never_random(architecture: str) -> None:
    assert error_of("ViT-B-32").startswith("the CLIP model 'ViT-B-32' names no weights: write ViT-B-32:laion")
    assert error_of(architecture).startswith("the CLIP model 'tiny-clip' names no weights: write tiny-clip:/path/")


def test_weights_that_the_library_left_out_are_noticed(folder: Path) -> None:
    source = clip_weights.find_clip(str(folder))
    with pytest.raises(AssertionError, match="unloaded"):
        clip_weights._check_loaded(open_clip.CLIP(**CONFIG), source)


def test_a_folder_without_weights_or_configuration_is_named(copied: Path) -> None:
    (copied / clip_weights.FOLDER_WEIGHTS[0]).unlink()
    assert error_of(copied) == f"the CLIP model folder {copied} has no weights: put open_clip_model.safetensors there"
    (copied / "open_clip_config.json").write_text('{"model_cfg": 3')
    assert error_of(copied).startswith(f"{copied}/open_clip_config.json is not an open_clip configuration (")
    (copied / "open_clip_config.json").unlink()
    assert error_of(copied) == f"{copied} is not a CLIP model folder: it has no open_clip_config.json"


@pytest.mark.parametrize("keep", [0, 5, 400, 100_000])
def test_weights_cut_short_are_named(copied: Path, keep: int) -> None:
    file = copied / clip_weights.FOLDER_WEIGHTS[0]
    file.write_bytes(file.read_bytes()[:keep])
    assert error_of(copied).startswith(f"the CLIP weights {file} are damaged or cut short (")


@pytest.mark.parametrize("fault", ["another model's", "one missing", "none", "pickle"])
def test_weights_that_do_not_fit_are_named(copied: Path, architecture: str, fault: str) -> None:
    file = copied / clip_weights.FOLDER_WEIGHTS[0]
    weights = load_file(file)
    if fault == "another model's":
        weights = {key: torch.zeros(3) for key in weights}
    elif fault == "one missing":
        del weights["visual.proj"]
    elif fault == "none":
        weights = {}
    save_file(weights, file)
    if fault == "pickle":
        file = copied / "weights.pt"
        file.write_bytes(b"\x80\x02cos\nsystem\nq\x00X\x04\x00\x00\x00trueq\x01\x85q\x02Rq\x03.")
    message = error_of(f"{architecture}:{file}")
    wanted = "hold no tensors" if fault == "none" else "does not hold the weights of tiny-clip"
    assert str(file) in message
    assert wanted in message


def test_weights_of_not_a_number_are_noticed(copied: Path) -> None:
    weights = load_file(copied / clip_weights.FOLDER_WEIGHTS[0])
    weights["visual.proj"][:] = torch.nan
    save_file(weights, copied / clip_weights.FOLDER_WEIGHTS[0])
    with pytest.raises(UserError, match=r"open_clip_model\.safetensors gives no usable numbers in fp32"):
        vectors_of(clip.load_clip(str(copied)), [noise(1)])


def test_a_local_openai_checkpoint_points_to_quickgelu(copied: Path, architecture: str) -> None:
    file = copied / "openai.safetensors"
    shutil.copy(copied / clip_weights.FOLDER_WEIGHTS[0], file)
    with pytest.warns(UserWarning, match=f"needs tiny-clip-quickgelu:{file}"):
        clip.load_clip(f"{architecture}:{file}")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"precision": "fp8"}, "CLIP precision 'fp8' is unknown: use fp32, bf16, fp16"),
        ({"batch_size": 0}, "CLIP batch size 0 is too small: use 1 or more"),
        ({"device": "gpu"}, "device 'gpu' is unknown: use auto, cpu, cuda"),
    ],
)
def test_wrong_options_are_named(folder: Path, options: dict[str, object], sentence: str) -> None:
    assert error_of(folder, **options).startswith(sentence)


LIGHT = """
import sys
from models.scoring import clip
print(sorted({"torch", "open_clip", "transformers"} & set(sys.modules)))
"""


def test_heavy_libraries_load_with_a_model_not_before() -> None:
    assert subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True).stdout == "[]\n"


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """HF_HUB_OFFLINE=1 and an empty hub cache; the hub client reads both from the environment only when imported."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_offline_without_the_weights_is_one_sentence(offline: Path) -> None:
    assert error_of("ViT-B-32:laion2b_s34b_b79k") == (
        "the weights of ViT-B-32:laion2b_s34b_b79k are not on this machine and could not be fetched: go online once, "
        "or name a local file, ViT-B-32:/path/weights.safetensors"
    )


def test_offline_weights_fetched_earlier_are_found(offline: Path) -> None:
    repository = offline / "models--laion--CLIP-ViT-B-32-laion2B-s34B-b79K"
    file = repository / "snapshots" / "0123" / clip_weights.FOLDER_WEIGHTS[0]
    file.parent.mkdir(parents=True)
    file.write_bytes(b"cut short")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123")
    assert error_of("ViT-B-32:laion2b_s34b_b79k").startswith(f"the CLIP weights {file} are damaged or cut short (")
