"""Checkpoints of one file, whose architecture is not in them: loaded with a configuration, and checked to fit it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.system import hub
from models.system.errors import UserError

if TYPE_CHECKING:
    import torch

# What the hub keeps for files that come without: by family, since a VAE alone does not tell whose it is.
HUB_CONFIGURATIONS = {
    "sdxl": "stabilityai/stable-diffusion-xl-base-1.0",
    "refiner": "stabilityai/stable-diffusion-xl-refiner-1.0",
    "sd1": "stable-diffusion-v1-5/stable-diffusion-v1-5",
}
# Where a checkpoint keeps the weights of which part. Around them stand tensors that come and go: EMA, losses, positions.
CHECKPOINT_NAMES = {
    "unet": ("model.diffusion_model.",),
    "vae encoder": ("first_stage_model.encoder.", "vae.encoder.", "encoder."),
    "vae decoder": ("first_stage_model.decoder.", "vae.decoder.", "decoder."),
    "text encoder": (
        "cond_stage_model.transformer.text_model.encoder.",
        "conditioner.embedders.0.transformer.text_model.encoder.",
    ),
    "text encoder 2": ("conditioner.embedders.0.model.transformer.", "conditioner.embedders.1.model.transformer."),
}


def pipeline(kind: Any, path: Path, config: str, wanted: dict[str, Any]) -> Any:
    """The pipeline that a checkpoint holds; `config` is a folder or hub id with the configuration of its architecture."""
    pipe = _load(kind, path, config, wanted)
    first, second = getattr(pipe, "text_encoder", None), getattr(pipe, "text_encoder_2", None)
    parts = {"unet": pipe.unet, "text encoder": first and getattr(first, "text_model", first).encoder}
    parts |= {"text encoder 2": second and second.text_model.encoder}
    parts |= {} if "vae" in wanted else {"vae encoder": pipe.vae.encoder, "vae decoder": pipe.vae.decoder}
    _check_fit(path, config, parts)
    if any(each.is_meta for each in weights(pipe)):
        raise _misfit(path, config, "weights are missing")
    return pipe


def vae(path: Path, config: str, wanted: dict[str, Any]) -> Any:
    """A VAE in a file of its own, or the one of a whole checkpoint."""
    from diffusers import AutoencoderKL

    made = _load(AutoencoderKL, path, config, wanted | {"subfolder": "vae"})
    _check_fit(path, config, {"vae encoder": made.encoder, "vae decoder": made.decoder})
    return made


def _load(kind: Any, path: Path, config: str, wanted: dict[str, Any]) -> Any:
    from safetensors import safe_open

    with safe_open(path, "pt"):  # a torn file is told apart from a wrong configuration
        pass
    try:
        if not (config and Path(config).is_dir()) and not hub.reachable():
            wanted = wanted | {"local_files_only": True}
        return kind.from_single_file(str(path), config=config or None, **wanted)
    except Exception as error:  # the loader raises a different type for every kind of difference
        if isinstance(error, OSError) and not (config and Path(config).is_dir()):
            named = config and config not in HUB_CONFIGURATIONS.values()
            needs = f"needs the configuration {config!r}" if named else "is a single file without its configuration"
            raise UserError(
                f"{path} {needs}, and the hub that has it cannot be reached: "
                "set models.config to a local folder of the same architecture"
            ) from error
        missing = isinstance(error, (KeyError, NotImplementedError))  # torch's word for what was never filled in
        raise _misfit(path, config, "weights are missing" if missing else why(error)) from error


def _check_fit(path: Path, config: str, parts: Mapping[str, Any]) -> None:
    """The loader leaves what a file has too much, and of text encoders also what it has too little, without a word."""
    from math import prod

    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        sizes = {name: prod(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    for part, module in parts.items():
        if module is None:
            continue
        held = sum(size for name, size in sizes.items() if name.startswith(CHECKPOINT_NAMES[part]))
        asked = sum(tensor.numel() for tensor in module.parameters())
        if held != asked:
            raise _misfit(path, config, f"its {part} holds {held} numbers, not {asked}")


def _misfit(path: Path, config: str, why: str) -> UserError:
    at = config or "that the hub has for it"
    return UserError(
        f"{path} does not fit the configuration {at} ({why}): set models.config to a folder of the same architecture"
    )


def weights(pipe: Any) -> "Iterator[torch.Tensor]":
    """All parameters of all parts."""
    import torch

    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            yield from part.parameters()


def why(error: Exception) -> str:
    """The first sentence of what a library says."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].partition(". If you want")[0].rstrip(".")[:200]
