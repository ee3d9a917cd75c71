"""From a located model to a diffusers pipeline on its device: precision, VAE, memory mode and compilation."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from models import single_file
from models.errors import UserError
from models.registry import Source, Vae
from models.single_file import weights, why

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "fp32", "fp16", "bf16"]
Memory = Literal["none", "vae", "offload", "sequential"]
Compile = Literal["off", "regional"]


@dataclass(frozen=True)
class Options:
    """How a model is run. None of it is part of a shot; what reaches the bits is in the environment."""

    device: str = "auto"
    precision: Precision = "auto"
    memory: Memory = "none"
    compile: Compile = "off"
    batch_size: int = 1
    threads: int = 0  # of the CPU; 0 leaves torch's own choice
    vae: Vae | None = None  # in place of the model's own


def device_of(asked: str) -> str:
    """The device to run on: the one asked for, or the fastest that is there."""
    import torch

    mps = torch.backends.mps.is_available()
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    kind = asked.partition(":")[0]
    if kind not in ("cpu", "cuda", "mps"):
        raise UserError(f"device {asked!r} is unknown: use auto, cpu, cuda, cuda:1 … or mps")
    if (kind == "cuda" and not torch.cuda.is_available()) or (kind == "mps" and not mps):
        raise UserError(f"device {asked!r} is not there: torch sees no such device on this machine; use auto or cpu")
    if kind == "cuda" and ":" in asked and int(asked.partition(":")[2]) >= torch.cuda.device_count():
        raise UserError(f"device {asked!r} is not there: this machine has {torch.cuda.device_count()} CUDA device(s)")
    return asked


def precision_of(asked: Precision, device: str) -> str:
    """bf16 where the GPU computes in it, fp16 on older ones and on Apple's, fp32 on a CPU."""
    import torch

    if asked != "auto":
        return asked
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    return "fp16" if device == "mps" else "fp32"


def dtype_of(precision: str) -> "torch.dtype":
    import torch

    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]


def pipeline(source: Source, options: Options, device: str, precision: str) -> Any:
    """The text-to-image pipeline, loaded, placed and compiled as asked."""
    if options.memory in ("offload", "sequential") and device == "cpu":
        raise UserError(
            f"memory mode {options.memory!r} moves weights off a GPU, and this runs on the CPU: use none or vae"
        )
    pipe = _read(source, options, precision)
    pipe.set_progress_bar_config(disable=True)  # the caller shows one bar for the whole work
    place(pipe, options.memory, device)
    if options.compile == "regional":
        pipe.unet.compile_repeated_blocks(fullgraph=True)
    return pipe


def place(pipe: Any, memory: Memory, device: str) -> None:
    """Onto the device, or under hooks that bring each part there when it is needed."""
    if memory == "offload":
        pipe.enable_model_cpu_offload(device=device)
    elif memory == "sequential":
        pipe.enable_sequential_cpu_offload(device=device)
    else:
        pipe.to(device)
        if device == "cpu":
            _align(pipe)
    if memory != "none":
        pipe.vae.enable_slicing()
        pipe.vae.enable_tiling()


def image_to_image(pipe: Any) -> Any:
    """The same parts behind the pipeline that starts from a picture; nothing is loaded or cast again."""
    from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionXLImg2ImgPipeline

    if "text_encoder_2" in pipe.components:
        zeros = pipe.config.force_zeros_for_empty_prompt
        made = StableDiffusionXLImg2ImgPipeline(
            **pipe.components, force_zeros_for_empty_prompt=zeros, add_watermarker=False
        )
    else:
        made = StableDiffusionImg2ImgPipeline(**pipe.components, requires_safety_checker=False)
    made.set_progress_bar_config(disable=True)
    return made


def _align(pipe: Any) -> None:
    """Give weights that are mapped from a file a place of their own.

    Where they stand in a file decides how far they are from a multiple of 64 bytes, which decides how some sums on a
    CPU are cut up, and so their last bits: the same weights in another file would make other pixels.
    """
    for tensor in weights(pipe):
        if tensor.data_ptr() % 64:
            tensor.data = tensor.data.clone()


def _read(source: Source, options: Options, precision: str) -> Any:
    import diffusers
    from safetensors import SafetensorError

    _quiet()
    wanted: dict[str, Any] = {"dtype": dtype_of(precision)}
    if options.vae is not None:
        wanted["vae"] = _vae(options.vae, source, precision)
    if source.family == "sd1":
        # What may be published is decided by the gates and by a person, not by a filter that blackens pictures.
        kind, extra = diffusers.StableDiffusionPipeline, {"safety_checker": None, "requires_safety_checker": False}
    else:
        # A watermark would change the pixels of machines that happen to have its package.
        kind, extra = diffusers.StableDiffusionXLPipeline, {"add_watermarker": False}
        if source.family == "refiner":
            kind = diffusers.StableDiffusionXLImg2ImgPipeline
    try:
        if source.path.is_file():
            return single_file.pipeline(kind, source.path, source.config, wanted | extra)
        return kind.from_pretrained(source.path, variant=source.variant, use_safetensors=True, **wanted, **extra)
    except UserError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(
            f"model {source.ref.name!r} at {source.path} cannot be loaded ({why(error)}): get its files again"
        ) from error


def _vae(vae: Vae, source: Source, precision: str) -> Any:
    """A VAE of a single file has the configuration asked for, or else the one of the model that it is put in."""
    from diffusers import AutoencoderKL
    from safetensors import SafetensorError

    wanted: dict[str, Any] = {"dtype": dtype_of(precision)}
    try:
        if vae.path.is_file():
            config = vae.config or (str(source.path) if source.path.is_dir() else source.config)
            return single_file.vae(vae.path, config, wanted)
        return AutoencoderKL.from_pretrained(vae.path, use_safetensors=True, **wanted)
    except UserError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise UserError(
            f"VAE {vae.ref.name!r} at {vae.path} cannot be loaded ({why(error)}): get its files again"
        ) from error


def _quiet() -> None:
    """One calm line of progress is ours to print; the libraries' own bars and advice would scroll through it."""
    import diffusers
    import transformers

    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
