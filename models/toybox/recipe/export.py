"""From checkpoints to the folder that ships: an ordinary diffusers pipeline, an open_clip model, and their hashes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline
from torch import nn
from transformers import CLIPTokenizer

from models.toybox import write_hashes
from models.toybox.recipe.clip import write_clip
from models.toybox.recipe.identity import load_identity
from models.toybox.recipe.numbers import Recipe
from models.toybox.recipe.scorer import load_scorer
from models.toybox.recipe.unet import load_unet_stage, scheduler


def pipeline(
    recipe: Recipe, vae: AutoencoderKL, tokenizers: tuple[CLIPTokenizer, CLIPTokenizer], work: Path
) -> StableDiffusionXLPipeline:
    """Put the trained parts together as the pipeline that everybody loads."""
    unet, encoders = load_unet_stage(recipe, tokenizers, work)
    return StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=encoders["text_encoder"],
        text_encoder_2=encoders["text_encoder_2"],
        tokenizer=tokenizers[0],
        tokenizer_2=tokenizers[1],
        unet=unet,
        scheduler=scheduler(),
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )


def made_with(recipe: Recipe, work: Path) -> dict:
    """State the recipe, and how long each part really trained: with a limit of minutes that is not what the recipe says."""
    trained = {}
    for stage in ("vae", "polish", "words", "scorer", "unet", "identity", "oracle", "quick"):
        if (work / f"{stage}.pt").exists():
            state = torch.load(work / f"{stage}.pt", map_location="cpu", weights_only=True, mmap=True)
            trained[stage] = {"steps": state["step"], "minutes": round(state["spent"] / 60, 1)}
    return {"recipe": dataclasses.asdict(recipe), "trained": trained}


def sign(recipe: Recipe, work: Path, out: Path) -> None:
    """State how it was made, and what every file must be."""
    (out / "recipe.json").write_text(json.dumps(made_with(recipe, work), indent=2) + "\n", encoding="utf-8")
    write_hashes(out)


def export(
    recipe: Recipe, vae: AutoencoderKL, tokenizers: tuple[CLIPTokenizer, CLIPTokenizer], work: Path, out: Path
) -> str:
    """Write everything that draws and scores in half precision; say what it weighs."""
    pipeline(recipe, vae, tokenizers, work).to(torch.float16).save_pretrained(out)
    _clip(load_scorer(recipe, tokenizers, work), recipe, tokenizers, out / "clip")
    sign(recipe, work, out)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return f"{out}: {size / 2**20:.1f} MiB"


def export_identity(recipe: Recipe, tokenizers: tuple[CLIPTokenizer, CLIPTokenizer], work: Path, out: Path) -> None:
    """The identity scorer beside the rest: an open_clip folder too."""
    clip = load_identity(load_scorer(recipe, tokenizers, work), work)
    _clip(clip, recipe, tokenizers, out / "identity")
    sign(recipe, work, out)


def _clip(clip: nn.Module, recipe: Recipe, tokenizers: tuple[CLIPTokenizer, CLIPTokenizer], folder: Path) -> None:
    write_clip(clip, recipe, len(tokenizers[0]), folder)
    tokenizers[1].save_pretrained(folder)
