"""The quick adapter: four steps without guidance, as a LoRA on the UNet.

Progressive distillation in one go (after arXiv 2202.00512, the way SDXL-Lightning took): the student's one step from a time to
the next must land where several guided steps of the full model land. Every start has one such end, so there is nothing to
blur between. It is used with Euler steps, trailing spacing, four steps, guidance 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from torch import Tensor, nn

from models.toybox.recipe.latents import Bucket
from models.toybox.recipe.numbers import Recipe
from models.toybox.recipe.resumable_training import Losses, Training, averaged
from models.toybox.recipe.unet import (
    Lesson,
    Tokenizers,
    condition,
    encode_texts,
    load_unet_stage,
    make_lesson,
    scheduler,
)

TIMES = (999, 749, 499, 249)
"""When the student steps: Euler's own times at four steps with trailing spacing."""
TEACHER_STEPS = (4, 4, 4, 3)
"""How many guided steps the full model takes for each of them."""
TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2",
           "conv_shortcut", "time_emb_proj", "conv_in", "conv_out", "downsamplers.0.conv", "upsamplers.0.conv")  # fmt: skip
FOLDER = "quick"
FILE = "pytorch_lora_weights.safetensors"


def add_adapter(unet: UNet2DConditionModel, rank: int) -> UNet2DConditionModel:
    """Put an untrained adapter on a UNet; only the adapter is trained."""
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(TARGETS), init_lora_weights=True), "quick")
    return unet


def level(alphas: Tensor, time: int) -> tuple[float, float]:
    """Say how much of the picture and of the noise there is at a time; before time 0 there is no noise."""
    if time < 0:
        return 1.0, 0.0
    share = float(alphas[time])
    return share**0.5, (1 - share) ** 0.5


def step_to(noisy: Tensor, noise: Tensor, now: tuple[float, float], then: tuple[float, float]) -> Tensor:
    """Go from one noise level to another along the predicted noise (a DDIM step, which is an Euler step)."""
    clean = (noisy - now[1] * noise) / now[0]
    return then[0] * clean + then[1] * noise


class Teacher:
    """The full model, with guidance."""

    def __init__(self, unet: nn.Module, guidance: float, alphas: Tensor) -> None:
        self.unet, self.guidance, self.alphas = unet, guidance, alphas

    @torch.no_grad()
    def noise(self, noisy: Tensor, time: int, lesson: Lesson, words: Tensor, pooled: Tensor) -> Tensor:
        """Predict the noise with guidance away from the empty prompt."""
        double = {
            "text_embeds": torch.cat([pooled, torch.zeros_like(pooled)]),
            "time_ids": torch.cat([lesson.sizes, lesson.sizes]),
        }
        both = torch.cat([words, torch.zeros_like(words)])
        guess = self.unet(torch.cat([noisy, noisy]), time, both, added_cond_kwargs=double).sample.float()
        named, plain = guess.chunk(2)
        return plain + self.guidance * (named - plain)

    def walk(
        self, noisy: Tensor, start: int, end: int, steps: int, lesson: Lesson, words: Tensor, pooled: Tensor
    ) -> Tensor:
        """Take several steps from one time to another; an `end` below 0 is the clean picture."""
        times = [round(start + (end - start) * i / steps) for i in range(steps)] + [end]
        for now, then in pairwise(times):
            guess = self.noise(noisy, now, lesson, words, pooled)
            noisy = step_to(noisy, guess, level(self.alphas, now), level(self.alphas, then))
        return noisy


def student_loss(
    student: nn.Module, teacher: Teacher, lesson: Lesson, which: int, noise: Tensor, words: Tensor, pooled: Tensor
) -> Tensor:
    """Measure how far from the teacher's end the student's one step lands."""
    alphas, start = teacher.alphas, TIMES[which]
    end = TIMES[which + 1] if which + 1 < len(TIMES) else -1
    now, then = level(alphas, start), level(alphas, end)
    noisy = noise if which == 0 else now[0] * lesson.clean + now[1] * noise  # a picture begins with nothing but noise
    right = teacher.walk(noisy, start, end, TEACHER_STEPS[which], lesson, words, pooled)
    given = {"text_embeds": pooled, "time_ids": lesson.sizes}
    guess = student(noisy, start, words, added_cond_kwargs=given).sample.float()
    landed = step_to(noisy, guess, now, then)
    return ((landed - right).pow(2) * lesson.details).mean()


def train_quick(
    recipe: Recipe,
    buckets: list[Bucket],
    tokenizers: Tokenizers,
    work: Path,
    device: torch.device,
    minutes: float | None = None,
) -> Iterator[dict[str, float]]:
    """Train the adapter against the finished UNet; one of the four steps at a time, in turn."""
    torch.manual_seed(recipe.seed + 12)
    unet, encoders = load_unet_stage(recipe, tokenizers, work)
    encoders.requires_grad_(False).to(device)
    frozen, _ = load_unet_stage(recipe, tokenizers, work)
    alphas = scheduler().alphas_cumprod
    teacher = Teacher(frozen.requires_grad_(False).to(device), recipe.quick_guidance, alphas)
    modules = nn.ModuleDict({"unet": add_adapter(unet, recipe.lora_rank)})
    training = Training(modules, recipe.quick, work / "quick.pt", recipe.seed + 12, device, minutes=minutes)

    def loss_of(generator: torch.Generator, _: float) -> Losses:
        lesson = make_lesson(recipe, buckets, recipe.quick.batch, generator, device, empty=False)
        with torch.no_grad():
            words, pooled = condition(encode_texts(encoders, lesson.texts, tokenizers, device), lesson.empty)
        noise = torch.randn(lesson.clean.shape, generator=generator).to(device)
        which = int(torch.randint(len(TIMES), (1,), generator=generator))
        loss = student_loss(modules["unet"], teacher, lesson, which, noise, words, pooled)
        return {"loss": loss, f"step_{which + 1}": loss.detach()}

    yield from training.run(loss_of)


def export_quick(recipe: Recipe, tokenizers: Tokenizers, work: Path, out: Path) -> Path:
    """Write the averaged adapter in half precision, as `pipeline.load_lora_weights(out / "quick")` reads it."""
    unet, _ = load_unet_stage(recipe, tokenizers, work)
    add_adapter(unet, recipe.lora_rank).load_state_dict(averaged(work / "quick.pt", "unet."))
    layers = get_peft_model_state_dict(unet, adapter_name="quick")
    halves = {name: value.half().contiguous() for name, value in layers.items()}
    StableDiffusionXLPipeline.save_lora_weights(out / FOLDER, unet_lora_layers=halves, weight_name=FILE)
    return out / FOLDER / FILE
