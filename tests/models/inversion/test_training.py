"""Teaching small but real models a word: what changes and what does not, stopping and going on, what is refused."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from diffusers import EulerDiscreteScheduler
from PIL import Image

from models.inversion import checkpoint as inversion_state
from models.inversion import random_draws as inversion_draws
from models.inversion.batches import Batches
from models.inversion.checkpoint import Checkpoint
from models.inversion.loss import compute_losses, encode_condition
from models.inversion.training import (
    Config,
    DivergedError,
    TrainingExample,
    TrainingStep,
    measure_validation_loss,
    train_token,
)
from models.picture.environment import pixel_hash
from models.picture.shot import Ref, Shot
from models.sdxl import embedding as embeddings
from models.sdxl import prompt_encoder
from models.sdxl.embedding import Embedding
from models.sdxl.locate import ModelSource, locate_model
from models.sdxl.pipeline import Options
from models.sdxl.renderer import Renderer
from models.system.errors import UserError
from tests.support import tiny


def picture(shape: str, size: tuple[int, int] = (90, 70)) -> Image.Image:
    plain = {"disc": Image.radial_gradient, "slope": Image.linear_gradient}[shape]("L").resize(size)
    return Image.merge("RGB", (plain, plain.transpose(Image.Transpose.FLIP_LEFT_RIGHT), plain.point(lambda v: 255 - v)))


EXAMPLES = (
    TrainingExample(picture("disc"), ("a photo of <pip>, red hat, city", "<pip> in the forest")),
    TrainingExample(picture("slope", (64, 100)), ("a painting of <pip>",)),
    TrainingExample(picture("disc", (64, 64)), ("<pip> at sunset, high light",)),
)
PLAIN = Config(token="<pip>", init="red hair", vectors=2, steps=3, batch=2, stages=((64, 1.0),), rate=1e-2)
# Everything that is drawn, and everything that changes with the steps.
BUSY = replace(
    PLAIN,
    steps=6,
    accumulation=2,
    rate="1e-2:3, 3e-3",
    decay="cosine",
    warmup=2,
    stages=((64, 0.5), (72, 1.0)),
    mirror=True,
    crops=2,
    shuffle_tags=True,
    tag_dropout=0.2,
    caption_dropout=0.1,
    offset_noise=0.05,
    min_snr=5.0,
)


@pytest.fixture(scope="module")
def xl(sdxl: ModelSource) -> Renderer:
    return Renderer(sdxl, Options(batch_size=1))


@pytest.fixture(scope="module")
def one(sd1: ModelSource) -> Renderer:
    return Renderer(sd1, Options(batch_size=1))


def last(model: Renderer, config: Config, resume: bytes | None = None, examples: Any = EXAMPLES) -> TrainingStep:
    *_, record = train_token(model, examples, config, resume)
    return record


@contextmanager
def watching(module: torch.nn.Module, see: Callable[..., Any]) -> Iterator[None]:
    handle = module.register_forward_hook(see, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


# --- only the vectors -------------------------------------------------------------------------------------------------


def parts(model: Renderer) -> dict[str, torch.nn.Module]:
    encoders = {f"encoder {place}": encoder.model for place, encoder in enumerate(model.encoders)}
    return {"unet": model.pipe.unet, "vae": model.pipe.vae, **encoders}


def everything(model: Renderer) -> dict[str, Any]:
    """Copies of all weights and buffers, and every switch."""
    found: dict[str, Any] = {"words": [len(encoder.tokenizer) for encoder in model.encoders]}
    for part, module in parts(model).items():
        found |= {f"{part} {name}": weight.detach().clone() for name, weight in module.named_parameters()}
        found |= {f"{part} {name} flag": weight.requires_grad for name, weight in module.named_parameters()}
        found |= {f"{part} {name} gradient": weight.grad for name, weight in module.named_parameters()}
        found |= {f"{part} {name}": buffer.clone() for name, buffer in module.named_buffers()}
        found |= {f"{part} {name} mode": each.training for name, each in module.named_modules()}
        found |= {f"{part} {name} hooks": len(each._forward_hooks) for name, each in module.named_modules()}
        found |= {
            f"{part} {name} twice": getattr(each, "gradient_checkpointing", 0) for name, each in module.named_modules()
        }
        found |= {f"{part} {name} place": (weight.dtype, weight.device) for name, weight in module.named_parameters()}
    return found


def same(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What differs."""
    assert before.keys() == after.keys()
    pairs = {name: (before[name], after[name]) for name in before}
    return [n for n, (a, b) in pairs.items() if not (torch.equal(a, b) if torch.is_tensor(a) else a == b)]


@pytest.fixture(params=["sdxl", "sd1", "bf16"])
def odd(request: pytest.FixtureRequest) -> Renderer:
    """A model whose switches stand in unusual places."""
    source = request.getfixturevalue("sd1" if request.param == "sd1" else "sdxl")
    made = Renderer(source, Options(precision="bf16" if request.param == "bf16" else "fp32"))
    made.pipe.unet.conv_in.weight.requires_grad_(False)
    made.pipe.unet.mid_block.train()
    made.pipe.unet.down_blocks[0].gradient_checkpointing = True
    made.encoders[0].model.requires_grad_(False)
    made.encoders[-1].model.train()
    prompt_encoder.encode_prompt(
        made.encoders, "a cat"
    )  # transformers puts hooks of its own on when it is first called
    return made


def finish(steps: Iterator[TrainingStep]) -> None:
    assert [record.step for record in steps] == [1, 2, 3]


def close(steps: Any) -> None:
    next(steps)
    steps.close()


def fail(steps: Any) -> None:
    next(steps)
    with pytest.raises(KeyError):
        steps.throw(KeyError("the caller's"))


@pytest.mark.parametrize("end", [finish, close, fail])
def test_nothing_but_the_vectors_changes(odd: Renderer, end: Callable[[Any], None]) -> None:
    before, state = everything(odd), torch.get_rng_state()
    end(train_token(odd, EXAMPLES, replace(PLAIN, checkpointing=True)))
    assert same(before, everything(odd)) == []
    assert torch.equal(torch.get_rng_state(), state)


def test_while_it_trains_nothing_else_asks_for_gradients(xl: Renderer) -> None:
    with closing(train_token(xl, EXAMPLES, PLAIN)) as steps:
        next(steps)
        assert not any(weight.requires_grad for part in parts(xl).values() for weight in part.parameters())
        assert not any(each.training for part in parts(xl).values() for each in part.modules())


def test_the_vectors_are_fp32_on_a_model_of_bf16(sdxl: ModelSource) -> None:
    """Steps that bf16 would round away arrive."""
    model = Renderer(sdxl, Options(precision="bf16"))
    small = replace(PLAIN, rate=1e-6, norms=None, init=last(model, replace(PLAIN, steps=1)).current_embedding)
    moved = last(model, small).current_embedding
    assert isinstance(small.init, Embedding)
    for now, then in zip(moved.vectors, small.init.vectors, strict=True):
        assert now.dtype == torch.float32
        assert 0 < float((now - then).abs().max()) < 1e-5
        assert torch.equal(now.bfloat16(), then.bfloat16()) or float((now != then).float().mean()) > 0.9


# --- it learns --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["sdxl", "sd1"])
def test_the_loss_falls(family: str, request: pytest.FixtureRequest) -> None:
    """An untrained UNet hears little of its prompt and can do little about it: so let it hear more."""
    model = Renderer(request.getfixturevalue(family), Options())
    with torch.no_grad():
        for name, weight in model.pipe.unet.named_parameters():
            if name.endswith("attn2.to_v.weight"):
                weight *= 20
    config = replace(PLAIN, steps=40, rate=5e-2, norms=None)
    seen = [
        record.validation_loss() for record in train_token(model, EXAMPLES[:2], config) if record.step in (1, 10, 40)
    ]
    assert seen[0] > seen[1] > seen[2]
    assert seen[2] < 0.99 * seen[0]


@pytest.mark.parametrize("path", ["hidden", "pooled"])
def test_gradients_come_through_each_path_alone(path: str, sdxl: ModelSource) -> None:
    model = Renderer(sdxl, Options())
    silenced = ["attn2.to_v.weight"] if path == "pooled" else ["add_embedding.linear_2.weight"]
    with torch.no_grad():
        for name, weight in model.pipe.unet.named_parameters():
            if any(name.endswith(each) for each in silenced):
                weight.zero_()
    begun = replace(PLAIN, steps=1, norms=None)
    first, second = (
        float((now - then).abs().max())
        for now, then in zip(last(model, begun).current_embedding.vectors, initial(model, begun), strict=True)
    )
    assert second > 1e-3
    assert first > 1e-3 if path == "hidden" else first == 0  # the first encoder gives no pooled vector


def initial(model: Renderer, config: Config) -> list[torch.Tensor]:
    from models.inversion.vectors import initial_vectors as begin

    return begin(config, model.encoders)


def test_the_pooled_vector_is_of_the_true_end_of_text(tmp_path: Path) -> None:
    """Words after the new one reach the pooled vector, whatever the encoder's config calls the end."""
    saved = tiny.save(tiny.tiny_sdxl(eos_token_id=tiny.LEGACY_EOS), tmp_path)
    model = Renderer(locate_model(str(saved)), Options())
    rows = [
        [prompt_encoder.split_into_chunks(text, encoder.tokenizer, {"<pip>": 2}) for encoder in model.encoders]
        for text in ("<pip> in the forest", "<pip> at the beach")
    ]
    with torch.no_grad():
        hidden, pooled = encode_condition(model, rows, "<pip>", initial(model, PLAIN))
    assert pooled is not None
    assert hidden.shape == (2, 77, 80)
    assert float((pooled[0] - pooled[1]).abs().max()) > 0.1


def test_norms_stay_within_the_vocabulary(xl: Renderer) -> None:
    def lengths(**knobs: Any) -> list[torch.Tensor]:
        return [table.norm(dim=1) for table in last(xl, replace(PLAIN, rate=0.5, **knobs)).current_embedding.vectors]

    vocabularies = [encoder.model.get_input_embeddings().weight.detach().norm(dim=1) for encoder in xl.encoders]
    for kept, free, known in zip(lengths(norms=(0.0, 1.0)), lengths(norms=None), vocabularies, strict=True):
        assert float(kept.max()) <= float(known.max()) * (1 + 1e-5)
        assert float(free.min()) > float(known.max())


def test_the_gradient_is_clipped_over_all_vectors_together(xl: Renderer) -> None:
    config = replace(PLAIN, steps=1, betas=(0.0, 0.0), norms=None, optimizer="adamw")
    [free] = train_token(xl, EXAMPLES, replace(config, clip=0.0))
    [clipped] = train_token(xl, EXAMPLES, replace(config, clip=1e-9))
    assert clipped.gradient_norm == free.gradient_norm > 1e-3
    # Adam divides by its gradient's length, so only against its own epsilon (1e-8) does a shorter one show.
    moved = [
        torch.cat(
            [
                (now - then).flatten()
                for now, then in zip(each.current_embedding.vectors, initial(xl, config), strict=True)
            ]
        )
        for each in (free, clipped)
    ]
    assert float(moved[0].abs().median()) == pytest.approx(config.rate, rel=0.1)  # type: ignore[arg-type]
    assert float(moved[1].abs().max()) < 0.1 * float(config.rate)  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_gradient_is_that_of_the_mean_loss(precision: Any, sdxl: ModelSource) -> None:
    """Weak answers over many pixels: in fp16 most of the gradient would vanish on its way, were it not scaled up."""
    plain, half = Renderer(sdxl, Options()), Renderer(sdxl, Options(precision=precision))
    for model in (plain, half):
        model.pipe.unet.conv_out.weight.data *= 0.01
    config = replace(PLAIN, norms=None, stages=((256, 1.0),))
    batches = Batches(plain, EXAMPLES, config)
    batches.encode_latents(plain, [256])
    tables = [table.requires_grad_() for table in initial(plain, config)]
    loss = compute_losses(plain, batches.batch_of_step(0, 0), "<pip>", tables).mean()
    expected = torch.cat([each.flatten() for each in torch.autograd.grad(loss, tables)]).norm()
    with closing(train_token(half, EXAMPLES, config)) as steps:
        record = next(steps)
    close = 1e-5 if precision == "fp32" else 0.02
    assert record.loss == pytest.approx(loss.item(), rel=close)
    assert record.gradient_norm == pytest.approx(expected.item(), rel=close)


def test_a_batch_may_be_cut_into_smaller_ones(xl: Renderer) -> None:
    whole = last(xl, replace(PLAIN, batch=4, steps=2))
    parts = last(xl, replace(PLAIN, batch=2, accumulation=2, steps=2))
    assert (parts.loss, parts.gradient_norm) == pytest.approx((whole.loss, whole.gradient_norm), rel=1e-4)
    for one, other in zip(whole.current_embedding.vectors, parts.current_embedding.vectors, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_checkpointing_computes_the_same(xl: Renderer) -> None:
    calls: list[int] = []
    resnet = xl.pipe.unet.down_blocks[1].resnets[0]
    handle = resnet.register_forward_pre_hook(lambda *_: calls.append(1))  # the second time it is left half way
    plain = last(xl, PLAIN).current_embedding
    once = len(calls)
    twice = last(xl, replace(PLAIN, checkpointing=True)).current_embedding
    handle.remove()
    assert (once, len(calls)) == (3, 3 + 6)
    for one, other in zip(plain.vectors, twice.vectors, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_the_caller_may_have_switched_gradients_off(xl: Renderer) -> None:
    expected = last(xl, PLAIN).current_embedding
    with torch.no_grad():
        assert last(xl, PLAIN).current_embedding == expected
    with torch.inference_mode():
        assert last(xl, PLAIN).current_embedding == expected


# --- what the UNet is told --------------------------------------------------------------------------------------------


def test_the_unet_sees_stages_and_true_sizes(xl: Renderer) -> None:
    seen: list[tuple[Any, ...]] = []

    def see(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        seen.append((tuple(args[0].shape), kwargs["added_cond_kwargs"]["time_ids"].tolist()))

    with watching(xl.pipe.unet, see):
        last(xl, replace(PLAIN, steps=6, stages=((64, 0.5), (72, 1.0))))
    assert [shape for shape, _ in seen] == [(2, 4, 8, 8)] * 3 + [(2, 4, 9, 9)] * 3
    small = {tuple(row) for _, rows in seen[:3] for row in rows}
    large = {tuple(row) for _, rows in seen[3:] for row in rows}
    # 90x70 becomes 82x64 and loses 9 on the left; 64x100 loses 18 above; 64x64 is whole. Then the same at 72.
    assert small == {(70, 90, 0, 9, 64, 64), (100, 64, 18, 0, 64, 64), (64, 64, 0, 0, 64, 64)}
    assert large == {(70, 90, 0, 10, 72, 72), (100, 64, 20, 0, 72, 72), (64, 64, 0, 0, 72, 72)}


def test_latents_are_drawn_anew_from_what_the_vae_said_once(xl: Renderer) -> None:
    encoded: list[int] = []
    with watching(xl.pipe.vae.encoder, lambda *_: encoded.append(1)):
        steps = train_token(xl, EXAMPLES, replace(PLAIN, mirror=True, crops=2, stages=((64, 0.5), (72, 1.0))))
        assert len(encoded) == 3 * 2 * 2 * 2
        list(steps)
    assert len(encoded) == 24
    config = replace(PLAIN, batch=1)
    batches = Batches(xl, EXAMPLES[2:], config)  # 64x64, so that nothing is cut or scaled
    batches.encode_latents(xl, [64])
    pixels = torch.tensor(numpy.asarray(EXAMPLES[2].image), dtype=torch.float32).permute(2, 0, 1)[None] / 255 * 2 - 1
    with torch.no_grad():
        said = xl.pipe.vae.encode(pixels).latent_dist
    seen = []
    for step in range(3):
        batch = batches.batch_of_step(step, 0)
        posterior, noise = inversion_draws.draw_noise(0, inversion_draws.DrawKey(step, 0, 1), (4, 8, 8), 0.0)
        share = xl.pipe.scheduler.alphas_cumprod[batch.times][0]
        seen.append((batch.noisy[0] - (1 - share).sqrt() * noise) / share.sqrt() / xl.pipe.vae.config.scaling_factor)
        torch.testing.assert_close(seen[-1], (said.mean + said.std * posterior)[0], atol=1e-2, rtol=1e-2)
    assert float((seen[0] - seen[1]).abs().max()) > 0.1


def test_masks_reach_the_loss(xl: Renderer) -> None:
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 32, 64))
    masked = [replace(EXAMPLES[2], mask=mask)]
    plain = last(xl, PLAIN, examples=EXAMPLES[2:]).current_embedding
    assert last(xl, PLAIN, examples=masked).current_embedding != plain
    assert last(xl, replace(PLAIN, masks=False), examples=masked).current_embedding == plain


def test_a_model_of_velocities_is_asked_for_velocities(sdxl: ModelSource) -> None:
    """The velocity is what the UNet would have to say; with a UNet that says nothing the loss is its square."""
    model = Renderer(sdxl, Options())
    with torch.no_grad():
        model.pipe.unet.conv_out.weight.zero_()
        model.pipe.unet.conv_out.bias.zero_()
    losses = {}
    for kind in ("epsilon", "v_prediction"):
        model._own_scheduler = EulerDiscreteScheduler.from_config(model.pipe.scheduler.config, prediction_type=kind)
        losses[kind] = measure_validation_loss(
            model, EXAMPLES, last(model, replace(PLAIN, steps=1)).current_embedding, PLAIN
        )
    assert losses["epsilon"] == pytest.approx(1, abs=0.1)
    assert losses["v_prediction"] != pytest.approx(losses["epsilon"], rel=0.01)


# --- stopping and going on --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["xl", "one"])
def states(request: pytest.FixtureRequest) -> tuple[Renderer, list[bytes]]:
    """A training that was never stopped: its states after each step."""
    model = request.getfixturevalue(request.param)
    return model, [record.pack_state() for record in train_token(model, EXAMPLES, BUSY)]


@pytest.mark.parametrize("stop", [1, 2, 3, 5])
def test_going_on_ends_in_the_same_bits(stop: int, states: tuple[Renderer, list[bytes]]) -> None:
    model, expected = states
    assert [record.pack_state() for record in train_token(model, EXAMPLES, BUSY, expected[stop - 1])] == expected[stop:]


def test_stopping_again_and_again_ends_in_the_same_bits(states: tuple[Renderer, list[bytes]]) -> None:
    model, expected = states
    state = None
    for _ in range(BUSY.steps):
        with closing(train_token(model, EXAMPLES, BUSY, state)) as steps:
            state = next(steps).pack_state()
    assert state == expected[-1]


def test_killed_between_two_batches_of_a_step(states: tuple[Renderer, list[bytes]]) -> None:
    model, expected = states
    calls: list[int] = []

    def kill(*_: Any) -> None:
        calls.append(1)
        if len(calls) == 4:  # the second batch of the second step
            raise KeyboardInterrupt

    saved = b""
    with watching(model.pipe.unet, kill), pytest.raises(KeyboardInterrupt):
        for record in train_token(model, EXAMPLES, BUSY):
            saved = record.pack_state()
    assert saved == expected[0]
    assert last(model, BUSY, saved).pack_state() == expected[-1]


def test_what_the_caller_does_between_two_steps_does_not_reach_the_bits(states: tuple[Renderer, list[bytes]]) -> None:
    model, expected = states
    found = []
    for record in train_token(model, EXAMPLES, BUSY):
        torch.rand(3)
        record.validation_loss()
        with record.model_for_rendering() as free, torch.inference_mode():
            list(free.generate([shot(free.source)]))
        found.append(record.pack_state())
    assert found == expected


def test_another_seed_is_another_training(xl: Renderer) -> None:
    first, again, other = (last(xl, config).current_embedding for config in (PLAIN, PLAIN, replace(PLAIN, seed=1)))
    assert first == again != other


def test_prodigy_goes_on_in_the_same_bits(xl: Renderer) -> None:
    pytest.importorskip("prodigyopt")
    config = replace(PLAIN, optimizer="prodigy", rate=None, steps=4)
    expected = [record.pack_state() for record in train_token(xl, EXAMPLES, config)]
    assert [record.pack_state() for record in train_token(xl, EXAMPLES, config, expected[1])] == expected[2:]


def test_a_checkpoint_has_kilobytes_and_says_what_it_is(xl: Renderer, states: tuple[Renderer, list[bytes]]) -> None:
    tables = [torch.zeros(8, 768), torch.zeros(8, 1280)]
    moments = [{"exp_avg": table.clone(), "exp_avg_sq": table.clone()} for table in tables]
    known = {"config": {"token": "<pip>"}, "pictures": [["0" * 16] * 2] * 20}
    full = inversion_state.pack_checkpoint(Checkpoint(1, known, tables, moments, {}))
    assert len(full) < 3 * 8 * (768 + 1280) * 4 + 4096  # 8 vectors and their moments, and little else
    _, expected = states
    header = inversion_state.unpack_checkpoint(expected[1])
    assert header.step == 2
    assert header.fingerprint["config"]["rate"] == "1e-2:3, 3e-3"
    assert rb"\"token\":\"<pip>\"" in expected[1][:4000]


def refused(model: Renderer, config: Config, state: bytes, examples: Any = EXAMPLES) -> str:
    with pytest.raises(UserError) as error:
        train_token(model, examples, config, state)  # at once, and not at the first step
    return str(error.value)


def test_a_checkpoint_of_something_else_is_refused_and_says_why(xl: Renderer, tmp_path: Path) -> None:
    state = last(xl, PLAIN).pack_state()
    first, second, third = EXAMPLES
    moved, retold = replace(second, corner=(1, 0), original=(80, 120)), replace(third, captions=("<pip>",))
    masked = replace(first, mask=Image.new("L", (90, 70), 128))
    assert "(rate was 0.01, now 0.02)" in refused(xl, replace(PLAIN, rate=0.02), state)
    assert "(seed was 0, now 5; batch was" not in refused(xl, replace(PLAIN, seed=5), state)
    assert "(3 pictures, now 2)" in refused(xl, PLAIN, state, EXAMPLES[:2])
    assert "(another picture 2)" in refused(xl, PLAIN, state, (first, moved, third))
    assert "(another picture 1)" in refused(xl, PLAIN, state, (masked, second, third))
    assert "(another caption of picture 3)" in refused(xl, PLAIN, state, (first, second, retold))
    assert "at step 3, past the 2 asked for" in refused(xl, replace(PLAIN, steps=2), state)
    other = Renderer(locate_model(str(tiny.save(tiny.tiny_sdxl(seed=9), tmp_path))), Options())
    assert "(another model)" in refused(other, PLAIN, state)
    begun = replace(PLAIN, init=last(xl, PLAIN).current_embedding)
    assert "(init was red hair, now {'embedding': '" in refused(xl, begun, state)


def test_a_checkpoint_that_is_none_is_refused(xl: Renderer) -> None:
    from safetensors.torch import save

    state = last(xl, PLAIN).pack_state()
    for torn in (b"", b"hello", state[:-5], state[:50]):
        assert "this checkpoint is torn or not one" in refused(xl, PLAIN, torn)
    assert "not a checkpoint of a training" in refused(xl, PLAIN, save({"a": torch.ones(1)}))


def test_a_training_may_become_longer_and_be_computed_another_way(xl: Renderer) -> None:
    state = last(xl, PLAIN).pack_state()
    more = last(xl, replace(PLAIN, steps=5, checkpointing=True), state)
    assert more.step == 5
    expected = last(xl, replace(PLAIN, steps=5)).current_embedding
    for one, other in zip(more.current_embedding.vectors, expected.vectors, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
    assert list(train_token(xl, EXAMPLES, PLAIN, state)) == []


# --- records ----------------------------------------------------------------------------------------------------------


def test_a_record_says_what_happened(xl: Renderer) -> None:
    first, second, third = train_token(xl, EXAMPLES, replace(PLAIN, decay="cosine"))
    assert [each.step for each in (first, second, third)] == [1, 2, 3]
    assert [each.rate for each in (first, second, third)] == pytest.approx([1e-2, 0.75e-2, 0.25e-2])
    assert all(
        each.is_ready and 0 < each.loss < 10 and each.gradient_norm > 0 and each.seconds > 0 for each in (first, second)
    )
    assert third.current_embedding.vector_count == 2
    with pytest.raises(RuntimeError, match="record of step 1 was asked for its vectors after the next step had begun"):
        _ = first.current_embedding


def test_an_embedding_taken_on_the_way_stays_as_it_was(xl: Renderer) -> None:
    with closing(train_token(xl, EXAMPLES, PLAIN)) as steps:
        early = next(steps).current_embedding
        known = early.hash
        late = next(steps).current_embedding
    assert early.hash == known != late.hash


def test_validation_is_the_same_from_outside(xl: Renderer) -> None:
    found = [
        (record.validation_loss(), record.validation_loss(), record.current_embedding)
        for record in train_token(xl, EXAMPLES, PLAIN)
    ]
    for inside, again, embedding in found:
        assert inside == again == measure_validation_loss(xl, EXAMPLES, embedding, PLAIN)
    assert len({inside for inside, _, _ in found}) == 3
    with pytest.raises(UserError, match="<pip> has 2 vectors, not 3"):
        measure_validation_loss(xl, EXAMPLES, found[0][2], replace(PLAIN, vectors=3))


def shot(source: ModelSource, **more: Any) -> Shot:
    return Shot(prompt="a photo of <pip>", model=source.ref, seed=1, width=64, height=64, steps=3, **more)


def test_the_model_renders_between_two_steps_as_it_did_before(odd: Renderer) -> None:
    [before] = odd.generate([shot(odd.source)])
    switches = everything(odd)
    with closing(train_token(odd, EXAMPLES, replace(PLAIN, checkpointing=True))) as steps:
        for record in steps:
            with record.model_for_rendering() as model:
                assert same(switches, everything(odd)) == []
                [between] = model.generate([shot(odd.source)])
            assert pixel_hash(between.image) == pixel_hash(before.image)
    with record.model_for_rendering():
        pass
    assert same(switches, everything(odd)) == []  # after the end nothing is held again


@pytest.mark.parametrize("family", ["xl", "one"])
def test_the_word_is_rendered_from_its_file(family: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    model = request.getfixturevalue(family)
    shots = [shot(model.source)]
    for steps in (1, 3):
        path = tmp_path / f"{steps}.safetensors"
        learned = last(model, replace(PLAIN, rate=0.1, steps=steps)).current_embedding
        embeddings.write_embedding(path, learned, {})
        assert embeddings.read_embedding(path) == learned
        shots.append(shot(model.source, embeddings=(Ref(str(path), learned.hash),)))
    assert len({pixel_hash(made.image) for made in model.generate(shots)}) == 3


# --- what is refused --------------------------------------------------------------------------------------------------


def test_no_pictures(xl: Renderer) -> None:
    with pytest.raises(UserError, match="there are no pictures to learn <pip> from: give at least one"):
        train_token(xl, [], PLAIN)


def test_a_caption_without_the_word(xl: Renderer) -> None:
    with pytest.raises(UserError, match="the caption 'a dog' of picture 2 lacks <pip>"):
        train_token(xl, [EXAMPLES[0], TrainingExample(picture("disc"), "a dog")], PLAIN)


def test_models_that_would_learn_nonsense(sdxl: ModelSource, tmp_path: Path) -> None:
    refiner = Renderer(locate_model(str(tiny.save(tiny.tiny_refiner(), tmp_path))), Options())
    with pytest.raises(UserError, match="reads aesthetic scores, as SDXL's refiner does: train on the base model"):
        train_token(refiner, EXAMPLES, PLAIN)
    model = Renderer(sdxl, Options())
    model._own_scheduler = EulerDiscreteScheduler.from_config(model.pipe.scheduler.config, prediction_type="sample")
    with pytest.raises(UserError, match="predicts 'sample': training knows epsilon and v_prediction"):
        train_token(model, EXAMPLES, PLAIN)
    model = Renderer(sdxl, Options())
    model.options = replace(model.options, memory="offload")
    with pytest.raises(UserError, match=r"set models.memory to none or vae"):
        train_token(model, EXAMPLES, PLAIN)
    with pytest.raises(UserError, match="compile is for CUDA"):
        train_token(Renderer(sdxl, Options()), EXAMPLES, replace(PLAIN, compile=True))


@pytest.mark.parametrize("step", [1, 3])
def test_a_loss_that_is_no_number_stops_with_the_last_good_state(step: int, xl: Renderer) -> None:
    calls: list[int] = []

    def spoil(module: Any, args: Any, kwargs: Any, output: Any) -> Any:
        calls.append(1)
        return (output[0] * float("nan"),) if len(calls) == step else None

    good = [record.pack_state() for record in train_token(xl, EXAMPLES, replace(PLAIN, steps=4))]
    with watching(xl.pipe.unet, spoil), pytest.raises(DivergedError) as error:
        list(train_token(xl, EXAMPLES, replace(PLAIN, steps=4)))
    said = f"the loss is not a number at step {step}: nothing is lost, the vectors of step {step - 1} are kept"
    assert said in str(error.value)
    assert error.value.step == step
    assert step == 1 or error.value.state == good[step - 2]
    assert last(xl, replace(PLAIN, steps=4), error.value.state).pack_state() == good[-1]


def test_a_loss_that_is_noticed_late_has_moved_nothing(xl: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where numbers arrive while later steps are under way."""
    from models.inversion.async_numbers import AsyncNumbers

    good = [record.pack_state() for record in train_token(xl, EXAMPLES, replace(PLAIN, steps=2))]
    calls: list[int] = []

    def spoil(module: Any, args: Any, kwargs: Any, output: Any) -> Any:
        calls.append(1)
        return (output[0] * float("nan"),) if len(calls) == 3 else None

    monkeypatch.setattr(AsyncNumbers, "is_ready", property(lambda self: False))
    seen: list[int] = []
    with watching(xl.pipe.unet, spoil), pytest.raises(DivergedError) as error:
        seen += [record.step for record in train_token(xl, EXAMPLES, replace(PLAIN, steps=6))]
    assert len(calls) == 6
    assert error.value.step == 3
    again = inversion_state.unpack_checkpoint(error.value.state)
    expected = inversion_state.unpack_checkpoint(good[1])
    assert again.step == 2
    for one, other in zip(again.vectors, expected.vectors, strict=True):
        assert torch.equal(one, other)
    for mine, theirs in zip(again.memory, expected.memory, strict=True):
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


# --- on a GPU ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def on_gpu(sdxl: ModelSource) -> Renderer:
    return Renderer(sdxl, Options(device="cuda", precision="bf16"))


@pytest.mark.gpu
def test_on_a_gpu_no_step_waits_and_the_vae_is_away(on_gpu: Renderer) -> None:
    with closing(train_token(on_gpu, EXAMPLES, replace(PLAIN, steps=20))) as steps:
        next(steps), next(steps)
        assert on_gpu.pipe.vae.device.type == "cpu"
        torch.cuda.set_sync_debug_mode("error")
        try:
            record = [next(steps) for _ in range(5)][-1]
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert record.loss > 0
    assert on_gpu.pipe.vae.device.type == "cuda"


@pytest.mark.gpu
@pytest.mark.parametrize("knobs", [{}, {"compile": True}, {"checkpointing": True}])
def test_on_a_gpu_going_on_ends_in_the_same_bits(knobs: dict[str, Any], on_gpu: Renderer) -> None:
    config = replace(BUSY, **knobs)
    expected = [record.pack_state() for record in train_token(on_gpu, EXAMPLES, config)]
    assert [record.pack_state() for record in train_token(on_gpu, EXAMPLES, config, expected[1])] == expected[2:]
