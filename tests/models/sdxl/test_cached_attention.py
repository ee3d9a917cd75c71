"""Attention that reads a prompt once: the library's own numbers to the last bit, with less work, and nothing left behind."""

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from models.picture.shot import Lora, Ref, Shot
from models.sdxl import locate
from models.sdxl.cached_attention import cached_cross_attention
from models.sdxl.locate import ModelSource
from models.sdxl.renderer import Options, Renderer
from tests.support import tiny


def asked(unet: Any, batch: int = 2, seed: int = 0) -> dict[str, Any]:
    draw = torch.Generator().manual_seed(seed)
    config = unet.config
    made: dict[str, Any] = {
        "sample": torch.randn(batch, 4, 8, 8, generator=draw),
        "timestep": torch.tensor(300),
        "encoder_hidden_states": torch.randn(batch, 77, config.cross_attention_dim, generator=draw),
        "return_dict": False,
    }
    if config.addition_embed_type:
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        added = {"text_embeds": torch.randn(batch, pooled, generator=draw), "time_ids": torch.ones(batch, 6)}
        made["added_cond_kwargs"] = added
    return made


class Plain(Renderer):
    """With the library's own attention."""

    def _prompt_caching(self) -> AbstractContextManager[None]:
        return nullcontext()


@pytest.fixture(params=["sdxl", "sd1"])
def unet(request: pytest.FixtureRequest) -> Any:
    return (tiny.tiny_sdxl() if request.param == "sdxl" else tiny.tiny_sd1()).unet


@contextmanager
def counted(unet: Any, ending: str) -> Iterator[Counter[str]]:
    """How often each module of this name is asked."""
    calls: Counter[str] = Counter()
    named = [(name, module) for name, module in unet.named_modules() if name.endswith(ending)]
    hooks = [
        module.register_forward_hook(lambda *_, name=name: calls.update([name]) and None) for name, module in named
    ]
    yield calls
    for hook in hooks:
        hook.remove()


def test_the_numbers_are_those_of_the_library_at_every_step(unet: Any) -> None:
    given, other = asked(unet), asked(unet, seed=1)
    with torch.no_grad():
        plain = [unet(**each)[0] for each in (given, other)]
        with cached_cross_attention(unet):
            kept = [unet(**each)[0] for each in (given, given, other, given)]
    assert all(torch.equal(one, plain[at]) for one, at in zip(kept, (0, 0, 1, 0), strict=True))


def test_keys_and_values_of_a_prompt_are_worked_out_once(unet: Any) -> None:
    given = asked(unet)
    with torch.no_grad(), counted(unet, "attn2.to_k") as keys, counted(unet, "attn1.to_k") as own:
        with cached_cross_attention(unet):
            for _ in range(3):
                unet(**given)
        assert keys and set(keys.values()) == {1}
        assert set(own.values()) == {3}
        with cached_cross_attention(unet):  # the next picture starts afresh
            unet(**given)
        assert set(keys.values()) == {2}


def test_the_unet_is_left_as_it_was_also_after_an_error(unet: Any) -> None:
    before = unet.attn_processors
    with pytest.raises(RuntimeError, match="stop"), cached_cross_attention(unet):
        assert unet.attn_processors != before
        raise RuntimeError("stop")
    assert unet.attn_processors == before


def test_gradients_reach_the_prompt_every_time(unet: Any) -> None:
    given = asked(unet)
    prompt = given["encoder_hidden_states"].requires_grad_()
    unet.requires_grad_(False)
    unet(**given)[0].sum().backward()
    plain, prompt.grad = prompt.grad, None
    with cached_cross_attention(unet):
        for _ in range(2):
            prompt.grad = None
            unet(**given)[0].sum().backward()
            assert torch.equal(prompt.grad, plain)


def test_an_attention_that_is_not_the_usual_one_is_left_alone(unet: Any) -> None:
    from diffusers.models.attention_processor import AttnProcessor

    unet.set_attn_processor(AttnProcessor())
    before = unet.attn_processors
    with cached_cross_attention(unet):
        assert unet.attn_processors == before


def test_pictures_are_equal_to_the_bit_with_and_without(sdxl: ModelSource, shot: Shot, tmp_path: Path) -> None:
    """Guidance that ends half-way changes the prompt in mid-picture, and a LoRA changes what is made of it."""
    model = Renderer(sdxl, Options(batch_size=2))
    found = tiny.lora(tmp_path, 1)
    worn = shot.with_changes(loras=(Lora(found.name, found.hash, 1.0),))
    shots = [shot, shot.with_changes(steps=4, guidance_until=0.5), worn, shot.with_changes(prompt="a blue dog")]
    quick = {picture.shot.id: picture.provenance.pixels for picture in model.generate(shots)}
    plain = Plain(sdxl, Options(batch_size=2))
    assert {picture.shot.id: picture.provenance.pixels for picture in plain.generate(shots)} == quick
    assert len(set(quick.values())) == 4


# Prompts are encoded once


def test_a_prompt_is_encoded_once_for_all_its_pictures(sdxl: ModelSource, shot: Shot) -> None:
    model = Renderer(sdxl, Options(batch_size=2))
    shots = [shot.with_changes(seed=seed, negative="blue") for seed in range(5)]
    with counted(model.pipe.text_encoder, "final_layer_norm") as calls:
        found = [picture.provenance.pixels for picture in model.generate(shots)]
    assert set(calls.values()) == {2}  # the prompt and its negative
    fresh = [next(Renderer(sdxl, Options(batch_size=2)).generate([each])).provenance.pixels for each in shots[3:]]
    assert fresh == found[3:]


def test_what_else_a_prompt_depends_on_is_not_mixed_up(sdxl: ModelSource, shot: Shot, tmp_path: Path) -> None:
    from models.sdxl import embedding
    from models.sdxl.embedding import Embedding

    words = []
    for number in range(2):
        vectors = tuple(torch.full((1, width), float(number + 1)) for width in (32, 48))
        embedding.write_embedding(tmp_path / f"{number}.safetensors", Embedding("<pip>", vectors), {})
        words.append(Ref(str(tmp_path / f"{number}.safetensors"), Embedding("<pip>", vectors).hash))
    found = tiny.lora(tmp_path, 1, "text_encoder")
    loras = (Lora(found.name, found.hash, 1.0),)
    named = shot.with_changes(prompt="a <pip>")
    shots = [
        named,
        *(named.with_changes(embeddings=(word,)) for word in words),
        named.with_changes(negative="blue"),
        named.with_changes(loras=loras),
    ]
    together = [picture.provenance.pixels for picture in Renderer(sdxl, Options()).generate(shots)]
    alone = [next(Renderer(sdxl, Options()).generate([each])).provenance.pixels for each in shots]
    assert together == alone
    assert len(set(together)) == 5


def test_only_so_many_prompts_are_kept_and_a_model_goes_when_nobody_needs_it(sdxl: ModelSource, shot: Shot) -> None:
    import gc
    import weakref

    from models.sdxl.renderer import MAX_CACHED_PROMPTS

    model = Renderer(locate.locate_model(str(sdxl.path)), Options(batch_size=4))
    shots = [shot.with_changes(prompt=f"a cat {number}", steps=1) for number in range(MAX_CACHED_PROMPTS + 4)]
    list(model.generate(shots))
    assert len(model._prompts) == MAX_CACHED_PROMPTS
    unet = weakref.ref(model)
    gc.disable()
    try:
        del model
        assert unet() is None  # at once: the next model may need all the memory there is
    finally:
        gc.enable()
