"""Loads single-file checkpoints, which do not name their architecture, and checks that a configuration fits them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.system import hub
from models.system.errors import UserError

if TYPE_CHECKING:
    import torch

# Configurations on the hub for files without their own: by family, since a VAE's file does not tell its family.
HUB_CONFIGURATIONS = {
    "sdxl": "stabilityai/stable-diffusion-xl-base-1.0",
    "refiner": "stabilityai/stable-diffusion-xl-refiner-1.0",
    "sd1": "stable-diffusion-v1-5/stable-diffusion-v1-5",
}
# The prefixes of each part's weights in a checkpoint. Other tensors (EMA, losses, positions) vary between files.
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


def load_pipeline(kind: Any, path: Path, config: str, arguments: dict[str, Any]) -> Any:
    """Load a checkpoint's pipeline; `config` is a folder or hub id with the configuration of its architecture."""
    pipe = _load_from_file(kind, path, config, arguments)
    first, second = getattr(pipe, "text_encoder", None), getattr(pipe, "text_encoder_2", None)
    parts = {"unet": pipe.unet, "text encoder": first and getattr(first, "text_model", first).encoder}
    parts |= {"text encoder 2": second and second.text_model.encoder}
    parts |= {} if "vae" in arguments else {"vae encoder": pipe.vae.encoder, "vae decoder": pipe.vae.decoder}
    _check_fit(path, config, parts)
    if any(weight.is_meta for weight in iterate_weights(pipe)):
        raise _misfit_error(path, config, "weights are missing")
    return pipe


def load_vae(path: Path, config: str, arguments: dict[str, Any]) -> Any:
    """Load a VAE from its own file, or from a whole checkpoint."""
    from diffusers import AutoencoderKL

    load_vae = _load_from_file(AutoencoderKL, path, config, arguments | {"subfolder": "vae"})
    _check_fit(path, config, {"vae encoder": load_vae.encoder, "vae decoder": load_vae.decoder})
    return load_vae


def _load_from_file(kind: Any, path: Path, config: str, arguments: dict[str, Any]) -> Any:
    from safetensors import safe_open

    with safe_open(path, "pt"):  # raises for a torn file, which must not look like a wrong configuration
        pass
    try:
        if not (config and Path(config).is_dir()) and not hub.is_reachable():
            arguments = arguments | {"local_files_only": True}
        return kind.from_single_file(str(path), config=config or None, **arguments)
    except Exception as error:  # the loader raises a different type for every kind of difference
        if isinstance(error, OSError) and not (config and Path(config).is_dir()):
            has_name = config and config not in HUB_CONFIGURATIONS.values()
            needs = f"needs the configuration {config!r}" if has_name else "is a single file without its configuration"
            raise UserError(
                f"{path} {needs}, and the hub that has it cannot be reached: "
                "set models.config to a local folder of the same architecture"
            ) from error
        missing = isinstance(
            error, (KeyError, NotImplementedError)
        )  # raised by torch for weights that were never loaded
        raise _misfit_error(path, config, "weights are missing" if missing else first_sentence(error)) from error


def _check_fit(path: Path, config: str, parts: Mapping[str, Any]) -> None:
    """Check the number of weights of each part: the loader ignores surplus ones, and missing ones of text encoders."""
    from math import prod

    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        sizes = {name: prod(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    for part, module in parts.items():
        if module is None:
            continue
        stored_count = sum(size for name, size in sizes.items() if name.startswith(CHECKPOINT_NAMES[part]))
        expected_count = sum(tensor.numel() for tensor in module.parameters())
        if stored_count != expected_count:
            raise _misfit_error(path, config, f"its {part} holds {stored_count} numbers, not {expected_count}")


def _misfit_error(path: Path, config: str, reason: str) -> UserError:
    at = config or "that the hub has for it"
    return UserError(
        f"{path} does not fit the configuration {at} ({reason}): set models.config to a folder of the same architecture"
    )


def iterate_weights(pipe: Any) -> "Iterator[torch.Tensor]":
    """Yield all parameters of all parts."""
    import torch

    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            yield from part.parameters()


def first_sentence(error: Exception) -> str:
    """Return the first sentence of a library's error message."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].partition(". If you want")[0].rstrip(".")[:200]
