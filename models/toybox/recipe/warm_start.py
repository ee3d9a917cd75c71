"""Shipped weights as the start of further training, when the checkpoints they came from are gone.

Half precision is precise enough to start from; only the optimiser has to find its step again.
"""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from models.toybox.recipe.resumable_training import save_atomically

EARLIER = "earlier.json"
PARTS = {
    "vae": {"vae.": "vae/diffusion_pytorch_model.safetensors"},
    "words": {
        "text_encoder.": "text_encoder/model.safetensors",
        "text_encoder_2.": "text_encoder_2/model.safetensors",
    },
    "unet": {"unet.": "unet/diffusion_pytorch_model.safetensors"},
    "scorer": {"eye.": "clip/open_clip_model.safetensors:visual."},
    "identity": {"eye.": "identity/open_clip_model.safetensors:visual."},
    "oracle": {"oracle.": "oracle.safetensors"},
}
"""For each stage, its modules and the shipped file (and the part of it) that they are in."""


def shipped(folder: Path, stage: str) -> dict[str, Tensor]:
    """A stage's weights under the names of its checkpoint."""
    found = {}
    for prefix, where in PARTS[stage].items():
        name, _, inside = where.partition(":")
        for key, value in load_file(folder / name).items():
            if key.startswith(inside):
                found[prefix + key.removeprefix(inside)] = value.float() if value.is_floating_point() else value
    return found


def take_up(folder: Path, work: Path) -> list[str]:
    """Write the checkpoints that are missing from the shipped weights; says which."""
    work.mkdir(parents=True, exist_ok=True)
    trained = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))["trained"]
    taken = []
    for stage in PARTS:
        if (work / f"{stage}.pt").exists():
            continue
        weights = shipped(folder, stage)
        steps = trained.get(stage, {}).get("steps", 0)
        state = {"modules": weights, "average": weights, "step": steps, "spent": 0.0, "history": []}
        save_atomically(state, work / f"{stage}.pt")
        taken.append(stage)
    if taken and not (work / EARLIER).exists():
        (work / EARLIER).write_text(json.dumps(trained, indent=2) + "\n", encoding="utf-8")
    return taken
