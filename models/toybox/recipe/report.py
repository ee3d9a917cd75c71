"""The page that shows how a build went: loss curves, reconstructions, samples. One file, pictures inside."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from models.toybox.drawing import SIDE
from models.toybox.recipe.pixels import to_bytes, to_tensor

PROMPTS = (
    "a portrait of a teal fox in the forest",
    "a close-up of a red frog wearing a blue crown on the beach",
    "a full body picture of a pink rabbit in a meadow, wearing yellow glasses",
    "a portrait of a grey owl at night",
    "a full body picture of a brown bear in the snow wearing a red scarf",
    "a portrait of an orange cat with a white stripe on the face in the city",
    "a close-up of a purple bear with green eyes under the sea",
    "a portrait of a green fox wearing a black hat in the desert",
)


def curve(values: list[float], width: int = 640, height: int = 120) -> str:
    """A loss curve as SVG: the mean of 200 equal stretches, on a logarithmic scale."""
    parts = [float(np.mean(part)) for part in np.array_split(np.array(values), min(200, len(values)))]
    levels = np.log(np.maximum(parts, 1e-6))
    span = max(float(levels.max() - levels.min()), 1e-6)
    xs = np.linspace(4, width - 4, len(parts))
    points = " ".join(
        f"{x:.1f},{4 + (height - 8) * (levels.max() - y) / span:.1f}" for x, y in zip(xs, levels, strict=True)
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="loss curve">'
        f'<polyline points="{points}" fill="none" stroke="#16787a" stroke-width="2"/></svg>'
        f"<p>{len(values)} steps, from {parts[0]:.4f} to {parts[-1]:.4f}</p>"
    )


def strip(pictures: np.ndarray, alt: str) -> str:
    """Pictures in a row."""
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(list(pictures), axis=1)).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(alt)}" style="max-width:100%" src="data:image/png;base64,{data}">'


def samples(out: Path, held_out: np.ndarray) -> list[str]:
    """Reconstructions and pictures from prompts, with the weights as they ship."""
    from diffusers import StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline.from_pretrained(out, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    with torch.no_grad():
        latents = pipeline.vae.encode(to_tensor(held_out)).latent_dist.mean
        again = to_bytes(pipeline.vae.decode(latents).sample)
    generators = [torch.Generator().manual_seed(i) for i in range(len(PROMPTS))]
    made = pipeline(
        list(PROMPTS), num_inference_steps=25, guidance_scale=4.0, generator=generators, height=SIDE, width=SIDE
    ).images
    rows = [
        "<h2>Drawings, and what the VAE gives back</h2>",
        strip(held_out, "drawings"),
        strip(again, "reconstructions"),
    ]
    rows += ["<h2>Pictures from prompts</h2>", strip(np.stack([np.asarray(p) for p in made]), "; ".join(PROMPTS))]
    return [*rows, "<ol>", *(f"<li>{html.escape(prompt)}</li>" for prompt in PROMPTS), "</ol>"]


def write_report(out: Path, work: Path, held_out: np.ndarray) -> Path:
    """The page, in the working folder."""
    rows = ["<!doctype html><html lang=en><meta charset=utf-8><title>Toybox</title>"]
    rows += ['<body style="font:16px/1.5 system-ui;max-width:1100px;margin:2rem auto"><h1>How toybox was made</h1>']
    for stage in ("vae", "words", "unet", "scorer", "polish", "oracle", "identity", "quick"):
        if (work / f"{stage}.pt").exists():
            history = torch.load(work / f"{stage}.pt", map_location="cpu", weights_only=True)["history"]
            rows += [f"<h2>Loss: {stage}</h2>", curve([row["loss"] for row in history])]
    page = work / "report.html"
    page.write_text("\n".join([*rows, *samples(out, held_out)]) + "\n", encoding="utf-8")
    return page
