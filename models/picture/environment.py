"""What decides the bits of a picture besides its shot, and what those bits are."""

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

# The packages whose arithmetic ends up in the pixels.
PACKAGES = ("torch", "diffusers", "transformers", "peft", "numpy", "pillow")


def pixel_hash(image: Image.Image) -> str:
    """The hash of the pixels alone: equal pixels can sit in different PNG bytes."""
    rgb = image.convert("RGB")
    digest = hashlib.sha256(f"RGB {rgb.width}x{rgb.height}\n".encode())
    digest.update(rgb.tobytes())
    return digest.hexdigest()


def environment(device: str, dtype: str, batch_size: int, **options: str) -> dict[str, Any]:
    """Everything about this process and machine that the same shot's pixels depend on.

    Two pictures of one shot made in equal environments are equal to the last bit; so this is kept with every picture.
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


def fingerprint(environment: Mapping[str, Any]) -> str:
    """A short name for an environment: equal environments, equal names."""
    return hashlib.sha256(json.dumps(environment, sort_keys=True).encode()).hexdigest()[:12]


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What parts two environments, one line each, such as `versions.torch: 2.13.0 -> 2.15.0`."""
    before, after = _flat(then), _flat(now)
    keys = [key for key in before | after if before.get(key) != after.get(key)]
    return [f"{key}: {before.get(key, 'not recorded')} -> {after.get(key, 'not recorded')}" for key in keys]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def device_name(device: str) -> str:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return _processor()


@lru_cache
def _processor() -> str:
    """The processor, with the instruction set torch picked for it: kernels differ between them."""
    import torch

    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if os.access(cpuinfo, os.R_OK):
        lines = (line.partition(":") for line in cpuinfo.read_text(errors="replace").splitlines())
        name = next((value.strip() for key, _, value in lines if key.strip() == "model name"), name)
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"
