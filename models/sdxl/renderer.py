"""Renders shots with diffusers' SDXL and SD 1.x pipelines: the same shot always makes the same pixels, bit for bit."""

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
from models.sdxl.cached_attention import cached_cross_attention
from models.sdxl.locate import ModelSource, file_hash
from models.sdxl.pipeline import Options
from models.system.errors import UserError

if TYPE_CHECKING:
    import torch

__all__ = ["Options", "RenderedPicture", "Renderer"]

MAX_CACHED_PROMPTS = 16  # the candidates of a post share one prompt

Stepped = Callable[[int], None]  # called with the number of pictures that have just done one step


@dataclass(frozen=True)
class RenderedPicture:
    """The pixels of a shot, and their provenance."""

    shot: Shot
    image: Image.Image
    environment: dict[str, Any]

    @cached_property
    def provenance(self) -> provenance.Provenance:
        parents = (self.shot.init.hash,) if self.shot.init else ()
        return provenance.Provenance(self.shot, self.environment, fingerprint.pixel_hash(self.image), parents)

    def encode_png(self) -> bytes:
        return provenance.encode_png(self.image, self.provenance)


class Renderer:
    """A loaded model. `generate` is all that most callers need."""

    def __init__(self, source: ModelSource, options: Options) -> None:
        import torch

        self.source, self.options = source, options
        self.threads = options.threads or _default_threads()
        torch.set_num_threads(self.threads)
        self.device = pipeline.resolve_device(options.device)
        self.precision = pipeline.resolve_precision(options.precision, self.device)
        if self.device.startswith("cuda"):
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        self.pipe = pipeline.load_pipeline(source, options, self.device, self.precision)
        self.encoders = prompt_encoder.list_encoders(self.pipe)
        self._own_scheduler = self.pipe.scheduler  # each batch's sampler is made from this one
        self._applied_loras: tuple[Lora, ...] | None = ()  # None: unknown after an error
        # In order of insertion, the oldest first.
        self._prompts: dict[Hashable, tuple[prompt_encoder.EncodedPrompt, prompt_encoder.EncodedPrompt]] = {}

    @cached_property
    def from_image(self) -> Any:
        """Return the image-to-image pipeline, which shares all parts."""
        if self.source.family == "refiner":
            return self.pipe
        image_pipe = pipeline.new_image_to_image(self.pipe)
        if self.options.memory in ("offload", "sequential"):
            pipeline.move_to_device(image_pipe, self.options.memory, self.device)
        return image_pipe

    def describe_environment(self) -> dict[str, Any]:
        modes = {"memory": self.options.memory, "compile": self.options.compile}
        return fingerprint.describe_environment(self.device, self.precision, self.options.batch_size, **modes)

    def generate(self, shots: Iterable[Shot], on_step: Stepped | None = None) -> Iterator[RenderedPicture]:
        """Yield the picture of each shot as it is done.

        Shots that can share a batch are rendered together. All batches have the same size; copies fill up the last one and
        are thrown away. So a picture's pixels depend neither on its batch, nor on its place in it, nor on their number.
        """
        for group in _group_shots(shots, self._batch_key):
            size = self.options.batch_size
            for start in range(0, len(group), size):
                batch = group[start : start + size]
                images = self._render_batch([*batch, *[batch[-1]] * (size - len(batch))], len(batch), on_step)
                environment = self.describe_environment()
                yield from (
                    RenderedPicture(*pair, environment) for pair in zip(batch, images[: len(batch)], strict=True)
                )

    def _batch_key(self, shot: Shot) -> Hashable:
        """Return the key that all shots of one batch share; refuse shots that are not for this model."""
        if shot.model != self.source.ref or shot.vae != (self.options.vae.ref if self.options.vae else None):
            loaded_refs = [self.source.ref, *([self.options.vae.ref] if self.options.vae else [])]
            required, loaded = (
                " with VAE ".join(f"{part.name} ({part.hash[:10]})" for part in refs if part)
                for refs in ((shot.model, shot.vae), loaded_refs)
            )
            raise UserError(f"shot {shot.id} is for model {required}, not for the loaded {loaded}: load that one")
        if self.source.family == "refiner" and shot.init is None:
            raise UserError(f"model {shot.model.name!r} is a refiner: it needs a picture to start from (init)")
        strength = shot.strength if shot.init else None
        settings = (shot.width, shot.height, shot.steps, shot.guidance, shot.guidance_until, shot.sampler, strength)
        return (*settings, shot.loras, self._max_chunks(shot))

    def _max_chunks(self, shot: Shot) -> int:
        """Count the chunks of a shot's prompts; a batch has one count, since padding changes pixels."""
        counts = {item.token: item.vector_count for item in self._load_embeddings(shot)}
        texts = (shot.prompt, shot.negative)
        return max(
            len(prompt_encoder.split_into_chunks(text, encoder.tokenizer, counts))
            for text in texts
            for encoder in self.encoders
        )

    def _load_embeddings(self, shot: Shot) -> list[embedding.Embedding]:
        return [_load_embedding(ref) for ref in shot.embeddings]

    def _render_batch(self, shots: Sequence[Shot], real: int, on_step: Stepped | None) -> list[Image.Image]:
        import torch

        first = shots[0]
        torch.set_num_threads(self.threads)  # a setting of the whole process, so another model may have changed it
        self._apply_loras(first.loras)
        pipe = self.from_image if first.init else self.pipe
        pipe.scheduler = new_scheduler(first.sampler, self._own_scheduler)
        arguments = self._encode_batch(shots) | {
            "num_inference_steps": first.steps,
            "guidance_scale": first.guidance if _guided_steps(first) else 1.0,
            # One generator a picture, on the CPU, so that a seed means the same noise on every device.
            "generator": [torch.Generator("cpu").manual_seed(shot.seed) for shot in shots],
            "output_type": "np",
        }
        if first.init:
            arguments |= {"image": _to_tensor([_open_init_picture(shot) for shot in shots]), "strength": first.strength}
        else:
            arguments |= {"height": first.height, "width": first.width}
        with (
            torch.no_grad(),
            pipeline.explain_torch_errors(self.options, f"{first.width}x{first.height}"),
            self._prompt_caching(),
        ):
            arrays = pipe(**arguments, **_step_callback(first, real, on_step, pipe)).images
        return [_to_image(array, shot) for array, shot in zip(arrays, shots, strict=True)]

    def _prompt_caching(self) -> AbstractContextManager[None]:
        """Cache cross-attention, unless the blocks are compiled: other processors would make them compile again."""
        return cached_cross_attention(self.pipe.unet) if self.options.compile == "off" else nullcontext()

    def _encode_batch(self, shots: Sequence[Shot]) -> dict[str, "torch.Tensor"]:
        """Encode the prompts of a batch, each alone, so that the other shots of the batch do not matter."""
        import torch

        with torch.no_grad():
            pairs = [self._encode_shot(shot) for shot in shots]
        lists = {
            "prompt_embeds": [positive.hidden for positive, _ in pairs],
            "negative_prompt_embeds": [negative.hidden for _, negative in pairs],
            "pooled_prompt_embeds": [positive.pooled for positive, _ in pairs],
            "negative_pooled_prompt_embeds": [negative.pooled for _, negative in pairs],
        }
        return {name: torch.cat(tensors) for name, tensors in lists.items() if tensors[0] is not None}

    def _encode_shot(self, shot: Shot) -> tuple[prompt_encoder.EncodedPrompt, prompt_encoder.EncodedPrompt]:
        """Encode a shot's prompt and negative. Its LoRAs must be applied before, since some change the encoders too."""
        key = (shot.prompt, shot.negative, shot.embeddings, shot.loras)
        if key not in self._prompts:
            if len(self._prompts) >= MAX_CACHED_PROMPTS:
                del self._prompts[next(iter(self._prompts))]
            zero_negative = bool(self.pipe.config.get("force_zeros_for_empty_prompt", False)) and not shot.negative
            encoded_pair = prompt_encoder.encode_pair(
                self.encoders, shot.prompt, shot.negative, self._load_embeddings(shot), zero_negative
            )
            self._prompts[key] = encoded_pair
        return self._prompts[key]

    def _apply_loras(self, loras: tuple[Lora, ...]) -> None:
        """Apply exactly these LoRAs, and remove all others."""
        if loras == self._applied_loras:
            return
        for lora in loras:
            _check_lora(lora)
        self._applied_loras = None  # if anything below fails, the next shot removes all LoRAs first
        self.pipe.unload_lora_weights()
        for lora in loras:
            try:
                self.pipe.load_lora_weights(lora.name, adapter_name=lora.hash)
                self.pipe.set_adapters([lora.hash])  # fails if the file has nothing for this model
            except Exception as error:  # the loader raises a different type for every kind of wrong file
                raise UserError(
                    f"{lora.name} is not a LoRA for model {self.source.ref.name!r} ({single_file.first_sentence(error)})"
                ) from error
        if loras:
            self.pipe.set_adapters([lora.hash for lora in loras], [lora.weight for lora in loras])
        self._applied_loras = loras


def new_scheduler(sampler: str, like: Any) -> Any:
    """Return a new sampler by name, with the model's own betas, prediction type and spacing.

    The options that distinguish two names are set here, whatever the model's own sampler is.
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


def _group_shots(shots: Iterable[Shot], key_of: Callable[[Shot], Hashable]) -> list[list[Shot]]:
    """Group shots by their key, in the order in which each key first appears."""
    groups: dict[Hashable, list[Shot]] = {}
    for shot in shots:
        groups.setdefault(key_of(shot), []).append(shot)
    return list(groups.values())


def _step_callback(shot: Shot, real: int, on_step: Stepped | None, pipe: Any) -> dict[str, Any]:
    """Return the callback after each step, which reports to the caller and stops guidance where the shot says so."""
    last_guided = _guided_steps(shot)
    cut = 0 < last_guided < shot.denoising_steps
    tensors = [
        name for name in pipe._callback_tensor_inputs if name in ("prompt_embeds", "add_text_embeds", "add_time_ids")
    ]

    def after_step(pipe: Any, step: int, _: Any, values: dict[str, Any]) -> dict[str, Any]:
        if cut and step + 1 == last_guided and pipe.do_classifier_free_guidance:
            pipe._guidance_scale = 0.0  # below 1 the pipeline runs only the positive half of the batch
            values = {name: value.chunk(2)[1] if name in tensors else value for name, value in values.items()}
        if on_step:
            on_step(real)
        return values

    return {
        "callback_on_step_end": after_step,
        "callback_on_step_end_tensor_inputs": ["latents", *(tensors if cut else [])],
    }


def _guided_steps(shot: Shot) -> int:
    return round(shot.guidance_until * shot.denoising_steps)


def _to_image(array: Any, shot: Shot) -> Image.Image:
    import numpy

    if not numpy.isfinite(array).all():
        raise UserError(
            f"shot {shot.id} came out as not-a-number: use precision bf16 or fp32, or another VAE (models.vae)"
        )
    return Image.fromarray((array * 255).round().astype("uint8"))


def _to_tensor(images: Sequence[Image.Image]) -> "torch.Tensor":
    """Return [N, 3, H, W] from 0 to 1, which the pipeline converts to the range of its VAE."""
    import numpy
    import torch

    arrays = numpy.stack([numpy.asarray(image, dtype=numpy.float32) for image in images])
    return torch.from_numpy(arrays).permute(0, 3, 1, 2) / 255


def _open_init_picture(shot: Shot) -> Image.Image:
    """Open the picture to start from, check its hash, and crop and scale it to the shot's size."""
    assert shot.init is not None
    image = reading.convert_to_rgb(reading.open_picture(Path(shot.init.name)))
    if fingerprint.pixel_hash(image) != shot.init.hash:
        raise UserError(
            f"init picture {shot.init.name} has changed since shot {shot.id} was planned: plan the shot again"
        )
    return ImageOps.fit(image, (shot.width, shot.height), Image.Resampling.LANCZOS)


@lru_cache(maxsize=64)
def _load_embedding(ref: Ref) -> embedding.Embedding:
    loaded = embedding.read_embedding(Path(ref.name))
    if loaded.hash != ref.hash:
        raise UserError(f"embedding {ref.name} has changed since the shot was planned: plan the shot again")
    return loaded


def _check_lora(lora: Lora) -> None:
    path = Path(lora.name)
    if not path.is_file():
        raise UserError(f"LoRA {lora.name} is gone: put the file back")
    if path.suffix != ".safetensors":
        raise UserError(f"LoRA {lora.name} is a {path.suffix or 'bare'} file: give a .safetensors file")
    if file_hash(path) != lora.hash:
        raise UserError(f"LoRA {lora.name} has changed since the shot was planned: plan the shot again")


@cache
def _default_threads() -> int:
    """Return torch's default number of threads; cached, since setting the number changes what torch reports."""
    import torch

    return torch.get_num_threads()


_loaded_renderers: dict[tuple[ModelSource, Options], Renderer] = {}


def load_renderer(source: ModelSource, options: Options) -> Renderer:
    """Load a model, ready to make pictures. The last one stays loaded, so that loading it again costs nothing."""
    if (source, options) not in _loaded_renderers:
        _loaded_renderers.clear()  # before loading: two full-size models may not fit at once
        _loaded_renderers[source, options] = Renderer(source, options)
    return _loaded_renderers[source, options]
