"""What toybox can do, measured: `python -m bench.toybox`. Writes JSON, a contact sheet and the figures of the model card."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import torch

from bench import toybox_clip, toybox_pictures
from bench.oracle import accuracy, load_oracle, soft
from bench.toybox_pictures import Studio
from models import toybox
from models.toybox import world
from models.toybox.drawing import draw
from models.toybox.recipe.model_card import write_card
from models.toybox.recipe.pixels import to_bytes, to_tensor
from models.toybox.recipe.vae import psnr

SEED = 1_000_003
"""Far from the seeds that the drawings to learn from were made with."""


def held_out(count: int) -> tuple[torch.Tensor, list[world.Critter]]:
    """Drawings that nothing was trained on."""
    rng = np.random.default_rng(SEED)
    critters = [world.random_critter(rng) for _ in range(count)]
    return to_tensor(np.stack([np.asarray(draw(critter)) for critter in critters])), critters


def measure_vae(studio: Studio) -> dict:
    """Reconstruction, and whether a drawing is still what it was after it."""
    pictures, critters = held_out(1024)
    vae = studio.pipeline.vae
    with torch.no_grad():
        seen = [vae.decode(vae.encode(batch).latent_dist.mean).sample for batch in pictures.split(32)]
    again = to_tensor(to_bytes(torch.cat(seen)))
    plain = [
        i for i, critter in enumerate(critters) if critter.accessory != "glasses"
    ]  # glasses cover most of a marking
    bare = [critters[i] for i in plain]
    return {
        "psnr": psnr(vae, pictures),
        "oracle_on_drawings": accuracy(studio.oracle, pictures, critters),
        "oracle_on_softened": accuracy(studio.oracle, soft(pictures), critters),
        "oracle_after_vae": accuracy(studio.oracle, again, critters),
        "oracle_on_drawings_without_glasses": accuracy(studio.oracle, pictures[plain], bare),
        "oracle_after_vae_without_glasses": accuracy(studio.oracle, again[plain], bare),
    }


MEASURES = {
    "vae": measure_vae,
    "prompts": toybox_pictures.prompts_obeyed,
    "open_traits": toybox_pictures.open_traits,
    "guidance": toybox_pictures.guidance,
    "negative": toybox_pictures.negative,
    "strength": toybox_pictures.strength,
    "schedulers": toybox_pictures.schedulers,
    "clip": lambda studio: toybox_clip.measure(),
    "sheet": toybox_pictures.contact_sheet,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.toybox", description=__doc__)
    parser.add_argument("measures", nargs="*", help=f"some of {', '.join(MEASURES)} (default: all)")
    parser.add_argument("--pictures", type=int, default=500, help="how many prompts to try (others in proportion)")
    parser.add_argument("--out", type=Path, default=Path("bench/results/toybox"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    studio = Studio(toybox.folder(), load_oracle(), options.pictures, options.out)
    path = options.out / "figures.json"
    figures = json.loads(path.read_text()) if path.exists() else {}
    for name in options.measures or MEASURES:
        figures[name] = MEASURES[name](studio)
        path.write_text(json.dumps(figures, indent=2) + "\n")
        print(name, json.dumps(figures[name]), flush=True)
    write_card(toybox.folder() / "CARD.md", figures)


if __name__ == "__main__":
    main()
