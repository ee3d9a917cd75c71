"""The UNet, and the text encoders' last lessons beside it.

Exactly what `StableDiffusionXLPipeline` will feed it: both encoders' penultimate hidden states side by side, the second's
pooled and projected text, the six size numbers; zeros for an empty prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTokenizer

from models.toybox.recipe.captions import picture_caption, seeds, tokenized
from models.toybox.recipe.resumable_training import Course, Losses
from models.toybox.recipe.drawings import critter_at
from models.toybox.recipe.numbers import Recipe
from models.toybox.recipe.clip import new_encoders
from models.toybox.recipe.vae import SCALING, averaged, to_tensor
from models.toybox.recipe.text_encoders import ENCODERS, labels, read, reading_loss

SIZES = (128.0, 128.0, 0.0, 0.0, 128.0, 128.0)
"""Original height and width, crop top and left, target height and width: the pipeline's defaults at 128 × 128."""


def scheduler() -> EulerDiscreteScheduler:
    """SDXL's own."""
    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        timestep_spacing="leading",
        use_karras_sigmas=False,
        interpolation_type="linear",
        prediction_type="epsilon",
    )


def new_unet(recipe: Recipe) -> UNet2DConditionModel:
    embedded = 32
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=recipe.latent_channels,
        out_channels=recipe.latent_channels,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=recipe.unet_channels,
        layers_per_block=recipe.unet_layers,
        attention_head_dim=tuple(max(width // 32, 1) for width in recipe.unet_channels),
        cross_attention_dim=sum(recipe.encoder_widths),
        transformer_layers_per_block=1,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=embedded,
        projection_class_embeddings_input_dim=6 * embedded + recipe.clip_embedding,
        norm_num_groups=8 if recipe.unet_channels[0] < 32 else 16,
    )


@torch.no_grad()
def latents(vae: AutoencoderKL, shelf: np.ndarray, path: Path, device: torch.device) -> Tensor:
    """Every drawing's scaled latents, from the file if it is there. Training never runs the VAE again."""
    if path.exists():
        return torch.load(path, weights_only=True)
    vae.to(device)
    found = []
    for start in range(0, len(shelf), 64):
        with torch.autocast(device.type, dtype=torch.bfloat16):
            posterior = vae.encode(to_tensor(shelf[start : start + 64]).to(device)).latent_dist
        found.append((posterior.mean.float() * SCALING).half().cpu())
    fresh = path.with_suffix(".new")
    torch.save(torch.cat(found), fresh)
    fresh.replace(path)
    return torch.cat(found)


def condition(found: dict[str, dict[str, Tensor]], empty: Tensor) -> tuple[Tensor, Tensor]:
    """The two tensors the UNet is told the prompt by; zeros where the prompt is empty."""
    words = torch.cat([found[name]["all"] for name in ENCODERS], dim=-1)
    keep = ~empty
    return words * keep[:, None, None], found["text_encoder_2"]["pooled"] * keep[:, None]


def signal_to_noise(alphas: Tensor, times: Tensor) -> Tensor:
    return alphas[times] / (1 - alphas[times])


def noise_loss(
    unet: nn.Module,
    clean: Tensor,
    noise: Tensor,
    times: Tensor,
    alphas: Tensor,
    words: Tensor,
    pooled: Tensor,
    places: Tensor,
) -> Losses:
    """Error of the predicted noise, with min-SNR weights (2303.09556, gamma 5): easy steps do not drown the others.

    `places` says how much each place in the latents counts.
    """
    level = alphas[times][:, None, None, None]
    noisy = level.sqrt() * clean + (1 - level).sqrt() * noise
    sizes = torch.tensor([SIZES], device=clean.device).expand(len(clean), -1)
    found = unet(noisy, times, words, added_cond_kwargs={"text_embeds": pooled, "time_ids": sizes}).sample
    each = ((found.float() - noise).pow(2) * places).mean((1, 2, 3))
    ratio = signal_to_noise(alphas, times)
    return {"loss": (each * ratio.clamp(max=5) / ratio).mean(), "mse": each.mean().detach()}


def train_unet(
    recipe: Recipe,
    known: Tensor,
    places: Tensor,
    lessons: tuple[nn.ModuleDict, nn.ModuleDict],
    tokenizers: tuple[CLIPTokenizer, CLIPTokenizer],
    work: Path,
    device: torch.device,
    minutes: float | None = None,
) -> Iterator[dict[str, float]]:
    torch.manual_seed(recipe.seed + 2)
    encoders, readers = lessons
    modules = nn.ModuleDict({"unet": new_unet(recipe), **encoders, **readers}).train()
    course = Course(modules, recipe.unet, work / "unet.pt", recipe.seed + 2, device, slow=ENCODERS, minutes=minutes)
    alphas = scheduler().alphas_cumprod.to(device)
    batch = recipe.unet.batch

    def loss_of(generator: torch.Generator, _: float) -> Losses:
        which = torch.randint(len(known), (batch,), generator=generator).tolist()
        critters = [critter_at(recipe.seed, i) for i in which]
        texts = [
            picture_caption(critter, recipe, np.random.default_rng(seed))
            for critter, seed in zip(critters, seeds(generator, batch), strict=True)
        ]
        empty = torch.tensor([not text for text in texts], device=device)
        ids = (tokenized(tokenizer, texts).to(device) for tokenizer in tokenizers)
        found = {name: read(modules, name, each) for name, each in zip(ENCODERS, ids, strict=True)}
        words, pooled = condition(found, empty)
        clean = known[which].float().to(device)
        noise = torch.randn(clean.shape, generator=generator).to(device)
        # One random time in each of `batch` equal stretches: the loss of a step is then less of a lottery.
        times = ((torch.arange(batch) + torch.rand(batch, generator=generator)) * 1000 / batch).long().to(device)
        losses = noise_loss(modules["unet"], clean, noise, times, alphas, words, pooled, places[which].to(device))
        reading = reading_loss(modules, found, labels(critters))
        return losses | {"loss": losses["loss"] + recipe.reading * reading, "reading": reading.detach()}

    yield from course.run(loss_of)


def load_unet_stage(
    recipe: Recipe, tokenizers: tuple[CLIPTokenizer, CLIPTokenizer], work: Path
) -> tuple[UNet2DConditionModel, nn.ModuleDict]:
    """The averaged UNet and text encoders as far as they have been trained."""
    unet, encoders = new_unet(recipe), new_encoders(recipe, tokenizers)
    for name, module in {"unet": unet, **encoders}.items():
        module.load_state_dict(averaged(work / "unet.pt", f"{name}."))
        module.eval()
    return unet, encoders
