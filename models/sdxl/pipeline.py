"""From a located model to a diffusers pipeline on its device: precision, VAE, memory mode and compilation."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from models.sdxl import single_file
from models.sdxl.locate import Source, Vae
from models.sdxl.single_file import weights, why
from models.system import processes
from models.system.errors import UserError

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

    def __post_init__(self) -> None:
        for name, kind in (("precision", Precision), ("memory", Memory), ("compile", Compile)):
            if getattr(self, name) not in get_args(kind):
                raise UserError(f"{name} {getattr(self, name)!r} is unknown: use one of {', '.join(get_args(kind))}")
        for name, least in (("batch_size", 1), ("threads", 0)):
            if not isinstance(getattr(self, name), int) or not least <= getattr(self, name) <= 1024:
                raise UserError(f"{name} {getattr(self, name)!r} is out of range: use {least} to 1024")


def device_of(asked: str) -> str:
    """The device to run on: the one asked for, or the fastest that is there."""
    import torch

    mps = torch.backends.mps.is_available()
    if asked == "auto":
        own = f"cuda:{processes.local()}" if processes.count() > 1 else "cuda"
        return own if torch.cuda.is_available() else "mps" if mps else "cpu"
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
        pipe = kind.from_pretrained(source.path, variant=source.variant, use_safetensors=True, **wanted, **extra)
        _check_whole(pipe, source)
        return pipe
    except UserError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(
            f"model {source.ref.name!r} at {source.path} cannot be loaded ({why(error)}): get its files again"
        ) from error


def _check_whole(pipe: Any, source: Source) -> None:
    """What a file lacks, the text encoders' loader fills with random numbers, and the others' leaves out."""
    from safetensors import safe_open

    if any(each.is_meta for each in weights(pipe)):
        raise ValueError("weights are missing")
    for part in ("text_encoder", "text_encoder_2"):
        there = {name.removeprefix("text_model.") for name in _names(pipe, part)}
        for path in source.files:
            if path.parent.name == part and path.suffix == ".safetensors":
                with safe_open(path, "pt") as file:
                    there -= {name.removeprefix("text_model.") for name in file.keys()}  # noqa: SIM118
        if there:
            raise ValueError(f"{part} lacks {min(there)}")


def _names(pipe: Any, part: str) -> list[str]:
    module = getattr(pipe, part, None)
    return list(module.state_dict()) if module is not None else []


def _vae(vae: Vae, source: Source, precision: str) -> Any:
    """A VAE of a single file has the configuration asked for, or else the one of the model that it is put in."""
    from diffusers import AutoencoderKL
    from safetensors import SafetensorError

    wanted: dict[str, Any] = {"dtype": dtype_of(precision)}
    try:
        if vae.path.is_file():
            config = vae.config or (str(source.path) if source.path.is_dir() else source.config)
            config = config or single_file.HUB_CONFIGURATIONS[source.family]
            return single_file.vae(vae.path, config, wanted)
        return AutoencoderKL.from_pretrained(vae.path, use_safetensors=True, **wanted)
    except UserError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise UserError(
            f"VAE {vae.ref.name!r} at {vae.path} cannot be loaded ({why(error)}): get its files again"
        ) from error


@contextmanager
def told_plainly(options: Options, size: str) -> Iterator[None]:
    """The two things that go wrong on other people's machines, in a sentence that says what to change."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"the GPU has too little memory for {size} in batches of {options.batch_size}: "
            "set models.batch_size to 1 or models.memory to vae, offload or sequential"
        ) from error
    except Exception as error:
        if options.compile == "off" or not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        raise UserError(
            f"the model cannot be compiled here ({why(error)}): install a C++ compiler or set models.compile to off"
        ) from error


def _quiet() -> None:
    """One calm line of progress is ours to print; the libraries' own bars and advice would scroll through it."""
    import diffusers
    import transformers

    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
