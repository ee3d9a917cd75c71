"""One wrapper over diffusers' SDXL and SD 1.x pipelines: shots in, pictures out, bit for bit the same every time."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageOps

from models.picture import environment as fingerprint
from models.picture import provenance, reading
from models.picture.shot import Lora, Ref, Shot
from models.sdxl import embedding, pipeline, prompt_encoder, single_file
from models.sdxl.cached_attention import prompts_read_once
from models.sdxl.locate import Source, file_hash
from models.sdxl.pipeline import Options
from models.system.errors import UserError

if TYPE_CHECKING:
    import torch

__all__ = ["Model", "Options", "Picture"]

KEPT_PROMPTS = 16  # the candidates of a post share theirs

Stepped = Callable[[int], None]  # called with the number of picture-steps just done


@dataclass(frozen=True)
class Picture:
    """The pixels of a shot, and where they come from."""

    shot: Shot
    image: Image.Image
    environment: dict[str, Any]

    @cached_property
    def provenance(self) -> provenance.Provenance:
        parents = (self.shot.init.hash,) if self.shot.init else ()
        return provenance.Provenance(self.shot, self.environment, fingerprint.pixel_hash(self.image), parents)

    def png(self) -> bytes:
        return provenance.png(self.image, self.provenance)


class Model:
    """A loaded model. `generate` is all that most callers need."""

    def __init__(self, source: Source, options: Options) -> None:
        import torch

        self.source, self.options = source, options
        self.threads = options.threads or _own_threads()
        torch.set_num_threads(self.threads)
        self.device = pipeline.device_of(options.device)
        self.precision = pipeline.precision_of(options.precision, self.device)
        if self.device.startswith("cuda"):
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        self.pipe = pipeline.pipeline(source, options, self.device, self.precision)
        self.encoders = prompt_encoder.encoders_of(self.pipe)
        self._own_scheduler = self.pipe.scheduler  # the one put in for a batch must not colour the next one
        self._worn: tuple[Lora, ...] | None = ()  # None: nobody knows
        self._prompts: dict[Hashable, tuple[prompt_encoder.Encoded, prompt_encoder.Encoded]] = {}  # the oldest first

    @cached_property
    def from_image(self) -> Any:
        """The pipeline that starts from a picture, over the same parts."""
        if self.source.family == "refiner":
            return self.pipe
        made = pipeline.image_to_image(self.pipe)
        if self.options.memory in ("offload", "sequential"):
            pipeline.place(made, self.options.memory, self.device)
        return made

    def environment(self) -> dict[str, Any]:
        modes = {"memory": self.options.memory, "compile": self.options.compile}
        return fingerprint.environment(self.device, self.precision, self.options.batch_size, **modes)

    def generate(self, shots: Iterable[Shot], on_step: Stepped | None = None) -> Iterator[Picture]:
        """Yield the picture of each shot as it is done.

        Shots that can share a batch are made together. The batch has one size always, the last one is filled up with
        copies that are thrown away: so neither neighbours nor position nor number reach the bits of a picture.
        """
        for group in _alike(shots, self._kin):
            size = self.options.batch_size
            for start in range(0, len(group), size):
                batch = group[start : start + size]
                images = self._batch([*batch, *[batch[-1]] * (size - len(batch))], len(batch), on_step)
                environment = self.environment()
                yield from (Picture(*pair, environment) for pair in zip(batch, images[: len(batch)], strict=True))

    def _kin(self, shot: Shot) -> Hashable:
        """What the shots of one batch have in common; also, refuse shots that are not for this model."""
        if shot.model != self.source.ref or shot.vae != (self.options.vae.ref if self.options.vae else None):
            there = [self.source.ref, *([self.options.vae.ref] if self.options.vae else [])]
            asked, loaded = (
                " with VAE ".join(f"{each.name} ({each.hash[:10]})" for each in refs if each)
                for refs in ((shot.model, shot.vae), there)
            )
            raise UserError(f"shot {shot.id} is for model {asked}, not for the loaded {loaded}: load that one")
        if self.source.family == "refiner" and shot.init is None:
            raise UserError(f"model {shot.model.name!r} is a refiner: it needs a picture to start from (init)")
        strength = shot.strength if shot.init else None
        look = (shot.width, shot.height, shot.steps, shot.guidance, shot.guidance_until, shot.sampler, strength)
        return (*look, shot.loras, self._chunks(shot))

    def _chunks(self, shot: Shot) -> int:
        """Padding a prompt to a longer neighbour's length would change its picture."""
        counts = {word.token: word.count for word in self._words(shot)}
        texts = (shot.prompt, shot.negative)
        return max(len(prompt_encoder.chunks(text, each.tokenizer, counts)) for text in texts for each in self.encoders)

    def _words(self, shot: Shot) -> list[embedding.Embedding]:
        return [_embedding(ref) for ref in shot.embeddings]

    def _batch(self, shots: Sequence[Shot], real: int, on_step: Stepped | None) -> list[Image.Image]:
        import torch

        first = shots[0]
        torch.set_num_threads(self.threads)  # of the whole process, so another model may have changed it
        self._wear(first.loras)
        pipe = self.from_image if first.init else self.pipe
        pipe.scheduler = scheduler(first.sampler, self._own_scheduler)
        arguments = self._conditioning(shots) | {
            "num_inference_steps": first.steps,
            "guidance_scale": first.guidance if _guided_steps(first) else 1.0,
            # One generator a picture, on the CPU, so that a seed means the same noise on every device.
            "generator": [torch.Generator("cpu").manual_seed(shot.seed) for shot in shots],
            "output_type": "np",
        }
        if first.init:
            arguments |= {"image": _pixels([_init(shot) for shot in shots]), "strength": first.strength}
        else:
            arguments |= {"height": first.height, "width": first.width}
        with (
            torch.no_grad(),
            pipeline.told_plainly(self.options, f"{first.width}x{first.height}"),
            self._quick_reading(),
        ):
            made = pipe(**arguments, **_after_each_step(first, real, on_step, pipe)).images
        return [_image(array, shot) for array, shot in zip(made, shots, strict=True)]

    def _quick_reading(self) -> AbstractContextManager[None]:
        """Compiled blocks have their attention inside already, and another one would compile them anew."""
        return prompts_read_once(self.pipe.unet) if self.options.compile == "off" else nullcontext()

    def _conditioning(self, shots: Sequence[Shot]) -> dict[str, "torch.Tensor"]:
        """The encoded prompts. Each is encoded alone, so that it does not matter who else is in the batch."""
        import torch

        with torch.no_grad():
            pairs = [self._encoded(shot) for shot in shots]
        named = {
            "prompt_embeds": [positive.hidden for positive, _ in pairs],
            "negative_prompt_embeds": [negative.hidden for _, negative in pairs],
            "pooled_prompt_embeds": [positive.pooled for positive, _ in pairs],
            "negative_pooled_prompt_embeds": [negative.pooled for _, negative in pairs],
        }
        return {name: torch.cat(each) for name, each in named.items() if each[0] is not None}

    def _encoded(self, shot: Shot) -> tuple[prompt_encoder.Encoded, prompt_encoder.Encoded]:
        """A prompt and its negative. LoRAs play a part: some change the encoders too, and they are worn by now."""
        key = (shot.prompt, shot.negative, shot.embeddings, shot.loras)
        if key not in self._prompts:
            if len(self._prompts) >= KEPT_PROMPTS:
                del self._prompts[next(iter(self._prompts))]
            zeros = bool(self.pipe.config.get("force_zeros_for_empty_prompt", False)) and not shot.negative
            made = prompt_encoder.pair(self.encoders, shot.prompt, shot.negative, self._words(shot), zeros)
            self._prompts[key] = made
        return self._prompts[key]

    def _wear(self, loras: tuple[Lora, ...]) -> None:
        """Put on exactly these LoRAs, and take off all others."""
        if loras == self._worn:
            return
        for lora in loras:
            _check_lora(lora)
        self._worn = None  # should anything below fail, the next shot begins by taking off what is on
        self.pipe.unload_lora_weights()
        for lora in loras:
            try:
                self.pipe.load_lora_weights(lora.name, adapter_name=lora.hash)
                self.pipe.set_adapters([lora.hash])  # which fails where the file has nothing for this model
            except Exception as error:  # the loader raises a different type for every kind of wrong file
                raise UserError(
                    f"{lora.name} is not a LoRA for model {self.source.ref.name!r} ({single_file.why(error)})"
                ) from error
        if loras:
            self.pipe.set_adapters([lora.hash for lora in loras], [lora.weight for lora in loras])
        self._worn = loras


def scheduler(sampler: str, like: Any) -> Any:
    """A fresh sampler by name, with what the model says of its own (betas, prediction type, spacing).

    What makes the difference between two names is said here, whatever the model's own sampler is.
    """
    import diffusers

    plain: dict[str, Any] = {"use_karras_sigmas": False, "use_exponential_sigmas": False, "use_beta_sigmas": False}
    multistep = plain | {"algorithm_type": "dpmsolver++", "solver_order": 2, "solver_type": "midpoint"}
    kind, extra = {
        "euler": (diffusers.EulerDiscreteScheduler, plain),
        "euler a": (diffusers.EulerAncestralDiscreteScheduler, {}),
        "dpm++ 2m": (diffusers.DPMSolverMultistepScheduler, multistep),
        "dpm++ 2m karras": (diffusers.DPMSolverMultistepScheduler, multistep | {"use_karras_sigmas": True}),
        "ddim": (diffusers.DDIMScheduler, {"clip_sample": False, "set_alpha_to_one": False}),
        "unipc": (diffusers.UniPCMultistepScheduler, plain | {"solver_order": 2, "solver_type": "bh2"}),
        "lcm": (diffusers.LCMScheduler, {"clip_sample": False}),
    }[sampler]
    return kind.from_config(like.config, **extra)


def _alike(shots: Iterable[Shot], kin: Callable[[Shot], Hashable]) -> list[list[Shot]]:
    """Shots in groups of equal kin, in the order in which each kind first appears."""
    groups: dict[Hashable, list[Shot]] = {}
    for shot in shots:
        groups.setdefault(kin(shot), []).append(shot)
    return list(groups.values())


def _after_each_step(shot: Shot, real: int, on_step: Stepped | None, pipe: Any) -> dict[str, Any]:
    """What the pipeline does after a step: tell the caller, and leave guidance behind where the shot says so."""
    last_guided = _guided_steps(shot)
    cut = 0 < last_guided < shot.denoising_steps
    tensors = [
        name for name in pipe._callback_tensor_inputs if name in ("prompt_embeds", "add_text_embeds", "add_time_ids")
    ]

    def after(pipe: Any, step: int, _: Any, values: dict[str, Any]) -> dict[str, Any]:
        if cut and step + 1 == last_guided and pipe.do_classifier_free_guidance:
            pipe._guidance_scale = 0.0  # below 1 the pipeline asks the network once a step, without the negative half
            values = {name: value.chunk(2)[1] if name in tensors else value for name, value in values.items()}
        if on_step:
            on_step(real)
        return values

    return {"callback_on_step_end": after, "callback_on_step_end_tensor_inputs": ["latents", *(tensors if cut else [])]}


def _guided_steps(shot: Shot) -> int:
    return round(shot.guidance_until * shot.denoising_steps)


def _image(array: Any, shot: Shot) -> Image.Image:
    import numpy

    if not numpy.isfinite(array).all():
        raise UserError(
            f"shot {shot.id} came out as not-a-number: use precision bf16 or fp32, or another VAE (models.vae)"
        )
    return Image.fromarray((array * 255).round().astype("uint8"))


def _pixels(images: Sequence[Image.Image]) -> "torch.Tensor":
    """[N, 3, H, W] from 0 to 1, which the pipeline brings to what its VAE reads."""
    import numpy
    import torch

    arrays = numpy.stack([numpy.asarray(image, dtype=numpy.float32) for image in images])
    return torch.from_numpy(arrays).permute(0, 3, 1, 2) / 255


def _init(shot: Shot) -> Image.Image:
    """The picture to start from, checked to be the one that the shot means, cut and scaled to the shot's size."""
    assert shot.init is not None
    image = reading.rgb(reading.open_picture(Path(shot.init.name)))
    if fingerprint.pixel_hash(image) != shot.init.hash:
        raise UserError(
            f"init picture {shot.init.name} has changed since shot {shot.id} was planned: plan the shot again"
        )
    return ImageOps.fit(image, (shot.width, shot.height), Image.Resampling.LANCZOS)


@lru_cache(maxsize=64)
def _embedding(ref: Ref) -> embedding.Embedding:
    made = embedding.read(Path(ref.name))
    if made.hash != ref.hash:
        raise UserError(f"embedding {ref.name} has changed since the shot was planned: plan the shot again")
    return made


def _check_lora(lora: Lora) -> None:
    path = Path(lora.name)
    if not path.is_file():
        raise UserError(f"LoRA {lora.name} is gone: put the file back")
    if path.suffix != ".safetensors":
        raise UserError(f"LoRA {lora.name} is a {path.suffix or 'bare'} file: give a .safetensors file")
    if file_hash(path) != lora.hash:
        raise UserError(f"LoRA {lora.name} has changed since the shot was planned: plan the shot again")


@cache
def _own_threads() -> int:
    """As many as torch takes where nobody says anything; asked once, before anybody has."""
    import torch

    return torch.get_num_threads()


_loaded: dict[tuple[Source, Options], Model] = {}


def load(source: Source, options: Options) -> Model:
    """The pipeline of a model, ready to make pictures. The last one stays loaded, so that asking again costs nothing."""
    if (source, options) not in _loaded:
        _loaded.clear()  # before loading: two full-size models may not fit at once
        _loaded[source, options] = Model(source, options)
    return _loaded[source, options]
