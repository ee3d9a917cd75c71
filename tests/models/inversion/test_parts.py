"""The parts of the trainer, each on its own: rates, settings, draws, captions, pictures, formulas, the plateau."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, EulerDiscreteScheduler, StableDiffusionXLPipeline
from PIL import Image

from models.inversion import examples as inversion_data
from models.inversion import learning_rate as inversion_rates
from models.inversion import random_draws as inversion_draws
from models.inversion import vectors as inversion_words
from models.inversion.captions import TrainingCaptions
from models.inversion.checkpoint import Checkpoint, pack_checkpoint, unpack_checkpoint
from models.inversion.config import config_as_json as inversion_plain
from models.inversion.examples import Cut, Pixels, draw_cuts, read_example, time_ids
from models.inversion.loss import NoiseSchedule
from models.inversion.optimizer import OptimizerState
from models.inversion.random_draws import DrawKey
from models.inversion.training import Config, Plateau, TrainingExample
from models.sdxl.embedding import Embedding
from models.sdxl.prompt_encoder import Encoder, list_encoders
from models.system.errors import UserError
from tests.support.tiny import tiny_sdxl

A1111 = "5e-2:100, 5e-3:500, 5e-4:1000, 5e-5:1500, 5e-6"


@pytest.fixture(scope="module")
def pipe() -> StableDiffusionXLPipeline:
    return tiny_sdxl()


@pytest.fixture(scope="module")
def encoders(pipe: StableDiffusionXLPipeline) -> list[Encoder]:
    return list_encoders(pipe)


def config(**knobs: Any) -> Config:
    return Config(**({"token": "<pip>", "init": "red hair", "vectors": 2} | knobs))


# --- rates ------------------------------------------------------------------------------------------------------------


def test_a_stepwise_schedule_holds_each_rate_up_to_its_step() -> None:
    stretches = inversion_rates.parse_rates(A1111)
    rates = {
        step: inversion_rates.rate_of_step(stretches, step - 1, 2000)
        for step in (1, 100, 101, 500, 501, 1500, 1501, 2000)
    }
    expected = {1: 5e-2, 100: 5e-2, 101: 5e-3, 500: 5e-3, 501: 5e-4, 1500: 5e-5, 1501: 5e-6, 2000: 5e-6}
    assert rates == expected


def test_a_number_is_one_rate_for_all_steps() -> None:
    assert inversion_rates.parse_rates(2e-3) == inversion_rates.parse_rates("0.002") == ((2e-3, None),)
    assert inversion_rates.parse_rates("1e-3:50, 1e-4:-1,") == ((1e-3, 50), (1e-4, None))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "'' is not rate:step"),
        ("fast", "'fast' is not rate:step"),
        ("1e-3:soon", "'1e-3:soon' is not rate:step"),
        ("1e-3:10, 1e-4, 1e-5", "'1e-4' says no step to end at, and more follows"),
        ("1e-3:100, 1e-4:100", "'1e-4:100' ends at step 100, not after step 100"),
        ("0:10, 1e-3", "'0:10' is not a rate above 0"),
        ("nan", "'nan' is not a rate above 0"),
    ],
)
def test_what_is_wrong_with_a_schedule_is_named(text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        config(rate=text)


def test_a_schedule_lasts_as_long_as_the_training() -> None:
    config(rate="1e-3:1000", steps=1000)
    with pytest.raises(UserError, match="the rates end at step 1000 and the training at 1001"):
        config(rate="1e-3:1000", steps=1001)


def test_cosine_and_warm_up() -> None:
    made = config(rate=1.0, decay="cosine", warmup=4, steps=104)
    assert [made.rate_at(step) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert made.rate_at(4 + 25) == pytest.approx(0.5 + 0.5 * math.cos(math.pi / 4))
    assert made.rate_at(4 + 50) == pytest.approx(0.5)
    assert 0 < made.rate_at(103) < 0.001


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("knobs", "sentence"),
    [
        ({"token": "pip"}, "must stand in angle brackets"),
        ({"vectors": 65}, "vectors 65 is out of range: use a whole number from 1 to 64"),
        ({"vectors": 2.5}, "vectors 2.5 is out of range"),
        ({"steps": 0}, "steps 0 is out of range"),
        ({"tag_dropout": float("nan")}, "tag_dropout nan is out of range: use a number from 0 to 1"),
        ({"betas": (0.9, 1.0)}, "must stay below 1"),
        ({"norms": (0.9, 0.1)}, "must rise"),
        ({"decay": "linear"}, "decay 'linear' is unknown: use one of constant, cosine"),
        ({"optimizer": "sgd"}, "optimizer 'sgd' is unknown: use one of adam-mini, adamw, prodigy"),
        ({"stages": ((500, 1.0),)}, "stage size 500 is out of range: use a multiple of 8"),
        ({"stages": ((64, 0.6), (128, 0.5))}, "do not grow"),
        ({"stages": ((64, 0.6),)}, "leave the last steps without a size"),
        ({"init": "  "}, "the initial phrase of <pip> is empty"),
    ],
)
def test_a_setting_out_of_range_is_named(knobs: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        config(**knobs)


def test_prodigy_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    monkeypatch.delitem(__import__("sys").modules, "prodigyopt", raising=False)
    with pytest.raises(UserError, match="pip install prodigyopt, or use adamw"):
        config(optimizer="prodigy")


def test_stages_split_the_steps() -> None:
    made = config(steps=10, stages=((512, 0.6), (768, 1.0)))
    assert [made.side_at(step, 1024) for step in (0, 5, 6, 9)] == [512, 512, 768, 768]
    assert config().side_at(3, 1024) == config().last_side(1024) == 1024


# --- draws ------------------------------------------------------------------------------------------------------------


def test_what_a_place_draws_does_not_depend_on_how_the_step_is_cut() -> None:
    whole = inversion_draws.draw_keys(config(batch=8), 3, 0)
    halves = [at for micro in range(2) for at in inversion_draws.draw_keys(config(batch=4, accumulation=2), 3, micro)]
    shared = [at for rank in range(4) for at in inversion_draws.draw_keys(config(batch=8), 3, 0, rank, 4)]
    assert whole == halves == shared
    assert len(set(whole)) == 8


def test_every_picture_comes_once_before_any_comes_again() -> None:
    seen = [inversion_draws.draw_example(7, DrawKey(step, place, 4), 6) for step in range(6) for place in range(4)]
    rounds = [seen[start : start + 6] for start in range(0, 24, 6)]
    assert all(sorted(each) == list(range(6)) for each in rounds)
    assert len({tuple(each) for each in rounds}) > 1


def test_times_are_spread_over_the_step() -> None:
    steps = [
        [inversion_draws.draw_timestep(7, DrawKey(step, place, 5), 1000) for place in range(5)] for step in range(200)
    ]
    assert all(sorted(time // 200 for time in each) == [0, 1, 2, 3, 4] for each in steps)
    assert len({time for each in steps for time in each}) > 500
    assert {each[0] // 200 for each in steps} == {0, 1, 2, 3, 4}  # no place is tied to one part


def test_noise_is_normal_follows_seed_and_place_and_takes_an_offset() -> None:
    shape = (4, 32, 32)
    posterior, plain = inversion_draws.draw_noise(1, DrawKey(2, 0, 4), shape, 0.0)
    again = inversion_draws.draw_noise(1, DrawKey(2, 0, 4), shape, 0.0)
    assert torch.equal(plain, again[1])
    assert torch.equal(posterior, again[0])
    assert abs(float(plain.mean())) < 0.05
    assert float(plain.std()) == pytest.approx(1, abs=0.05)
    others = [(2, DrawKey(2, 0, 4)), (1, DrawKey(3, 0, 4)), (1, DrawKey(2, 1, 4))]
    assert not any(torch.equal(inversion_draws.draw_noise(*each, shape, 0.0)[1], plain) for each in others)
    assert not torch.equal(posterior, plain)
    shift = inversion_draws.draw_noise(1, DrawKey(2, 0, 4), shape, 0.5)[1] - plain
    assert torch.allclose(shift, shift[:, :1, :1].expand(shape), atol=1e-6)
    assert len(set(shift[:, 0, 0].tolist())) == 4


# --- captions ---------------------------------------------------------------------------------------------------------

TAGS = "a photo of <pip>, red hat, (beach, sunset:1.2), city"


def captions(texts: Sequence[str], encoders: list[Encoder], **knobs: Any) -> TrainingCaptions:
    return TrainingCaptions([texts], encoders, config(**knobs))


def variants(made: TrainingCaptions, count: int = 60) -> set[str]:
    return {made.vary_caption(0, DrawKey(step, 0, 1)) for step in range(count)}


def test_captions_are_left_alone_unless_asked(encoders: list[Encoder]) -> None:
    assert variants(captions([TAGS], encoders)) == {TAGS}
    assert variants(captions([TAGS, "<pip>"], encoders)) == {TAGS, "<pip>"}


def test_tags_are_shuffled_around_the_one_with_the_word(encoders: list[Encoder]) -> None:
    found = variants(captions([TAGS], encoders, shuffle_tags=True))
    assert len(found) == 6
    assert all(each.startswith("a photo of <pip>, ") for each in found)
    assert all("(beach, sunset:1.2)" in each and "red hat" in each and "city" in each for each in found)


def test_tags_are_left_out(encoders: list[Encoder]) -> None:
    found = variants(captions([TAGS], encoders, tag_dropout=0.5))
    assert {"a photo of <pip>", TAGS, "a photo of <pip>, city"} <= found
    assert all("<pip>" in each for each in found)


def test_a_dropped_caption_leaves_the_word_alone(encoders: list[Encoder]) -> None:
    assert variants(captions([TAGS], encoders, caption_dropout=1.0)) == {"<pip>"}
    assert variants(captions([TAGS], encoders, caption_dropout=0.3)) == {"<pip>", TAGS}


def test_all_prompts_have_as_many_chunks_as_the_longest(encoders: list[Encoder]) -> None:
    made = TrainingCaptions([["a " * 100 + "<pip>"], ["<pip>"]], encoders, config())
    assert made.count == 2
    assert [len(part) for part in made.prompt_chunks("<pip>")] == [2, 2]
    assert made.prompt_chunks("<pip>")[1][1].slots == ()


def test_a_shuffle_that_would_take_another_chunk_is_not_used(encoders: list[Encoder]) -> None:
    """150 ids fill two chunks to the last place. With the reds first, the word would not fit where the first ends."""
    text = ", ".join([" ".join(["a"] * 30), "<pip>", " ".join(["red"] * 73), " ".join(["city"] * 40)])
    made = captions([text], encoders, shuffle_tags=True, vectors=4)
    assert made.count == 2
    found = variants(made)
    assert len(found) == 4  # of six
    assert all(len(part) == 2 for each in found for part in made.prompt_chunks(each))


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        ([], "picture 1 has no caption: write one with <pip> in it"),
        (["<pip>", "a photo of pip"], "the caption 'a photo of pip' of picture 1 lacks <pip>"),
    ],
)
def test_a_caption_without_the_word_is_refused(texts: list[str], sentence: str, encoders: list[Encoder]) -> None:
    with pytest.raises(UserError, match=sentence):
        captions(texts, encoders)


def test_more_vectors_than_a_chunk_holds_are_refused(encoders: list[Encoder]) -> None:
    captions(["<pip>"], encoders, vectors=64)
    short = [Encoder(_Short(each.tokenizer), each.model, True, False) for each in encoders]
    with pytest.raises(UserError, match="<pip> has 31 vectors, but a chunk of this model holds only 30"):
        captions(["<pip>"], short, vectors=31)


class _Short:
    """A tokenizer of a model with shorter prompts."""

    model_max_length = 32

    def __init__(self, whole: Any) -> None:
        self._whole = whole

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._whole(*args, **options)


# --- pictures ---------------------------------------------------------------------------------------------------------


def pixels(width: int, height: int, **more: Any) -> Pixels:
    image = Image.new("RGB", (width, height))
    return Pixels("it", image, None, more.get("original", image.size), more.get("corner", (0, 0)))


def test_the_middle_square_with_its_true_sizes() -> None:
    [cut] = draw_cuts((200, 100), 64, config(), 0)
    assert cut == Cut(0.64, 32, 0, 64)
    assert cut.pixel_box == pytest.approx((50, 0, 150, 100))
    assert time_ids(pixels(200, 100), cut, mirrored=False) == (100, 200, 0, 32, 64, 64)


def test_a_mirrored_cut_is_where_it_is_in_the_mirrored_picture() -> None:
    cut = Cut(0.64, 10, 0, 64)  # of 128 scaled pixels, 54 are right of it
    assert time_ids(pixels(200, 100), cut, mirrored=True) == (100, 200, 0, 54, 64, 64)


def test_a_picture_that_was_cut_before_says_from_where() -> None:
    cut = Cut(0.5, 3, 5, 64)
    was = pixels(140, 150, original=(400, 300), corner=(100, 20))
    assert time_ids(was, cut, mirrored=False) == (300, 400, 15, 53, 64, 64)
    assert time_ids(was, cut, mirrored=True) == (300, 400, 15, 200 - 64 - 53, 64, 64)


def test_closer_cuts_are_drawn_inside_the_picture() -> None:
    made = config(crops=40, zoom=1.5)
    first, *closer = draw_cuts((90, 70), 64, made, 3)
    assert first.scale == 64 / 70
    assert len(set(closer)) == 39
    for cut in closer:
        assert 64 / 70 <= cut.scale <= 1.5 * 64 / 70
        left, top, right, bottom = cut.pixel_box
        assert left >= 0 <= top
        assert right <= 90 + 1e-3
        assert bottom <= 70 + 1e-3
    assert list(draw_cuts((90, 70), 64, made, 3)) == [first, *closer]
    assert list(draw_cuts((90, 70), 64, made, 4))[1:] != closer


@pytest.fixture(scope="module")
def marked() -> Image.Image:
    """Left half red, right half blue, the top row of each white."""
    image = Image.new("RGB", (128, 64), "red")
    image.paste((0, 0, 255), (64, 0, 128, 64))
    return image


def test_cut_and_mirrored_pixels(marked: Image.Image) -> None:
    left = inversion_data._cut_square(marked, Cut(1.0, 32, 0, 64))
    assert (left.getpixel((2, 30)), left.getpixel((61, 30))) == ((255, 0, 0), (0, 0, 255))
    turned = inversion_data._cut_square(marked, Cut(1.0, 32, 0, 64), mirrored=True)
    assert (turned.getpixel((2, 30)), turned.getpixel((61, 30))) == ((0, 0, 255), (255, 0, 0))


def test_masks_weigh_latents_and_are_one_on_average(
    pipe: StableDiffusionXLPipeline, marked: Image.Image, tmp_path: Path
) -> None:
    mask = Image.new("L", marked.size)
    mask.paste(255, (64, 0, 128, 64))
    mask.save(tmp_path / "mask.png")
    [plain], [turned] = (
        [
            inversion_data._encode_view(
                pipe.vae,
                read_example(TrainingExample(marked, "", mask), True, 1),
                Cut(1.0, 32, 0, 64),
                mirror,
                config(),
            )
        ]
        for mirror in (False, True)
    )
    assert plain.weights.shape == (1, 8, 8)
    assert float(plain.weights.mean()) == pytest.approx(1)
    assert plain.weights[0, 0].tolist() == pytest.approx([0] * 4 + [2] * 4, abs=0.2)
    assert torch.equal(turned.weights, plain.weights.flip(2))
    floor = inversion_data._loss_weights(torch.tensor([[[0.0, 1.0]]]), 0.2)
    assert (floor[0, 0, 0] / floor[0, 0, 1]).item() == pytest.approx(0.2)
    file = read_example(TrainingExample(marked, "", tmp_path / "mask.png"), True, 1)
    assert (
        file.hash
        == read_example(TrainingExample(marked, "", mask), True, 1).hash
        != read_example(TrainingExample(marked, ""), True, 1).hash
    )


def test_a_cut_outside_its_original_is_refused(marked: Image.Image) -> None:
    read_example(TrainingExample(marked, "", original=(200, 64), corner=(72, 0)), True, 1)
    with pytest.raises(UserError, match=r"picture 1 does not fit into its original of \(200, 64\) at \(73, 0\)"):
        read_example(TrainingExample(marked, "", original=(200, 64), corner=(73, 0)), True, 1)


def test_transparency_is_a_mask_where_there_is_no_other(marked: Image.Image) -> None:
    clear = marked.copy()
    clear.putalpha(Image.linear_gradient("L").resize(marked.size))
    assert read_example(TrainingExample(clear, ""), True, 1).mask is not None
    assert read_example(TrainingExample(clear, ""), False, 1).mask is None
    assert read_example(TrainingExample(marked, ""), True, 1).mask is None


def test_masks_that_leave_nothing_are_refused(pipe: StableDiffusionXLPipeline, marked: Image.Image) -> None:
    corner = Image.new("L", marked.size)
    corner.paste(255, (0, 0, 20, 64))  # outside the middle square
    with pytest.raises(UserError, match="the mask of picture 4 is black in the middle square"):
        list(inversion_data._list_versions(read_example(TrainingExample(marked, "", corner), True, 4), 64, config(), 0))
    with pytest.raises(UserError, match="the mask of picture 4 is 10x10 and the picture 128x64"):
        read_example(TrainingExample(marked, "", Image.new("L", (10, 10))), True, 4)


def test_a_closer_cut_that_misses_the_subject_is_replaced() -> None:
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 6, 6))
    subject = Pixels("it", Image.new("RGB", (64, 64)), mask, (64, 64), (0, 0))
    made = config(crops=20, zoom=4.0)
    found = [cut for cut, _ in inversion_data._list_versions(subject, 64, made, 0)]
    whole, *closer = draw_cuts((64, 64), 64, made, 0)
    assert 0 < sum(cut == whole for cut in found[1:]) < 20
    assert all(cut in (whole, other) for cut, other in zip(found[1:], closer, strict=True))


# --- formulas ---------------------------------------------------------------------------------------------------------


def noising(kind: str, min_snr: float = 0.0) -> NoiseSchedule:
    return NoiseSchedule(
        EulerDiscreteScheduler.from_config(tiny_sdxl().scheduler.config, prediction_type=kind), min_snr
    )


def test_targets_against_diffusers() -> None:
    clean, noise = torch.randn((2, 5, 4, 8, 8), generator=torch.Generator().manual_seed(1))
    times = torch.tensor([0, 10, 500, 900, 999])
    theirs = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    noisy, target = noising("epsilon")(clean, noise, times)
    assert torch.equal(target, noise)
    torch.testing.assert_close(noisy, theirs.add_noise(clean, noise, times))
    noisy_too, velocity = noising("v_prediction")(clean, noise, times)
    assert torch.equal(noisy_too, noisy)
    torch.testing.assert_close(velocity, theirs.get_velocity(clean, noise, times))
    share = theirs.alphas_cumprod[times][:, None, None, None]
    torch.testing.assert_close(velocity, share.sqrt() * noise - (1 - share).sqrt() * clean)


def test_min_snr_by_hand() -> None:
    """Shares of signal 0.9, 0.5, 0.1 are signal-to-noise ratios of 9, 1, 1/9; gamma is 5."""
    for kind, expected in {"epsilon": [5 / 9, 1, 1], "v_prediction": [5 / 10, 1 / 2, (1 / 9) / (10 / 9)]}.items():
        made = noising(kind, 5.0)
        made.shares = torch.tensor([0.9, 0.5, 0.1, 0.0])
        found = made.loss_weights(torch.tensor([0, 1, 2, 3]))
        assert found[:3].tolist() == pytest.approx(expected)
        assert found[3] == (1 if kind == "epsilon" else 0)  # pure noise: no division by zero
    assert noising("epsilon").loss_weights(torch.tensor([3, 4])).tolist() == [1, 1]


# --- the vectors ------------------------------------------------------------------------------------------------------


def vocabulary(encoder: Encoder) -> torch.Tensor:
    return encoder.model.get_input_embeddings().weight.detach()


def test_a_phrase_begins_as_its_tokens_then_near_them(encoders: list[Encoder]) -> None:
    for place, encoder in enumerate(encoders):
        ids = encoder.tokenizer("red hair", add_special_tokens=False).input_ids
        known, spread = vocabulary(encoder)[ids], vocabulary(encoder).std()
        table = inversion_words.initial_vectors(config(vectors=5), encoders)[place]
        assert torch.equal(table[:2], known)
        away = table[2:] - known[[0, 1, 0]]
        assert 0.05 < float(away.std() / spread) < 0.2
        one = inversion_words.initial_vectors(config(vectors=1), encoders)[place][0]
        assert float(one.norm()) == pytest.approx(float(known.norm(dim=1).mean()), rel=1e-4)
        torch.testing.assert_close(one / one.norm(), torch.nn.functional.normalize(known.mean(0), dim=0))
        assert torch.equal(table, inversion_words.initial_vectors(config(vectors=5), encoders)[place])


@pytest.mark.parametrize(("phrase", "word"), [("red xqz", "xqz"), ("hair, 🦊", "🦊")])
def test_a_phrase_with_unknown_words_is_refused(phrase: str, word: str, encoders: list[Encoder]) -> None:
    with pytest.raises(UserError, match=f"the model does not know '{word}' of the initial phrase"):
        inversion_words.initial_vectors(config(init=phrase), encoders)


def test_words_of_which_larger_parts_are_known_will_do(encoders: list[Encoder]) -> None:
    for phrase in ("fox", "18 red-hair, a"):  # figures are words of their own
        assert inversion_words.known_ids(phrase, encoders[0])


def test_an_embedding_to_start_from_has_to_fit(encoders: list[Encoder]) -> None:
    other = Embedding("<old>", (torch.ones(2, 32), torch.ones(2, 48)))
    begun = inversion_words.initial_vectors(config(init=other), encoders)
    assert all(torch.equal(a, b) for a, b in zip(begun, other.vectors, strict=True))
    begun[0].zero_()
    assert float(other.vectors[0].sum()) == 64  # a copy
    with pytest.raises(UserError, match="<old> has 2 vectors, not 3: set vectors to that"):
        inversion_words.initial_vectors(config(init=other, vectors=3), encoders)
    with pytest.raises(
        UserError, match=r"<old> was learned for encoders of width \[32\], but this model's are \[32, 48\]"
    ):
        inversion_words.initial_vectors(config(init=Embedding("<old>", (torch.ones(2, 32),))), encoders)


def test_a_token_that_is_a_word_already_is_refused() -> None:
    pipe = tiny_sdxl()
    inversion_words.check_new("<pip>", list_encoders(pipe))
    pipe.tokenizer_2.add_tokens("<pip>")
    with pytest.raises(UserError, match="<pip> is already a word of this model's tokenizer: choose another token"):
        inversion_words.check_new("<pip>", list_encoders(pipe))


def test_norms_are_brought_back_to_the_edge_and_directions_stay(encoders: list[Encoder]) -> None:
    bands = inversion_words.norm_bands(config(norms=(0.1, 0.9)), encoders)
    assert bands is not None
    norms = vocabulary(encoders[0]).norm(dim=1)
    low, high = bands[0]
    assert [float((norms < edge).float().mean()) for edge in (low, high)] == pytest.approx([0.1, 0.9], abs=0.01)
    direction = torch.nn.functional.normalize(torch.arange(1.0, 33.0), dim=0)
    lengths = [low / 2, (low + high) / 2, high * 3]
    table = torch.stack([direction * length for length in lengths])
    inversion_words.keep_norms([table], [bands[0]])
    assert table.norm(dim=1).tolist() == pytest.approx([low, lengths[1], high])
    torch.testing.assert_close(torch.nn.functional.normalize(table), direction.expand(3, -1))
    assert inversion_words.norm_bands(config(norms=None), encoders) is None


# --- when to stop -----------------------------------------------------------------------------------------------------


def fed(plateau: Plateau, losses: Sequence[float], every: int = 10) -> int | None:
    """The step at which it says stop."""
    for number, loss in enumerate(losses, 1):
        if plateau.add_loss(number * every, loss):
            return number * every
    return None


FALLING = [1 / (1 + number) for number in range(40)]


def test_a_plateau_is_where_the_last_losses_vary_little() -> None:
    assert fed(Plateau(window=5, minimum=0), [1.0 - number / 40 for number in range(40)]) is not None
    stopped = fed(Plateau(window=5, minimum=0), FALLING)
    assert stopped is not None
    plateau = Plateau(window=5, minimum=0)
    assert fed(plateau, FALLING[: stopped // 10 - 1]) is None
    plateau.add_loss(stopped, FALLING[stopped // 10 - 1])
    seen = torch.tensor(FALLING[: stopped // 10], dtype=torch.float64)
    assert plateau.variance_share == pytest.approx(float(seen[-5:].var(correction=0) / seen.var(correction=0)))
    assert plateau.variance_share < 0.15


def test_a_plateau_waits_for_its_minimum_and_a_full_window() -> None:
    assert fed(Plateau(window=5, minimum=300), FALLING) == 300
    assert fed(Plateau(window=50, minimum=0), FALLING) is None
    assert fed(Plateau(window=3, minimum=0), [1.0] * 10) == 40  # nothing moves at all
    assert fed(Plateau(window=5, minimum=0), [number % 2 for number in range(60)]) is None  # it swings as it always did


def test_a_plateau_goes_on_from_its_losses() -> None:
    first = Plateau(window=5, minimum=0)
    fed(first, FALLING[:4])
    again = Plateau(window=5, minimum=0, losses=list(first.losses))
    for number, loss in enumerate(FALLING[4:20], 5):
        assert again.add_loss(number * 10, loss) == first.add_loss(number * 10, loss)


def moved(optimizer: str, steps: int = 30, resume_at: int | None = None) -> tuple[list[torch.Tensor], bytes]:
    """Two tables of SDXL's widths that are pulled to a target; put away and brought back in between where asked."""
    begin = [torch.zeros(8, width) for width in (768, 1280)]
    tables = [torch.nn.Parameter(table.clone()) for table in begin]
    settings = config(optimizer=optimizer, vectors=8)
    memory = OptimizerState(tables, settings, None)
    good = torch.ones((), dtype=torch.bool)
    about = {"config": inversion_plain(settings), "model": "m" * 64, "vae": "", "pictures": [["p" * 16, "c" * 16]] * 5}
    for step in range(steps):
        if step == resume_at:
            saved = unpack_checkpoint(pack_checkpoint(_saved(step, about, tables, memory)))
            tables = [torch.nn.Parameter(table.clone()) for table in saved.vectors]
            memory = OptimizerState(tables, settings, None)
            memory.restore_state(saved)
        noise = torch.Generator().manual_seed(step)
        for table in tables:
            table.grad = table.detach() - 1 + torch.randn(table.shape, generator=noise)
        memory.update_vectors(0.05, good)
    return [table.detach() for table in tables], pack_checkpoint(_saved(steps, about, tables, memory))


def _saved(step: int, about: dict[str, Any], tables: Sequence[torch.Tensor], memory: OptimizerState) -> Checkpoint:
    kept, numbers = memory.export_state(step)
    return Checkpoint(step, about, [table.detach() for table in tables], kept, numbers)


@pytest.mark.parametrize("optimizer", ["adam-mini", "adamw"])
def test_vectors_go_where_gradients_lead_through_noise(optimizer: str) -> None:
    for table in moved(optimizer, steps=200)[0]:
        assert float(table.mean()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("optimizer", ["adam-mini", "adamw"])
def test_what_an_optimizer_remembers_comes_back_to_the_bit(optimizer: str) -> None:
    for one, other in zip(moved(optimizer)[0], moved(optimizer, resume_at=17)[0], strict=True):
        assert torch.equal(one, other)


def test_a_checkpoint_of_eight_vectors_has_a_hundred_kilobytes() -> None:
    assert len(moved("adam-mini", steps=1)[1]) <= 100 * 1024
    assert len(moved("adamw", steps=1)[1]) > 190 * 1024


def test_a_step_that_was_no_good_leaves_adam_mini_as_it_was() -> None:
    table = torch.nn.Parameter(torch.ones(2, 4))
    memory = OptimizerState([table], config(vectors=2), None)
    table.grad = torch.full((2, 4), 0.5)
    memory.update_vectors(0.1, torch.ones((), dtype=torch.bool))
    before, kept = table.detach().clone(), {name: each.clone() for name, each in memory.export_state(1)[0][0].items()}
    table.grad = torch.full((2, 4), torch.nan)
    memory.update_vectors(0.1, torch.zeros((), dtype=torch.bool))
    assert torch.equal(table, before)
    assert all(torch.equal(each, kept[name]) for name, each in memory.export_state(1)[0][0].items())
