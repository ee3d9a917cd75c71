"""A training saved as bytes: the vectors, the optimizer's state, and what they belong to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from models.inversion.config import COMPUTE_SETTINGS, Config, config_as_json
from models.system.errors import UserError

if TYPE_CHECKING:
    from models.sdxl.renderer import Renderer

FORMAT = "restage textual inversion 1"
Fingerprint = dict[str, Any]


def training_fingerprint(model: Renderer, config: Config, pictures: Sequence[tuple[str, Sequence[str]]]) -> Fingerprint:
    """Describe what a training depends on: model, pictures (hash and captions, in order) and settings."""
    vae = model.options.vae
    return {
        "model": model.source.ref.hash,
        "vae": vae.ref.hash if vae else "",
        "config": config_as_json(config),
        "pictures": [[_short_hash(pixels), _short_hash(json.dumps(list(captions)))] for pixels, captions in pictures],
    }


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after some number of steps."""

    step: int
    fingerprint: Fingerprint
    vectors: list[torch.Tensor]  # [n, width] for each encoder
    memory: list[dict[str, torch.Tensor]]  # what the optimizer keeps for each of them
    numbers: dict[str, Any]  # its plain numbers: "states", for each of them, and "group"


def pack_checkpoint(saved: Checkpoint) -> bytes:
    """Write a checkpoint as safetensors, with everything else in its header."""
    from safetensors.torch import save

    tensors = {f"vectors.{place}": table for place, table in enumerate(saved.vectors)}
    for place, state in enumerate(saved.memory):
        tensors |= {f"optimizer.{place}.{name}": tensor for name, tensor in state.items()}
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    about = {
        "format": FORMAT,
        "token": saved.fingerprint["config"]["token"],
        "step": saved.step,
        "training": saved.fingerprint,
        "numbers": saved.numbers,
    }
    # One entry: several would stand in another order each time, and equal states shall have equal bytes.
    return save(whole, metadata={"restage": json.dumps(about, separators=(",", ":"))})


def unpack_checkpoint(content: bytes) -> Checkpoint:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(content)
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length]).get("__metadata__", {})
        about = json.loads(header.get("restage", "{}"))
    except (SafetensorError, ValueError):
        raise UserError("this checkpoint is torn or not one: take the one before, or start the training anew") from None
    if about.get("format") != FORMAT:
        raise UserError("this is not a checkpoint of a training of this version: start the training anew")
    count = sum(name.startswith("vectors.") for name in tensors)
    memory: list[dict[str, torch.Tensor]] = [{} for _ in range(count)]
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, place, key = name.split(".", 2)
            memory[int(place)][key] = tensor
    vectors = [tensors[f"vectors.{place}"] for place in range(count)]
    return Checkpoint(about["step"], about["training"], vectors, memory, about["numbers"])


def check_resumable(saved: Checkpoint, now: Fingerprint) -> None:
    """Refuse to resume with another model, other pictures or other settings."""
    if differences := list(_list_differences(saved.fingerprint, now)):
        raise UserError(
            f"this checkpoint belongs to another training ({'; '.join(differences)}): put that back, or start anew"
        )
    if saved.step > now["config"]["steps"]:
        raise UserError(
            f"this checkpoint is at step {saved.step}, past the {now['config']['steps']} asked for: ask for more"
        )


def _list_differences(then: Fingerprint, now: Fingerprint) -> list[str]:
    differences = [f"another {name}" for name in ("model", "vae") if then[name] != now[name]]
    before, after = then["pictures"], now["pictures"]
    if len(before) != len(after):
        differences.append(f"{len(before)} pictures, now {len(after)}")
    for number, (old, new) in enumerate(zip(before, after, strict=False), 1):
        differences += [
            f"another {label} {number}"
            for label, a, b in zip(("picture", "caption of picture"), old, new, strict=True)
            if a != b
        ]
    return differences + _changed_settings(then["config"], now["config"])


def _changed_settings(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    may = (*COMPUTE_SETTINGS, "steps")  # a training may become longer, and be computed another way
    names = [name for name in now if name not in may and then.get(name) != now[name]]
    return [f"{name} was {then.get(name)}, now {now[name]}" for name in names]
