"""The UNet, and the text encoders' last lessons beside it.

Exactly what `StableDiffusionXLPipeline` will feed it: both encoders' penultimate hidden states side by side, the second's
pooled and projected text, the six size numbers; zeros for an empty prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import EulerDiscreteScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTokenizer

from models.toybox.drawing import SIDE
from models.toybox.recipe.captions import picture_caption, seeds, tokenized
from models.toybox.recipe.clip import new_encoders
from models.toybox.recipe.latents import Bucket, choose_bucket
from models.toybox.recipe.numbers import Recipe
from models.toybox.recipe.resumable_training import Losses, Training, averaged
from models.toybox.recipe.small_details import detail_weights
from models.toybox.recipe.text_encoders import ENCODERS, labels, read, reading_loss

Tokenizers = tuple[CLIPTokenizer, CLIPTokenizer]


def size_numbers(width: int = SIDE, height: int = SIDE) -> tuple[float, ...]:
    """List original height and width, crop top and left, target height and width, as the pipeline does by default."""
    return (float(height), float(width), 0.0, 0.0, float(height), float(width))


SIZES = size_numbers()


def scheduler() -> EulerDiscreteScheduler:
    """Make SDXL's own."""
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
    """Make the untrained UNet."""
    embedded = 32
    return UNet2DConditionModel(
        sample_size=SIDE // 16,
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


def condition(texts: dict[str, dict[str, Tensor]], empty: Tensor) -> tuple[Tensor, Tensor]:
    """Make the two tensors that tell the UNet the prompt; zeros where the prompt is empty."""
    words = torch.cat([texts[name]["all"] for name in ENCODERS], dim=-1)
    keep = ~empty
    return words * keep[:, None, None], texts["text_encoder_2"]["pooled"] * keep[:, None]


def signal_to_noise(alphas: Tensor, times: Tensor) -> Tensor:
    """Say how much stronger the picture is than the noise."""
    return alphas[times] / (1 - alphas[times])


@dataclass(frozen=True)
class Lesson:
    """A batch to learn from: latents of one shape, what counts in them, and their captions."""

    clean: Tensor
    details: Tensor
    sizes: Tensor
    texts: list[str]
    labels: dict[str, Tensor]

    @property
    def empty(self) -> Tensor:
        """Say which captions are empty."""
        return torch.tensor([not text for text in self.texts], device=self.clean.device)


def make_lesson(
    recipe: Recipe,
    buckets: list[Bucket],
    batch: int,
    generator: torch.Generator,
    device: torch.device,
    empty: bool = True,
) -> Lesson:
    """Choose a shape, drawings of it, and words for them."""
    bucket = choose_bucket(recipe, buckets, generator)
    which = torch.randint(len(bucket.latents), (batch,), generator=generator).tolist()
    critters = [bucket.critter(number) for number in which]
    texts = [
        picture_caption(critter, recipe, np.random.default_rng(seed), empty)
        for critter, seed in zip(critters, seeds(generator, batch), strict=True)
    ]
    clean = torch.from_numpy(np.stack([bucket.latents[number] for number in which])).float().to(device)
    details = detail_weights(np.stack([bucket.details[number] for number in which]), recipe.details).to(device)
    sizes = torch.tensor([size_numbers(*bucket.size)], device=device).expand(batch, -1)
    return Lesson(clean, details, sizes, texts, labels(critters))


def encode_texts(
    modules: nn.Module, texts: list[str], tokenizers: Tokenizers, device: torch.device
) -> dict[str, dict[str, Tensor]]:
    """Read the captions with both encoders."""
    ids = (tokenized(tokenizer, texts).to(device) for tokenizer in tokenizers)
    return {name: read(modules, name, numbers) for name, numbers in zip(ENCODERS, ids, strict=True)}  # type: ignore[arg-type]


def noise_loss(
    unet: nn.Module, lesson: Lesson, noise: Tensor, times: Tensor, alphas: Tensor, words: Tensor, pooled: Tensor
) -> Losses:
    """Measure the predicted noise, with min-SNR weights (2303.09556, gamma 5): easy steps do not drown the others."""
    level = alphas[times][:, None, None, None]
    noisy = level.sqrt() * lesson.clean + (1 - level).sqrt() * noise
    guess = unet(noisy, times, words, added_cond_kwargs={"text_embeds": pooled, "time_ids": lesson.sizes}).sample
    errors = ((guess.float() - noise).pow(2) * lesson.details).mean((1, 2, 3))
    ratio = signal_to_noise(alphas, times)
    return {"loss": (errors * ratio.clamp(max=5) / ratio).mean(), "mse": errors.mean().detach()}


def train_unet(
    recipe: Recipe,
    buckets: list[Bucket],
    lessons: tuple[nn.ModuleDict, nn.ModuleDict],
    tokenizers: Tokenizers,
    work: Path,
    device: torch.device,
    minutes: float | None = None,
) -> Iterator[dict[str, float]]:
    """Train the UNet; the text encoders learn beside it in the first part of its schedule."""
    torch.manual_seed(recipe.seed + 2)
    encoders, readers = lessons
    modules = nn.ModuleDict({"unet": new_unet(recipe), **encoders, **readers}).train()
    training = Training(modules, recipe.unet, work / "unet.pt", recipe.seed + 2, device, slow=ENCODERS, minutes=minutes)
    alphas = scheduler().alphas_cumprod.to(device)
    batch = recipe.unet.batch

    def loss_of(generator: torch.Generator, progress: float) -> Losses:
        lesson = make_lesson(recipe, buckets, batch, generator, device)
        together = progress < recipe.taught_together
        with torch.set_grad_enabled(together):
            texts = encode_texts(modules, lesson.texts, tokenizers, device)
            words, pooled = condition(texts, lesson.empty)
        noise = torch.randn(lesson.clean.shape, generator=generator).to(device)
        # One random time in each of `batch` equal stretches: the loss of a step is then less of a lottery.
        times = ((torch.arange(batch) + torch.rand(batch, generator=generator)) * 1000 / batch).long().to(device)
        losses = noise_loss(modules["unet"], lesson, noise, times, alphas, words, pooled)
        if not together:
            return losses
        reading = reading_loss(modules, texts, lesson.labels)
        return losses | {"loss": losses["loss"] + recipe.reading * reading, "reading": reading.detach()}

    yield from training.run(loss_of)


def load_unet_stage(recipe: Recipe, tokenizers: Tokenizers, work: Path) -> tuple[UNet2DConditionModel, nn.ModuleDict]:
    """Load the averaged UNet and text encoders as far as they have been trained."""
    unet, encoders = new_unet(recipe), new_encoders(recipe, tokenizers)
    for name, module in {"unet": unet, **encoders}.items():
        module.load_state_dict(averaged(work / "unet.pt", f"{name}."))
        module.eval()
    return unet, encoders
