"""The wrapper on real, tiny SDXL and SD 1.x pipelines: the same shot is the same picture, whoever is beside it."""

import inspect
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from models.picture.environment import pixel_hash
from models.picture.shot import SAMPLERS, Lora, Ref, Shot
from models.sdxl import embedding, locate
from models.sdxl.locate import ModelSource
from models.sdxl.pipeline import Options
from models.sdxl.renderer import Renderer, _open_init_picture, _to_tensor
from models.system.errors import UserError
from tests.support import tiny


def hashes(model: Renderer, shots: Sequence[Shot]) -> dict[str, str]:
    return {picture.shot.id: picture.provenance.pixels for picture in model.generate(shots)}


def varied(shot: Shot) -> list[Shot]:
    """Seven shots of which few can share a batch."""
    seeds = [shot.with_changes(seed=seed) for seed in range(4)]
    return [
        *seeds,
        shot.with_changes(prompt="a " * 100),
        shot.with_changes(negative="a hat"),
        shot.with_changes(sampler="euler a", height=72),
    ]


@pytest.mark.parametrize("family", ["sdxl", "sd1"])
def test_neighbours_order_and_number_do_not_reach_the_bits(
    family: str, shot: Shot, request: pytest.FixtureRequest
) -> None:
    source = request.getfixturevalue(family)
    model = Renderer(source, Options(batch_size=4))
    seven = varied(shot.with_changes(model=source.ref))
    together = hashes(model, seven)
    assert len(set(together.values())) == 7
    assert hashes(model, seven[:4]) == {each.id: together[each.id] for each in seven[:4]}
    assert hashes(model, seven[::-1]) == together
    for each in seven:
        assert hashes(model, [each]) == {each.id: together[each.id]}


def test_two_processes_make_the_same_pixels(sdxl_folder: Path, model: Renderer, shot: Shot) -> None:
    code = f"""
from models.sdxl.pipeline import Options
from models.sdxl.locate import locate_model
from models.sdxl.renderer import load_renderer
from models.picture.shot import Shot
source = locate_model({str(sdxl_folder)!r})
shot = Shot(prompt={shot.prompt!r}, model=source.ref, seed=1, width=64, height=64, steps=3)
for picture in load_renderer(source, Options(batch_size=4)).generate([shot]):
    print(picture.shot.id, picture.provenance.pixels)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert dict([run.stdout.split()]) == hashes(model, [shot])


def test_every_sampler_makes_its_own_picture_and_leaves_no_trace(model: Renderer, shot: Shot) -> None:
    shots = [shot.with_changes(sampler=name, steps=6) for name in SAMPLERS]
    found = hashes(model, shots)
    assert len(set(found.values())) == len(SAMPLERS)
    assert hashes(model, shots[::-1]) == found


@pytest.mark.parametrize("family", ["sdxl", "sd1"])
def test_plain_shots_equal_the_plain_pipeline(family: str, shot: Shot, request: pytest.FixtureRequest) -> None:
    """An independent way to the same pixels: diffusers' own call, with a prompt as text."""
    source = request.getfixturevalue(family)
    shot = shot.with_changes(model=source.ref, guidance=4.0)
    model = Renderer(source, Options(batch_size=1))
    asked = {"prompt": shot.prompt, "num_inference_steps": 3, "guidance_scale": 4.0, "width": 64, "height": 64}
    plain = model.pipe(**asked, generator=[torch.Generator().manual_seed(1)]).images[0]
    assert hashes(model, [shot])[shot.id] == pixel_hash(plain)


def test_guidance_can_end_early(model: Renderer, shot: Shot) -> None:
    """The last steps then ask the network for half as much."""
    seen: list[int] = []
    handle = model.pipe.unet.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    whole = hashes(model, [shot.with_changes(steps=4)])
    half = hashes(model, [shot.with_changes(steps=4, guidance_until=0.5)])
    none = hashes(model, [shot.with_changes(steps=4, guidance_until=0.0)])
    without = hashes(model, [shot.with_changes(steps=4, guidance=1.0)])
    handle.remove()
    assert seen == [8, 8, 8, 8, *[8, 8, 4, 4], *[4] * 4, *[4] * 4]
    assert len({*whole.values(), *half.values(), *none.values()}) == 3
    assert list(none.values()) == list(without.values())


def test_negative_prompts_and_weights_reach_the_picture(model: Renderer, shot: Shot) -> None:
    shots = [shot, shot.with_changes(negative="a dog"), shot.with_changes(prompt="a (red:1.4) cat in the forest")]
    assert len(set(hashes(model, shots).values())) == 3


@pytest.fixture
def sketch(tmp_path: Path) -> Ref:
    image = Image.linear_gradient("L").resize((90, 70)).convert("RGB")
    image.save(tmp_path / "sketch.png")
    return Ref(str(tmp_path / "sketch.png"), pixel_hash(image))


@pytest.mark.parametrize("family", ["sdxl", "sd1"])
def test_image_to_image(family: str, shot: Shot, sketch: Ref, request: pytest.FixtureRequest) -> None:
    source = request.getfixturevalue(family)
    model = Renderer(source, Options(batch_size=4))
    text_only = shot.with_changes(model=source.ref)
    begun = [text_only.with_changes(init=sketch, strength=strength, steps=10) for strength in (0.2, 0.5, 1.0)]
    steps: list[int] = []
    found = {picture.shot.id: picture for picture in model.generate(begun, steps.append)}
    assert sum(steps) == 2 + 5 + 10
    assert all(picture.provenance.parents == (sketch.hash,) for picture in found.values())
    assert all(picture.image.size == (64, 64) for picture in found.values())
    start = numpy.asarray(Image.open(sketch.name).resize((64, 64)), dtype=float)
    weak, _, full = (abs(numpy.asarray(found[each.id].image, dtype=float) - start).mean() for each in begun)
    assert weak != full
    black = Image.new("RGB", (64, 64))
    black.save(f"{sketch.name}.black.png")
    other = begun[1].with_changes(init=Ref(f"{sketch.name}.black.png", pixel_hash(black)))
    assert hashes(model, [other])[other.id] != found[begun[1].id].provenance.pixels
    # A picture made between two others from text alone changes neither.
    assert hashes(model, [begun[2], text_only, begun[0]])[begun[0].id] == found[begun[0].id].provenance.pixels


def test_image_to_image_equals_the_plain_pipeline(sdxl: ModelSource, shot: Shot, tmp_path: Path) -> None:
    from diffusers import AutoPipelineForImage2Image

    image = Image.radial_gradient("L").resize((64, 64)).convert("RGB")
    image.save(tmp_path / "init.png")
    begun = shot.with_changes(init=Ref(str(tmp_path / "init.png"), pixel_hash(image)), strength=0.5, steps=6)
    model = Renderer(sdxl, Options(batch_size=1))
    plain = AutoPipelineForImage2Image.from_pipe(model.pipe)(
        prompt=shot.prompt, image=image, strength=0.5, num_inference_steps=6, guidance_scale=5.0,
        generator=[torch.Generator().manual_seed(1)],
    ).images[0]  # fmt: skip
    assert hashes(model, [begun])[begun.id] == pixel_hash(plain)


def test_transparency_of_an_init_picture_is_part_of_it(model: Renderer, shot: Shot, tmp_path: Path) -> None:
    """It lies on white, and the hash is of what is used."""
    from models.picture.reading import convert_to_rgb, open_picture

    refs = []
    for alpha in (0, 255):
        path = tmp_path / f"{alpha}.png"
        Image.new("RGBA", (64, 64), (200, 30, 30, alpha)).save(path)
        refs.append(Ref(str(path), pixel_hash(convert_to_rgb(open_picture(path)))))
    assert refs[0] != refs[1]
    assert len(set(hashes(model, [shot.with_changes(init=ref) for ref in refs]).values())) == 2


def test_the_refiner_starts_from_a_picture(shot: Shot, sketch: Ref, tmp_path: Path) -> None:
    """Its own classes: one text encoder, the second, and a score where the base model has the target size."""
    source = locate.locate_model(str(tiny.save(tiny.tiny_refiner(), tmp_path / "refiner")))
    assert source.family == "refiner"
    model = Renderer(source, Options(batch_size=2))
    refined = shot.with_changes(model=source.ref, init=sketch, strength=0.5, steps=4, negative="a dog")
    plain = model.pipe(
        prompt=shot.prompt, negative_prompt="a dog", image=_to_tensor([_open_init_picture(refined)]), strength=0.5,
        num_inference_steps=4, guidance_scale=5.0, generator=[torch.Generator().manual_seed(1)],
    ).images[0]  # fmt: skip
    (one,) = Renderer(source, Options(batch_size=1)).generate([refined])
    assert one.provenance.pixels == pixel_hash(plain)
    assert (
        len(
            set(
                hashes(
                    model, [refined, refined.with_changes(seed=2), refined.with_changes(guidance_until=0.5)]
                ).values()
            )
        )
        == 3
    )
    with pytest.raises(UserError, match="is a refiner: it needs a picture to start from"):
        hashes(model, [shot.with_changes(model=source.ref)])


def test_init_picture_gone_or_changed(model: Renderer, shot: Shot, sketch: Ref, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no picture at .*gone\.png"):
        hashes(model, [shot.with_changes(init=Ref(str(tmp_path / "gone.png"), "x"))])
    with pytest.raises(UserError, match=r"sketch\.png has changed since shot"):
        hashes(model, [shot.with_changes(init=Ref(sketch.name, "x"))])


def test_every_step_is_reported(model: Renderer, shot: Shot) -> None:
    steps: list[int] = []
    shots = [shot.with_changes(seed=seed) for seed in range(5)]
    assert len(list(model.generate(shots, steps.append))) == 5
    assert steps == [4, 4, 4, 1, 1, 1]  # the copies that fill the last batch do not count


def test_a_learned_word_reaches_the_picture(model: Renderer, shot: Shot, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    word = embedding.Embedding("<pip>", tuple(torch.randn(2, width, generator=generator) for width in (32, 48)))
    embedding.write_embedding(tmp_path / "pip.safetensors", word, {})
    knows = shot.with_changes(
        prompt="<pip> in the forest", embeddings=(Ref(str(tmp_path / "pip.safetensors"), word.hash),)
    )
    found = hashes(model, [knows, knows.with_changes(embeddings=()), knows.with_changes(prompt="<pip> in the city")])
    assert len(set(found.values())) == 3
    with pytest.raises(UserError, match=r"pip\.safetensors has changed"):
        hashes(model, [knows.with_changes(embeddings=(Ref(str(tmp_path / "pip.safetensors"), "x"),))])


def test_loras_are_put_on_and_taken_off(sdxl: ModelSource, shot: Shot, tmp_path: Path) -> None:
    model = Renderer(sdxl, Options(batch_size=1))
    one, two = (tiny.lora(tmp_path, seed) for seed in (1, 2))
    bare = hashes(model, [shot])
    wearing = [
        shot.with_changes(loras=(Lora(one.name, one.hash, 1.0),)),
        shot.with_changes(loras=(Lora(one.name, one.hash, 0.5),)),
        shot.with_changes(loras=(Lora(one.name, one.hash, 1.0), Lora(two.name, two.hash, 1.0))),
    ]
    found = hashes(model, wearing)
    assert len({*bare.values(), *found.values()}) == 4
    assert hashes(model, [shot, *wearing[::-1]]) == bare | found
    undressed, dressed = model.generate([shot, shot.with_changes(seed=2)]), model.generate([wearing[0]])
    seen = {picture.shot.id: picture.provenance.pixels for picture in (next(undressed), next(dressed), next(undressed))}
    assert seen == {**bare, wearing[0].id: found[wearing[0].id], **hashes(model, [shot.with_changes(seed=2)])}


def test_a_file_that_is_no_lora(sdxl: ModelSource, shot: Shot, tmp_path: Path) -> None:
    path = tmp_path / "no.safetensors"
    path.write_bytes(b"not a file of tensors")
    model = Renderer(sdxl, Options(batch_size=1))
    with pytest.raises(UserError, match=r"no\.safetensors is not a LoRA for model"):
        hashes(model, [shot.with_changes(loras=(Lora(str(path), locate.file_hash(path)),))])
    with pytest.raises(UserError, match=r"LoRA .*gone.* is gone"):
        hashes(model, [shot.with_changes(loras=(Lora(str(tmp_path / "gone"), "x"),))])
    with pytest.raises(UserError, match=r"is a \.bin file: give a \.safetensors file"):
        path.rename(tmp_path / "no.bin")
        hashes(model, [shot.with_changes(loras=(Lora(str(tmp_path / "no.bin"), "x"),))])


@pytest.mark.parametrize("content", [b"not tensors", "foreign"])
def test_a_lora_that_fails_leaves_none_on(content: object, sdxl: ModelSource, shot: Shot, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model = Renderer(sdxl, Options(batch_size=1))
    bare, good, bad = hashes(model, [shot]), tiny.lora(tmp_path, 1), tmp_path / "bad.safetensors"
    if isinstance(content, bytes):
        bad.write_bytes(content)
    else:
        save_file({"unet.foo.lora_A.weight": torch.ones(2, 4), "unet.foo.lora_B.weight": torch.ones(4, 2)}, bad)
    both = (Lora(good.name, good.hash), Lora(str(bad), locate.file_hash(bad)))
    with pytest.raises(UserError, match=r"bad\.safetensors is not a LoRA for model") as caught:
        hashes(model, [shot.with_changes(loras=both)])
    assert "\n" not in str(caught.value)
    assert hashes(model, [shot]) == bare


@pytest.mark.parametrize("own", [{"use_karras_sigmas": True}, {"algorithm_type": "sde-dpmsolver++", "solver_order": 3}])
def test_a_sampler_is_what_its_name_says_whatever_the_model_brings(own: dict, model: Renderer) -> None:
    from models.sdxl.renderer import new_scheduler

    like = type(model.pipe.scheduler).from_config(model.pipe.scheduler.config)
    like.register_to_config(**own)
    for name in SAMPLERS:
        sampler = new_scheduler(name, like)
        made = sampler.config
        if "use_karras_sigmas" in inspect.signature(type(sampler)).parameters:  # others keep the word and ignore it
            assert made.use_karras_sigmas == name.endswith("karras")
        if name.startswith("dpm++"):
            assert (made.algorithm_type, made.solver_order) == ("dpmsolver++", 2)
        assert made.beta_start == like.config.beta_start


def test_another_model_does_not_change_how_many_threads_this_one_uses(sdxl: ModelSource, shot: Shot) -> None:
    one = Renderer(sdxl, Options(batch_size=1))
    two = Renderer(sdxl, Options(batch_size=1, threads=2))
    assert next(two.generate([shot])).environment["threads"] == 2
    assert next(one.generate([shot])).environment["threads"] == 1


def test_too_little_memory_says_what_to_change(sdxl: ModelSource, shot: Shot) -> None:
    model = Renderer(sdxl, Options(batch_size=2))

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    model.pipe.unet.register_forward_pre_hook(full)
    with pytest.raises(UserError, match="too little memory for 64x64 in batches of 2: set models.batch_size to 1"):
        hashes(model, [shot])


def test_another_vae(sdxl_folder: Path, shot: Shot, tmp_path: Path) -> None:
    tiny.tiny_sdxl(seed=5).vae.save_pretrained(tmp_path / "vae")
    vae = locate.locate_vae(str(tmp_path / "vae"))
    model = Renderer(locate.locate_model(str(sdxl_folder)), Options(batch_size=4, vae=vae))
    other = shot.with_changes(vae=vae.ref)
    own = Renderer(model.source, Options(batch_size=4))
    assert list(hashes(model, [other]).values()) != list(hashes(own, [shot]).values())
    with pytest.raises(UserError, match=r"is for model .*, not for the loaded .* with VAE .*: load that one"):
        hashes(model, [shot])


def test_not_a_number_is_an_error_and_not_a_black_picture(sdxl_folder: Path, shot: Shot) -> None:
    model = Renderer(locate.locate_model(str(sdxl_folder)), Options(batch_size=1))
    with torch.no_grad():
        model.pipe.vae.decoder.conv_in.weight.fill_(float("nan"))
    with pytest.raises(UserError, match="not-a-number: use precision bf16 or fp32, or another VAE"):
        hashes(model, [shot])


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_low_precision_runs_and_says_so(precision: str, sdxl: ModelSource, shot: Shot) -> None:
    model = Renderer(sdxl, Options(batch_size=1, precision=precision))
    (picture,) = model.generate([shot])
    assert picture.environment["dtype"] == precision
    assert next(model.pipe.unet.parameters()).dtype == {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def test_decoding_in_tiles(sdxl: ModelSource, shot: Shot) -> None:
    model = Renderer(sdxl, Options(batch_size=1, memory="vae"))
    assert model.pipe.vae.use_tiling
    (picture,) = model.generate([shot])
    assert picture.environment["memory"] == "vae"


@pytest.mark.slow
def test_regional_compilation_gives_nearly_the_same_picture(sdxl: ModelSource, model: Renderer, shot: Shot) -> None:
    """A few units in the last place move; the environment says so."""
    compiled = Renderer(sdxl, Options(batch_size=4, compile="regional"))
    (plain,), (fast,) = model.generate([shot]), compiled.generate([shot])
    gap = numpy.asarray(plain.image, dtype=int) - numpy.asarray(fast.image, dtype=int)
    assert abs(gap).max() <= 2
    assert fast.environment["compile"] == "regional"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (Options(device="cuda"), "device 'cuda' is not there"),
        (Options(device="tpu"), "device 'tpu' is unknown: use auto"),
        (Options(memory="offload"), "moves weights off a GPU, and this runs on the CPU: use none or vae"),
        (Options(memory="sequential"), "moves weights off a GPU"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="these are the sentences of a machine without a GPU")
def test_what_this_machine_cannot_do(options: Options, sentence: str, sdxl: ModelSource) -> None:
    with pytest.raises(UserError, match=sentence):
        Renderer(sdxl, options)


@pytest.mark.gpu
@pytest.mark.parametrize("memory", ["none", "vae", "offload", "sequential"])
def test_memory_modes_on_a_gpu(memory: str, sdxl: ModelSource, shot: Shot, sketch: Ref) -> None:
    model = Renderer(sdxl, Options(device="cuda", memory=memory, batch_size=2))
    shots = [shot, shot.with_changes(seed=2), shot.with_changes(init=sketch)]
    assert hashes(model, shots) == hashes(model, shots[::-1])
