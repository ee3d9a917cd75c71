"""The environment of a picture (all that its pixels depend on besides the shot) and the hash of its pixels."""

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from PIL import Image

# The packages whose arithmetic affects the pixels.
PACKAGES = ("torch", "diffusers", "transformers", "peft", "numpy", "pillow")


def pixel_hash(image: Image.Image) -> str:
    """Hash the pixels alone: files with different bytes can have equal pixels."""
    rgb = image.convert("RGB")
    digest = hashlib.sha256(f"RGB {rgb.width}x{rgb.height}\n".encode())
    digest.update(rgb.tobytes())
    return digest.hexdigest()


def describe_environment(device: str, dtype: str, batch_size: int, **options: str) -> dict[str, Any]:
    """Describe everything in this process and machine that the pixels of a shot depend on.

    Two pictures of one shot from equal environments are equal to the last bit, so each picture's provenance records it.
    """
    import torch

    flags = {
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "onednn": torch.backends.mkldnn.enabled and torch.backends.mkldnn.is_available(),
    }
    if device.startswith("cuda"):
        flags |= {"cudnn": torch.backends.cudnn.version(), "cudnn_deterministic": torch.backends.cudnn.deterministic}
        flags |= {"cudnn_tf32": torch.backends.cudnn.allow_tf32, "cuda": torch.version.cuda}
    return {
        "versions": {"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "device": device,
        "device_name": device_name(device),
        "dtype": dtype,
        "threads": torch.get_num_threads(),
        "batch_size": batch_size,
        **options,
        "flags": flags,
    }


def environment_fingerprint(environment: Mapping[str, Any]) -> str:
    """Return a short name for an environment; equal environments have equal names."""
    return hashlib.sha256(json.dumps(environment, sort_keys=True).encode()).hexdigest()[:12]


def list_differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List the differences of two environments, one line each, such as `versions.torch: 2.13.0 -> 2.15.0`."""
    before, after = _flatten(then), _flatten(now)
    keys = [key for key in before | after if before.get(key) != after.get(key)]
    return [f"{key}: {before.get(key, 'not recorded')} -> {after.get(key, 'not recorded')}" for key in keys]


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def device_name(device: str) -> str:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return _processor_name()


@lru_cache
def _processor_name() -> str:
    """Return the processor's name and the instruction set that torch uses on it, since kernels differ."""
    import torch

    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if os.access(cpuinfo, os.R_OK):
        lines = (line.partition(":") for line in cpuinfo.read_text(errors="replace").splitlines())
        name = next((value.strip() for key, _, value in lines if key.strip() == "model name"), name)
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"
