"""Prompts through real (small) text encoders, against diffusers' own way."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from hypothesis import given, settings
from hypothesis import strategies as st

from models.sdxl.embedding import Embedding, read_embedding, write_embedding
from models.sdxl.prompt_encoder import (
    Chunk,
    Encoder,
    embed_chunks,
    encode_pair,
    encode_prompt,
    list_encoders,
    split_into_chunks,
)
from models.sdxl.prompt_syntax import parse_prompt
from models.system.errors import UserError
from tests.support.prompts_corpus import PLAIN, WEIGHTED
from tests.support.tiny import LEGACY_EOS, save, tiny_clip, tiny_sd1, tiny_sdxl

LONG = "a photo of a cat " * 30


@pytest.fixture(scope="module")
def sdxl() -> StableDiffusionXLPipeline:
    return tiny_sdxl()


@pytest.fixture(scope="module")
def legacy() -> StableDiffusionXLPipeline:
    """As published: the second encoder's config names the wrong end of text."""
    return tiny_sdxl(eos_token_id=LEGACY_EOS)


@pytest.fixture(scope="module")
def sd1() -> StableDiffusionPipeline:
    return tiny_sd1()


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Handing work to a second thread takes longer than these models do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def word(token: str = "<pip>", count: int = 3, widths: tuple[int, ...] = (32, 48), seed: int = 1) -> Embedding:
    """About as long as the tables' own vectors, so that putting them in shows."""
    generator = torch.Generator().manual_seed(seed)
    return Embedding(token, tuple(torch.randn(count, width, generator=generator) * 0.05 for width in widths))


def really_add(pipe: StableDiffusionXLPipeline | StableDiffusionPipeline, embedding: Embedding) -> None:
    """diffusers' way: new rows in the tokenizers and the embedding tables."""
    for encoder, table in zip(list_encoders(pipe), embedding.vectors, strict=True):
        pipe.load_textual_inversion(
            {embedding.token: table}, tokenizer=encoder.tokenizer, text_encoder=encoder.model, local_files_only=True
        )


# --- bit equality -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", [prompt for prompt, _ in PLAIN])
def test_sdxl_without_weights_is_what_diffusers_gives(sdxl: StableDiffusionXLPipeline, prompt: str) -> None:
    text = "".join(span.text for span in parse_prompt(prompt))
    hidden, _, pooled, _ = sdxl.encode_prompt(text)
    ours = encode_prompt(list_encoders(sdxl), prompt)
    assert ours.chunks == 1
    assert torch.equal(ours.hidden, hidden)
    assert torch.equal(ours.pooled, pooled)


@pytest.mark.parametrize("prompt", [prompt for prompt, _ in PLAIN])
def test_sd1_without_weights_is_what_diffusers_gives(sd1: StableDiffusionPipeline, prompt: str) -> None:
    text = "".join(span.text for span in parse_prompt(prompt))
    hidden, _ = sd1.encode_prompt(text, "cpu", 1, False)
    ours = encode_prompt(list_encoders(sd1), prompt)
    assert torch.equal(ours.hidden, hidden)
    assert ours.pooled is None


def test_legacy_configs_pool_as_diffusers_does_when_no_word_is_learned(legacy: StableDiffusionXLPipeline) -> None:
    hidden, _, pooled, _ = legacy.encode_prompt("a photo of a cat!")
    ours = encode_prompt(list_encoders(legacy), "a photo of a cat!")
    assert torch.equal(ours.hidden, hidden)
    assert torch.equal(ours.pooled, pooled)


def test_bits_do_not_depend_on_gradients_being_recorded(sdxl: StableDiffusionXLPipeline) -> None:
    with torch.enable_grad():
        recorded = sdxl.encode_prompt("a photo of a cat")[0]
        ours = encode_prompt(list_encoders(sdxl), "a photo of a cat")
    assert recorded.requires_grad
    assert torch.equal(ours.hidden, recorded)
    assert not ours.hidden.requires_grad


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize(
    "prompt",
    ["<pip>", "a photo of <pip> in the forest", "<pip><pip>, a cat", "a <pip>'s hat!!", "<pip> and <mara> in the city"],
)
def test_learned_words_are_what_diffusers_gives(prompt: str, count: int, dtype: torch.dtype) -> None:
    pipe = tiny_sdxl().to(dtype)
    learned = [word("<pip>", count), word("<mara>", 2, seed=2)]
    ours = encode_prompt(list_encoders(pipe), prompt, learned)
    for embedding in learned:
        really_add(pipe, embedding)
    hidden, _, pooled, _ = pipe.encode_prompt(prompt)
    assert ours.hidden.dtype == dtype
    assert torch.equal(ours.hidden, hidden)
    assert torch.equal(ours.pooled, pooled)


def test_learned_words_on_sd1_are_what_diffusers_gives(sd1: StableDiffusionPipeline) -> None:
    pipe, learned = tiny_sd1(), word("<pip>", 4, (32,))
    ours = encode_prompt(list_encoders(sd1), "a photo of <pip> in the forest", [learned])
    really_add(pipe, learned)
    assert torch.equal(ours.hidden, pipe.encode_prompt("a photo of <pip> in the forest", "cpu", 1, False)[0])


# --- the pooled vector ------------------------------------------------------------------------------------------------

FOREST, CITY = "a photo of <pip> in the forest", "a photo of <pip> walking, at sunset"


def test_diffusers_ignores_what_follows_an_added_word_when_it_pools() -> None:
    """Documents the trap. When this fails, diffusers or transformers have mended it."""
    pipe = tiny_sdxl(eos_token_id=LEGACY_EOS)
    really_add(pipe, word())
    assert torch.equal(pipe.encode_prompt(FOREST)[2], pipe.encode_prompt(CITY)[2])


@pytest.mark.parametrize("eos", [None, LEGACY_EOS])
def test_rendering_pools_at_the_true_end_of_text(eos: int | None) -> None:
    encoders = list_encoders(tiny_sdxl(eos_token_id=eos))
    forest, city = (encode_prompt(encoders, prompt, [word()]).pooled for prompt in (FOREST, CITY))
    assert (forest - city).abs().max() > 0.1


def test_the_pooled_vector_does_not_depend_on_what_the_config_says(
    sdxl: StableDiffusionXLPipeline, legacy: StableDiffusionXLPipeline
) -> None:
    one, other = (encode_prompt(list_encoders(pipe), FOREST, [word()]).pooled for pipe in (sdxl, legacy))
    assert torch.equal(one, other)


@pytest.mark.parametrize("eos", [None, LEGACY_EOS])
def test_training_pools_at_the_true_end_of_text_and_gradients_pass_through(eos: int | None) -> None:
    encoder = list_encoders(tiny_sdxl(eos_token_id=eos))[-1]
    vectors = word().vectors[-1].clone().requires_grad_()
    both = [split_into_chunks(prompt, encoder.tokenizer, {"<pip>": 3})[0] for prompt in (FOREST, CITY)]
    with torch.enable_grad():
        _, pooled = embed_chunks(encoder, both, {"<pip>": vectors})
        assert pooled is not None
        pooled[0].sum().backward()
    assert (pooled[0] - pooled[1]).abs().max() > 0.1
    assert vectors.grad is not None
    assert (vectors.grad.abs().sum(dim=1) > 0).all()  # every vector of the word


def test_gradients_reach_the_vectors_through_the_hidden_states(sdxl: StableDiffusionXLPipeline) -> None:
    for encoder, table in zip(list_encoders(sdxl), word().vectors, strict=True):
        vectors = table.clone().requires_grad_()
        with torch.enable_grad():
            hidden, _ = embed_chunks(
                encoder, split_into_chunks(FOREST, encoder.tokenizer, {"<pip>": 3}), {"<pip>": vectors}
            )
            hidden.square().sum().backward()
        assert vectors.grad is not None
        assert (vectors.grad.abs().sum(dim=1) > 0).all()
        assert vectors.grad.dtype == torch.float32


def test_small_vectors_train_in_fp32_beneath_a_bf16_encoder() -> None:
    encoder = list_encoders(tiny_sdxl().to(torch.bfloat16))[0]
    vectors = word().vectors[0].clone().requires_grad_()
    with torch.enable_grad():
        hidden, _ = embed_chunks(
            encoder, split_into_chunks(FOREST, encoder.tokenizer, {"<pip>": 3}), {"<pip>": vectors}
        )
        hidden.sum().backward()
    assert hidden.dtype == torch.bfloat16
    assert vectors.grad is not None
    assert vectors.grad.dtype == torch.float32


# --- chunks -----------------------------------------------------------------------------------------------------------


def cut(prompt: str, encoder: Encoder, **counts: int) -> list[Chunk]:
    return split_into_chunks(prompt, encoder.tokenizer, {f"<{name}>": count for name, count in counts.items()})


def contents(chunk: Chunk) -> tuple[int, ...]:
    return chunk.ids[1 : chunk.end]


@pytest.mark.parametrize("prompt", [prompt for prompt, _ in PLAIN + WEIGHTED])
def test_every_chunk_is_whole(sdxl: StableDiffusionXLPipeline, prompt: str) -> None:
    for encoder in list_encoders(sdxl):
        for chunk in cut(prompt, encoder, pip=3):
            assert len(chunk.ids) == len(chunk.weights) == 77
            assert chunk.ids[0] == encoder.tokenizer.bos_token_id
            assert chunk.ids[chunk.end] == encoder.tokenizer.eos_token_id
            assert chunk.weights[0] == chunk.weights[-1] == 1.0


def test_each_tokenizer_pads_its_own_way(sdxl: StableDiffusionXLPipeline) -> None:
    pads = [cut("a cat", encoder)[0].ids[-1] for encoder in list_encoders(sdxl)]
    assert pads == [sdxl.tokenizer.eos_token_id, 0]


def test_seventy_five_tokens_fill_a_chunk_and_the_next_starts_another(sdxl: StableDiffusionXLPipeline) -> None:
    encoder = list_encoders(sdxl)[0]
    assert [len(contents(chunk)) for chunk in cut("a " * 75, encoder)] == [75]
    assert [len(contents(chunk)) for chunk in cut("a " * 76, encoder)] == [75, 1]
    assert [len(contents(chunk)) for chunk in cut("a " * 200, encoder)] == [75, 75, 50]
    assert cut("a " * 75, encoder)[0].end == 76


def test_a_long_prompt_keeps_every_token(sdxl: StableDiffusionXLPipeline) -> None:
    encoder = list_encoders(sdxl)[0]
    whole = tuple(encoder.tokenizer(LONG, add_special_tokens=False, verbose=False).input_ids)
    assert sum((contents(chunk) for chunk in cut(LONG, encoder)), ()) == whole
    assert encode_prompt(list_encoders(sdxl), LONG).hidden.shape == (1, 3 * 77, 80)


@pytest.mark.parametrize(
    ("prompt", "lengths"),
    [
        ("", [0]),
        ("a BREAK a a", [1, 2]),
        ("a BREAK", [1]),
        ("BREAK a", [0, 1]),
        ("BREAK", [0]),
        ("a BREAK BREAK a", [1, 0, 1]),
        ("a " * 75 + "BREAK a", [75, 1]),
        ("(a BREAK a:1.3) a", [1, 2]),
    ],
)
def test_break_starts_a_chunk(sdxl: StableDiffusionXLPipeline, prompt: str, lengths: list[int]) -> None:
    assert [len(contents(chunk)) for chunk in cut(prompt, list_encoders(sdxl)[0])] == lengths


def test_each_chunk_is_encoded_as_if_it_stood_alone(sdxl: StableDiffusionXLPipeline) -> None:
    encoders = list_encoders(sdxl)
    both = encode_prompt(encoders, "a cat BREAK the city")
    first, second = encode_prompt(encoders, "a cat"), encode_prompt(encoders, "the city")
    assert torch.equal(both.hidden, torch.cat([first.hidden, second.hidden], dim=1))
    assert torch.equal(both.pooled, first.pooled)


def test_weights_sit_on_the_tokens_they_were_written_for(sdxl: StableDiffusionXLPipeline) -> None:
    [chunk] = cut("a (cat:1.5) <pip>, ([the] <pip>:2)", list_encoders(sdxl)[0], pip=2)
    cat, the = (len(sdxl.tokenizer(text, add_special_tokens=False).input_ids) for text in ("cat", "the"))
    expected = [1.0, *[1.5] * cat, 1.0, 1.0, 1.0, *[2 / 1.1] * the, 2.0, 2.0]
    assert list(chunk.weights[1 : chunk.end]) == pytest.approx(expected)


def test_a_learned_word_takes_its_positions(sdxl: StableDiffusionXLPipeline) -> None:
    [chunk] = cut("a <pip> a", list_encoders(sdxl)[0], pip=3)
    assert chunk.slots == ((2, "<pip>", 0), (3, "<pip>", 1), (4, "<pip>", 2))
    assert chunk.end == 6
    assert max(chunk.ids) == chunk.ids[chunk.end]  # so that pooling at the highest id finds the end


def test_a_learned_word_is_never_cut_in_two(sdxl: StableDiffusionXLPipeline) -> None:
    first, second = cut("a " * 73 + "<pip> a", list_encoders(sdxl)[0], pip=3)
    assert (len(contents(first)), first.slots) == (73, ())
    assert [position for position, _, _ in second.slots] == [1, 2, 3]
    [full] = cut("a " * 72 + "<pip>", list_encoders(sdxl)[0], pip=3)
    assert [position for position, _, _ in full.slots] == [73, 74, 75]


def test_a_learned_word_longer_than_a_chunk_is_refused(sdxl: StableDiffusionXLPipeline) -> None:
    assert len(cut("<pip>", list_encoders(sdxl)[0], pip=75)) == 1
    with pytest.raises(UserError, match=r"<pip> has 76 vectors, but a chunk of this model holds only 75"):
        cut("<pip>", list_encoders(sdxl)[0], pip=76)


def test_only_the_exact_name_is_the_learned_word(sdxl: StableDiffusionXLPipeline) -> None:
    assert [chunk.slots for chunk in cut("<Pip> <pipa> pip <pi", list_encoders(sdxl)[0], pip=1)] == [()]


def test_the_longest_of_two_names_that_begin_alike_wins(sdxl: StableDiffusionXLPipeline) -> None:
    [chunk] = split_into_chunks("pip-2 pip", sdxl.tokenizer, {"pip": 1, "pip-2": 1})
    assert [token for _, token, _ in chunk.slots] == ["pip-2", "pip"]


@settings(deadline=None, max_examples=60)
@given(prompt=st.text(st.characters(exclude_categories=["Cs"])), count=st.integers(1, 75))
def test_any_text_is_cut_into_whole_chunks(prompt: str, count: int) -> None:
    for pad in tiny_tokenizers():
        found = split_into_chunks(prompt + " <pip>", pad, {"<pip>": count})
        assert all(len(chunk.ids) == 77 and chunk.end <= 76 for chunk in found)
        assert [index for chunk in found for _, _, index in chunk.slots] == list(range(count))
        assert len({number for number, chunk in enumerate(found) if chunk.slots}) == 1


def tiny_tokenizers() -> list[object]:
    from tests.support.tiny import END, tokenizer

    return [tokenizer(END), tokenizer("!")]


# --- the hook ---------------------------------------------------------------------------------------------------------


def test_nothing_stays_behind_in_the_encoder(sdxl: StableDiffusionXLPipeline) -> None:
    before = [len(encoder.tokenizer) for encoder in list_encoders(sdxl)]
    plain = encode_prompt(list_encoders(sdxl), "a cat").hidden
    encode_prompt(list_encoders(sdxl), FOREST, [word()])
    assert all(not encoder.model.get_input_embeddings()._forward_hooks for encoder in list_encoders(sdxl))
    assert [len(encoder.tokenizer) for encoder in list_encoders(sdxl)] == before
    assert torch.equal(encode_prompt(list_encoders(sdxl), "a cat").hidden, plain)


def test_the_hook_is_taken_off_after_an_error(sdxl: StableDiffusionXLPipeline) -> None:
    encoder = list_encoders(sdxl)[0]
    with pytest.raises(RuntimeError):
        embed_chunks(encoder, cut("<pip>", encoder, pip=1), {"<pip>": torch.zeros(1, 5)})
    assert not encoder.model.get_input_embeddings()._forward_hooks


def test_a_batch_puts_each_vector_into_its_own_row(sdxl: StableDiffusionXLPipeline) -> None:
    encoder, vectors = list_encoders(sdxl)[0], {"<pip>": word().vectors[0]}
    prompts = ["a cat", FOREST, "<pip>"]
    batch = [cut(prompt, encoder, pip=3)[0] for prompt in prompts]
    together, _ = embed_chunks(encoder, batch, vectors)
    for row, chunk in enumerate(batch):
        torch.testing.assert_close(together[row], embed_chunks(encoder, [chunk], vectors)[0][0], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(together[1], together[2], atol=1e-2)


# --- weights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["a (cat:1.5) in a hat", "a [cat], (the city:1.2) (<pip>:0.5)"])
def test_weights_scale_their_tokens_and_keep_each_mean(sdxl: StableDiffusionXLPipeline, prompt: str) -> None:
    encoders, learned = list_encoders(sdxl), word()
    flat = "".join(span.text for span in parse_prompt(prompt))
    ours, plain = encode_prompt(encoders, prompt, [learned]), encode_prompt(encoders, flat, [learned])
    for encoder, left, right in zip(encoders, (0, 32), (32, 80), strict=True):
        mine, theirs = ours.hidden[..., left:right], plain.hidden[..., left:right]
        assert mine.mean().item() == pytest.approx(theirs.mean().item(), rel=1e-4)
        weights = torch.tensor(cut(prompt, encoder, pip=3)[0].weights)
        ratio = (mine / theirs).median(dim=-1).values[0] / weights
        torch.testing.assert_close(ratio, torch.full((77,), ratio[0].item()))  # one factor for the whole chunk
        assert not torch.allclose(mine, theirs)


def test_the_pooled_vector_takes_no_weights(sdxl: StableDiffusionXLPipeline) -> None:
    encoders = list_encoders(sdxl)
    assert torch.equal(encode_prompt(encoders, "a (cat:1.5)").pooled, encode_prompt(encoders, "a cat").pooled)


def test_weights_leave_other_chunks_alone(sdxl: StableDiffusionXLPipeline) -> None:
    encoders = list_encoders(sdxl)
    mixed = encode_prompt(encoders, "a (cat:1.5) BREAK the city").hidden
    assert torch.equal(mixed[:, 77:], encode_prompt(encoders, "the city").hidden)


def test_a_mean_of_zero_does_not_blow_the_prompt_up() -> None:
    """A final norm without bias makes every mean zero up to rounding, and so the ratio of two of them anything."""
    pipe = tiny_sd1()
    torch.nn.init.ones_(pipe.text_encoder.final_layer_norm.weight)
    torch.nn.init.zeros_(pipe.text_encoder.final_layer_norm.bias)
    [encoder] = list_encoders(pipe)
    plain, weighted = (
        encode_prompt([encoder], "a cat in a hat").hidden,
        encode_prompt([encoder], "a (cat:1.5) in a hat").hidden,
    )
    weights = torch.tensor(cut("a (cat:1.5) in a hat", encoder)[0].weights)
    torch.testing.assert_close(weighted, plain * weights[None, :, None])  # weighed, and not scaled on top


# --- several chunks, negatives ----------------------------------------------------------------------------------------


def test_min_chunks_appends_empty_ones(sdxl: StableDiffusionXLPipeline) -> None:
    encoders = list_encoders(sdxl)
    longer, short, empty = (
        encode_prompt(encoders, "a cat", min_chunks=3),
        encode_prompt(encoders, "a cat"),
        encode_prompt(encoders, ""),
    )
    assert longer.chunks == 3
    assert torch.equal(longer.hidden, torch.cat([short.hidden, empty.hidden, empty.hidden], dim=1))
    assert torch.equal(longer.pooled, short.pooled)


def test_encoders_that_cut_differently_end_up_equally_long(sdxl: StableDiffusionXLPipeline) -> None:
    encoders = list_encoders(sdxl)
    encoders[0].tokenizer = lengthened(encoders[0].tokenizer)
    assert [len(cut("a " * 75, encoder)) for encoder in encoders] == [2, 1]
    assert encode_prompt(encoders, "a " * 75).hidden.shape == (1, 2 * 77, 80)


def lengthened(tokenizer: object) -> object:
    """A tokenizer that needs one id more."""

    class Longer:
        def __getattr__(self, name: str) -> object:
            return getattr(tokenizer, name)

        def __call__(self, text: str, **options: object) -> object:
            return tokenizer(text + " a", **options)  # type: ignore[operator]

    return Longer()


@pytest.mark.parametrize(("prompt", "negative"), [("a cat", LONG), (LONG, "a cat"), ("a cat", ""), (LONG, LONG)])
def test_a_pair_has_one_length(sdxl: StableDiffusionXLPipeline, prompt: str, negative: str) -> None:
    encoders = list_encoders(sdxl)
    one, other = encode_pair(encoders, prompt, negative)
    assert one.hidden.shape == other.hidden.shape
    assert torch.equal(one.hidden, encode_prompt(encoders, prompt, min_chunks=one.chunks).hidden)
    assert torch.equal(other.hidden, encode_prompt(encoders, negative, min_chunks=one.chunks).hidden)


@pytest.mark.parametrize("negative", [None, "", "red hair"])
def test_a_pair_is_what_diffusers_gives(sdxl: StableDiffusionXLPipeline, negative: str | None) -> None:
    theirs = sdxl.encode_prompt("a photo of a cat", negative_prompt=negative)
    one, other = encode_pair(list_encoders(sdxl), "a photo of a cat", negative or "", zero_negative=negative is None)
    for mine, expected in zip((one.hidden, other.hidden, one.pooled, other.pooled), theirs, strict=True):
        assert torch.equal(mine, expected)


def test_a_pair_on_sd1_is_what_diffusers_gives(sd1: StableDiffusionPipeline) -> None:
    hidden, negative = sd1.encode_prompt("a photo of a cat", "cpu", 1, True, "red hair")
    one, other = encode_pair(list_encoders(sd1), "a photo of a cat", "red hair", zero_negative=True)
    assert torch.equal(one.hidden, hidden)
    assert torch.equal(other.hidden, negative)
    assert one.pooled is other.pooled is None


# --- which encoders ---------------------------------------------------------------------------------------------------


def test_encoders_of_each_kind_of_model(sdxl: StableDiffusionXLPipeline, sd1: StableDiffusionPipeline) -> None:
    assert [(e.embedding_width, e.penultimate, e.projected) for e in list_encoders(sdxl)] == [
        (32, True, False),
        (48, True, True),
    ]
    assert [(e.embedding_width, e.penultimate, e.projected) for e in list_encoders(sd1)] == [(32, False, False)]


def test_the_refiner_has_only_the_second_encoder_and_takes_sdxl_words() -> None:
    pipe = tiny_sdxl()
    pipe.tokenizer = pipe.text_encoder = None
    [encoder] = list_encoders(pipe)
    plain = encode_prompt([encoder], "a photo of a cat")
    hidden, _, pooled, _ = pipe.encode_prompt("a photo of a cat")
    assert torch.equal(plain.hidden, hidden)
    assert torch.equal(plain.pooled, pooled)
    assert torch.equal(
        encode_prompt([encoder], FOREST, [word()]).pooled,
        encode_prompt(list_encoders(tiny_sdxl()), FOREST, [word()]).pooled,
    )


def test_a_word_for_another_kind_of_model_is_refused(
    sdxl: StableDiffusionXLPipeline, sd1: StableDiffusionPipeline
) -> None:
    with pytest.raises(UserError, match=r"<pip> was learned for encoders of width 32, but this model's are 32, 48"):
        encode_prompt(list_encoders(sdxl), "<pip>", [word(widths=(32,))])
    with pytest.raises(UserError, match=r"<pip> was learned for encoders of width 32, 48, but this model's are 32$"):
        encode_prompt(list_encoders(sd1), "<pip>", [word()])


def test_one_name_for_two_words_is_refused(sdxl: StableDiffusionXLPipeline) -> None:
    with pytest.raises(UserError, match="the same token"):
        encode_prompt(list_encoders(sdxl), "<pip>", [word(), word(seed=2)])


# --- the small models themselves, and the embedding file --------------------------------------------------------------


def test_small_models_are_the_same_for_the_same_seed_and_leave_the_random_state_alone() -> None:
    state = torch.get_rng_state()
    one, same, other = tiny_sdxl(seed=3), tiny_sdxl(seed=3), tiny_sdxl(seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.unet.conv_in.weight, same.unet.conv_in.weight)
    assert not torch.equal(one.unet.conv_in.weight, other.unet.conv_in.weight)


def test_small_models_are_saved_and_read_as_the_full_ones_are(
    sdxl: StableDiffusionXLPipeline, sd1: StableDiffusionPipeline, tmp_path: Path
) -> None:
    again = StableDiffusionXLPipeline.from_pretrained(save(sdxl, tmp_path / "xl"), local_files_only=True)
    older = StableDiffusionPipeline.from_pretrained(save(sd1, tmp_path / "sd1"), local_files_only=True)
    for one, other in ((sdxl, again), (sd1, older)):
        prompts = [encode_prompt(list_encoders(pipe), "wow!! a photo of a cat").hidden for pipe in (one, other)]
        torch.testing.assert_close(*prompts)
    assert (again.tokenizer.pad_token, again.tokenizer_2.pad_token) == ("<|endoftext|>", "!")
    assert 2 ** (len(again.vae.config.block_out_channels) - 1) == again.vae_scale_factor == 8


def test_the_small_clip_is_an_open_clip_folder(tmp_path: Path) -> None:
    import open_clip

    name = f"local-dir:{tiny_clip(tmp_path / 'clip')}"
    model, _, _ = open_clip.create_model_and_transforms(name, require_pretrained=True)
    assert model.encode_text(open_clip.get_tokenizer(name)(["a cat"])).shape == (1, 32)


def test_an_embedding_survives_its_file(tmp_path: Path) -> None:
    for embedding in (word(), word(widths=(32,))):
        write_embedding(tmp_path / "pip.safetensors", embedding, {"steps": "500"})
        again = read_embedding(tmp_path / "pip.safetensors")
        assert again.token == "<pip>"
        assert all(torch.equal(one, other) for one, other in zip(again.vectors, embedding.vectors, strict=True))
        assert again == embedding
        assert [path.name for path in tmp_path.iterdir()] == ["pip.safetensors"]


def test_the_file_has_the_two_keys_that_other_programs_want(tmp_path: Path) -> None:
    from safetensors import safe_open

    write_embedding(tmp_path / "pip.safetensors", word(count=2), {"steps": "500"})
    with safe_open(tmp_path / "pip.safetensors", framework="pt") as file:
        assert {key: file.get_slice(key).get_shape() for key in file.keys()} == {"clip_l": [2, 32], "clip_g": [2, 48]}  # noqa: SIM118
        assert file.metadata() == {"steps": "500", "token": "<pip>"}


def test_the_hash_names_token_and_bits() -> None:
    first = word()
    changed = first.vectors[0].clone()
    changed[0, 0] = torch.nextafter(changed[0, 0], torch.tensor(9.0))
    others = [word("<pib>"), word(seed=2), Embedding("<pip>", (changed, first.vectors[1])), word(count=2)]
    assert first.hash == word().hash
    assert len({first.hash, *(other.hash for other in others)}) == 5


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pip.safetensors"
    write_embedding(path, word(), {})

    def full(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match="no space"):
        write_embedding(path, word(seed=2), {})
    assert read_embedding(path) == word()
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_wrong_with_a_file_is_said_in_one_sentence(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "pip.safetensors"
    with pytest.raises(UserError, match="there is no embedding file"):
        read_embedding(path)
    write_embedding(path, word(), {})
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(UserError, match="not a readable safetensors file"):
        read_embedding(path)
    path.write_text("hello")
    with pytest.raises(UserError, match="not a readable safetensors file"):
        read_embedding(path)
    wrong = {
        "holds no 'clip_l'": {"clip_g": torch.ones(1, 48)},
        "holds 'emb_params'": {"clip_l": torch.ones(1, 32), "emb_params": torch.ones(1, 32)},
        "has 1 and 2 vectors": {"clip_l": torch.ones(1, 32), "clip_g": torch.ones(2, 48)},
        r"needs a table \[n, width\]": {"clip_l": torch.ones(32)},
        "not finite numbers": {"clip_l": torch.full((1, 32), float("nan"))},
    }
    for message, tables in wrong.items():
        save_file(tables, path, metadata={"token": "<pip>"})
        with pytest.raises(UserError, match=message):
            read_embedding(path)
    save_file({"clip_l": torch.ones(1, 32)}, path)
    with pytest.raises(UserError, match="does not say which word"):
        read_embedding(path)
    assert read_embedding(path, token="<pip>").token == "<pip>"


@pytest.mark.parametrize("token", ["pip", "<pip", "<>", "<a b>", "<a<b>", "<a:1>", "<(a)>", "<a|b>"])
def test_a_token_stands_in_angle_brackets(token: str) -> None:
    with pytest.raises(UserError, match="must stand in angle brackets"):
        word(token)
