"""Loads a located model as a diffusers pipeline: device, precision, VAE, memory mode and compilation."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from models.sdxl import single_file
from models.sdxl.locate import ModelSource, VaeSource
from models.sdxl.single_file import first_sentence, iterate_weights
from models.system import processes
from models.system.errors import UserError

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "fp32", "fp16", "bf16"]
Memory = Literal["none", "vae", "offload", "sequential"]
Compile = Literal["off", "regional"]


@dataclass(frozen=True)
class Options:
    """How a model is run. No option is part of a shot; the environment records those that affect the pixels."""

    device: str = "auto"
    precision: Precision = "auto"
    memory: Memory = "none"
    compile: Compile = "off"
    batch_size: int = 1
    threads: int = 0  # CPU threads; 0 keeps torch's default
    vae: VaeSource | None = None  # replaces the model's own

    def __post_init__(self) -> None:
        for name, kind in (("precision", Precision), ("memory", Memory), ("compile", Compile)):
            if getattr(self, name) not in get_args(kind):
                raise UserError(f"{name} {getattr(self, name)!r} is unknown: use one of {', '.join(get_args(kind))}")
        for name, least in (("batch_size", 1), ("threads", 0)):
            if not isinstance(getattr(self, name), int) or not least <= getattr(self, name) <= 1024:
                raise UserError(f"{name} {getattr(self, name)!r} is out of range: use {least} to 1024")


def resolve_device(device: str) -> str:
    """Return the device to run on: the requested one, or for `auto` the fastest of this machine."""
    import torch

    mps = torch.backends.mps.is_available()
    if device == "auto":
        cuda_device = f"cuda:{processes.local_rank()}" if processes.process_count() > 1 else "cuda"
        return cuda_device if torch.cuda.is_available() else "mps" if mps else "cpu"
    kind = device.partition(":")[0]
    if kind not in ("cpu", "cuda", "mps"):
        raise UserError(f"device {device!r} is unknown: use auto, cpu, cuda, cuda:1 … or mps")
    if (kind == "cuda" and not torch.cuda.is_available()) or (kind == "mps" and not mps):
        raise UserError(f"device {device!r} is not there: torch sees no such device on this machine; use auto or cpu")
    if kind == "cuda" and ":" in device and int(device.partition(":")[2]) >= torch.cuda.device_count():
        raise UserError(f"device {device!r} is not there: this machine has {torch.cuda.device_count()} CUDA device(s)")
    return device


def resolve_precision(precision: Precision, device: str) -> str:
    """Resolve `auto`: bf16 on GPUs that support it, fp16 on older ones and on Apple's, fp32 on a CPU."""
    import torch

    if precision != "auto":
        return precision
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    return "fp16" if device == "mps" else "fp32"


def torch_dtype(precision: str) -> "torch.dtype":
    import torch

    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]


def load_pipeline(source: ModelSource, options: Options, device: str, precision: str) -> Any:
    """Load the text-to-image pipeline, move it to the device and compile it as the options say."""
    if options.memory in ("offload", "sequential") and device == "cpu":
        raise UserError(
            f"memory mode {options.memory!r} moves weights off a GPU, and this runs on the CPU: use none or vae"
        )
    pipe = _read_pipeline(source, options, precision)
    pipe.set_progress_bar_config(disable=True)  # the caller shows one progress bar for all pictures
    move_to_device(pipe, options.memory, device)
    if options.compile == "regional":
        pipe.unet.compile_repeated_blocks(fullgraph=True)
    return pipe


def move_to_device(pipe: Any, memory: Memory, device: str) -> None:
    """Move the pipeline to the device, or install hooks that move each part when it is needed."""
    if memory == "offload":
        pipe.enable_model_cpu_offload(device=device)
    elif memory == "sequential":
        pipe.enable_sequential_cpu_offload(device=device)
    else:
        pipe.to(device)
        if device == "cpu":
            _align_weights(pipe)
    if memory != "none":
        pipe.vae.enable_slicing()
        pipe.vae.enable_tiling()


def new_image_to_image(pipe: Any) -> Any:
    """Return an image-to-image pipeline that shares all parts of this one, so nothing is loaded or cast again."""
    from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionXLImg2ImgPipeline

    if "text_encoder_2" in pipe.components:
        zeros = pipe.config.force_zeros_for_empty_prompt
        image_pipe = StableDiffusionXLImg2ImgPipeline(
            **pipe.components, force_zeros_for_empty_prompt=zeros, add_watermarker=False
        )
    else:
        image_pipe = StableDiffusionImg2ImgPipeline(**pipe.components, requires_safety_checker=False)
    image_pipe.set_progress_bar_config(disable=True)
    return image_pipe


def _align_weights(pipe: Any) -> None:
    """Copy weights that are mapped from a file to aligned memory.

    The position in the file decides how far they are from a multiple of 64 bytes, which decides how a CPU splits some
    sums, and so their last bits: without this, the same weights in another file would make different pixels.
    """
    for tensor in iterate_weights(pipe):
        if tensor.data_ptr() % 64:
            tensor.data = tensor.data.clone()


def _read_pipeline(source: ModelSource, options: Options, precision: str) -> Any:
    import diffusers
    from safetensors import SafetensorError

    _silence_libraries()
    arguments: dict[str, Any] = {"dtype": torch_dtype(precision)}
    if options.vae is not None:
        arguments["vae"] = _read_vae(options.vae, source, precision)
    if source.family == "sd1":
        # The gates and a person decide what may be published, not a filter that blackens pictures.
        kind, extra = diffusers.StableDiffusionPipeline, {"safety_checker": None, "requires_safety_checker": False}
    else:
        # diffusers would add a watermark only on machines that have its package, which would change the pixels there.
        kind, extra = diffusers.StableDiffusionXLPipeline, {"add_watermarker": False}
        if source.family == "refiner":
            kind = diffusers.StableDiffusionXLImg2ImgPipeline
    try:
        if source.path.is_file():
            return single_file.load_pipeline(kind, source.path, source.config, arguments | extra)
        pipe = kind.from_pretrained(source.path, variant=source.variant, use_safetensors=True, **arguments, **extra)
        _check_whole(pipe, source)
        return pipe
    except UserError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(
            f"model {source.ref.name!r} at {source.path} cannot be loaded ({first_sentence(error)}): get its files again"
        ) from error


def _check_whole(pipe: Any, source: ModelSource) -> None:
    """Check that no weights are missing; a loader may leave them out, or fill in random numbers (text encoders)."""
    from safetensors import safe_open

    if any(weight.is_meta for weight in iterate_weights(pipe)):
        raise ValueError("weights are missing")
    for part in ("text_encoder", "text_encoder_2"):
        missing = {name.removeprefix("text_model.") for name in _parameter_names(pipe, part)}
        for path in source.files:
            if path.parent.name == part and path.suffix == ".safetensors":
                with safe_open(path, "pt") as file:
                    missing -= {name.removeprefix("text_model.") for name in file.keys()}  # noqa: SIM118
        if missing:
            raise ValueError(f"{part} lacks {min(missing)}")


def _parameter_names(pipe: Any, part: str) -> list[str]:
    module = getattr(pipe, part, None)
    return list(module.state_dict()) if module is not None else []


def _read_vae(vae: VaeSource, source: ModelSource, precision: str) -> Any:
    """Load the VAE; a single file takes its own configuration if it has one, or else the model's."""
    from diffusers import AutoencoderKL
    from safetensors import SafetensorError

    arguments: dict[str, Any] = {"dtype": torch_dtype(precision)}
    try:
        if vae.path.is_file():
            config = vae.config or (str(source.path) if source.path.is_dir() else source.config)
            config = config or single_file.HUB_CONFIGURATIONS[source.family]
            return single_file.load_vae(vae.path, config, arguments)
        return AutoencoderKL.from_pretrained(vae.path, use_safetensors=True, **arguments)
    except UserError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise UserError(
            f"VAE {vae.ref.name!r} at {vae.path} cannot be loaded ({first_sentence(error)}): get its files again"
        ) from error


@contextmanager
def explain_torch_errors(options: Options, size: str) -> Iterator[None]:
    """Turn out-of-memory and compiler errors into a `UserError` that says what to change."""
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
            f"the model cannot be compiled here ({first_sentence(error)}): install a C++ compiler or set models.compile to off"
        ) from error


def _silence_libraries() -> None:
    """Turn off the libraries' progress bars and advice, which would disturb our own progress bar."""
    import diffusers
    import transformers

    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
