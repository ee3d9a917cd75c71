"""The file of a learned word: its record, its bytes, and its meaning to other programs."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from models import toybox
from models.picture.shot import Ref, Shot
from models.sdxl import locate, renderer
from models.sdxl.embedding import (
    Embedding,
    EmbeddingMetadata,
    pack_safetensors,
    read_embedding,
    read_tensors,
    round_to_half,
    write_embedding,
)
from models.sdxl.embedding_formats import export_embedding
from models.sdxl.pipeline import Options
from models.sdxl.prompt_encoder import encode_prompt, list_encoders
from models.sdxl.renderer import Renderer
from models.system.errors import UserError

ABOUT = EmbeddingMetadata(
    persona="pip",
    base_model="b" * 64,
    base_model_name="toybox",
    references=("1" * 64, "2" * 64),
    settings={"vectors": 2, "stages": [[512, 0.6]], "rate": None, "init": "füchsin"},
    seed=7,
    versions={"torch": "2.13"},
    metrics={"identity": 0.5, "leak": None},
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS


def word(count: int = 2, widths: tuple[int, ...] = (32, 48), seed: int = 0, scale: float = 1.0) -> Embedding:
    generator = torch.Generator().manual_seed(seed)
    return Embedding("<pip>", tuple(torch.randn(count, width, generator=generator) * scale for width in widths))


def test_a_record_comes_back_from_its_file(tmp_path: Path) -> None:
    write_embedding(tmp_path / "pip.safetensors", word(), ABOUT)
    assert EmbeddingMetadata.from_header(read_tensors(tmp_path / "pip.safetensors")[1]) == ABOUT
    assert read_embedding(tmp_path / "pip.safetensors") == word()


@given(
    st.builds(
        EmbeddingMetadata,
        persona=TEXTS,
        base_model_name=TEXTS,
        references=st.lists(TEXTS, max_size=3).map(tuple),
        settings=st.dictionaries(TEXTS, VALUES | st.lists(VALUES, max_size=3), max_size=4),
        seed=st.none() | st.integers(0, 2**64),
        versions=st.dictionaries(TEXTS, TEXTS, max_size=3),
        metrics=st.dictionaries(TEXTS, st.none() | st.floats(allow_nan=False), max_size=3),
    )
)
@settings(max_examples=50, deadline=None)
def test_every_record_comes_back_from_its_header(about: EmbeddingMetadata) -> None:
    content = pack_safetensors({"clip_l": torch.ones(1, 4)}, about.to_header())
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    assert all(isinstance(value, str) for value in header.values())
    assert EmbeddingMetadata.from_header(header) == about


def test_other_programs_find_plain_texts_in_the_header(tmp_path: Path) -> None:
    write_embedding(tmp_path / "pip.safetensors", word(), ABOUT)
    with safe_open(tmp_path / "pip.safetensors", "pt") as file:
        header = file.metadata()
        assert set(file.keys()) == {"clip_l", "clip_g"}
    assert (header["token"], header["persona"], header["seed"]) == ("<pip>", "pip", "7")
    assert json.loads(header["references"]) == ["1" * 64, "2" * 64]
    assert json.loads(header["settings"])["init"] == "füchsin"


def test_equal_words_have_equal_bytes(tmp_path: Path) -> None:
    """safetensors alone writes the entries in another order each time."""
    for number in range(8):
        write_embedding(tmp_path / f"{number}.safetensors", word(), ABOUT)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_a_header_of_another_program_says_nothing() -> None:
    assert EmbeddingMetadata.from_header({"settings": "not ours", "seed": "seven"}) == EmbeddingMetadata()
    with pytest.raises(UserError, match="the header of this embedding is damaged"):
        EmbeddingMetadata.from_header(ABOUT.to_header() | {"seed": "seven"})


def test_half_precision_is_half_as_large_and_close(tmp_path: Path) -> None:
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    many = word(count=64)
    write_embedding(whole, many, {})
    write_embedding(half, many, {}, half=True)
    assert half.stat().st_size < 0.52 * whole.stat().st_size
    assert read_tensors(half)[0]["clip_g"].dtype == torch.float16
    again = read_embedding(half)
    assert again == round_to_half(many) != many
    for one, other in zip(again.vectors, many.vectors, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_what_half_precision_cannot_hold_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the vectors of clip_l are too large for half precision: write them in full"):
        write_embedding(tmp_path / "pip.safetensors", word(scale=1e6), {}, half=True)
    assert list(tmp_path.iterdir()) == []


# --- read back by diffusers -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[StableDiffusionXLPipeline, Embedding]:
    """Toybox with a word as diffusers itself puts one in: two files, two calls."""
    pipe = StableDiffusionXLPipeline.from_pretrained(
        toybox.weights_folder(), torch_dtype=torch.float32, local_files_only=True
    )
    encoders = list_encoders(pipe)
    like = [encoder.model.get_input_embeddings().weight.std().item() for encoder in encoders]
    plain = word(widths=tuple(encoder.embedding_width for encoder in encoders))
    learned = Embedding("<pip>", tuple(table * size for table, size in zip(plain.vectors, like, strict=True)))
    path = tmp_path_factory.mktemp("words") / "pip.safetensors"
    for file, encoder in zip(export_embedding(path, learned, ABOUT, "diffusers"), encoders, strict=True):
        pipe.load_textual_inversion(
            str(file), text_encoder=encoder.model, tokenizer=encoder.tokenizer, local_files_only=True
        )
    return pipe, learned


@pytest.fixture(scope="module")
def ours() -> Renderer:
    return renderer.load_renderer(locate.locate_model("toybox"), Options(device="cpu", precision="fp32"))


PROMPT = "a portrait of <pip> in the forest"


def test_diffusers_reads_our_file_as_the_same_features(
    theirs: tuple[StableDiffusionXLPipeline, Embedding], ours: Renderer
) -> None:
    pipe, learned = theirs
    with torch.no_grad():
        hidden, _, pooled, _ = pipe.encode_prompt(PROMPT)
        mine = encode_prompt(ours.encoders, PROMPT, [learned])
        without = encode_prompt(ours.encoders, PROMPT)
    assert torch.equal(hidden, mine.hidden)
    assert not torch.equal(without.hidden, mine.hidden)
    # Toybox's config names the true end of text; with a published one diffusers would pool at the word.
    assert torch.equal(pooled, mine.pooled)


def test_diffusers_renders_our_file_as_the_same_pixels(
    theirs: tuple[StableDiffusionXLPipeline, Embedding], ours: Renderer, tmp_path: Path
) -> None:
    pipe, learned = theirs
    path = tmp_path / "pip.safetensors"
    write_embedding(path, learned, ABOUT)
    shot = Shot(
        prompt=PROMPT, model=ours.source.ref, seed=3, width=64, height=64, steps=3, guidance=1.0,
        embeddings=(Ref(str(path), learned.hash),),
    )  # fmt: skip
    [picture] = ours.generate([shot])
    generator = torch.Generator("cpu").manual_seed(3)
    size = {"width": 64, "height": 64, "num_inference_steps": 3, "guidance_scale": 1.0}
    with torch.no_grad():
        [image] = pipe(PROMPT, generator=generator, **size).images
    assert image.tobytes() == picture.image.tobytes()
    [plain] = ours.generate([shot.with_changes(embeddings=())])
    assert plain.image.tobytes() != image.tobytes()
