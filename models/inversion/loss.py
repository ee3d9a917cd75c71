"""The loss of a batch: what the UNet gets, what it should predict, and what each prediction weighs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import torch

from models.sdxl import prompt_encoder
from models.sdxl.pipeline import torch_dtype

if TYPE_CHECKING:
    from models.sdxl.prompt_encoder import Chunk
    from models.sdxl.renderer import Renderer


class NoiseSchedule:
    """The noise schedule that the model was trained on. Runs on the CPU."""

    def __init__(self, scheduler: Any, min_snr: float = 0.0) -> None:
        self.shares = scheduler.alphas_cumprod.float().cpu()  # [times], how much of the picture is left
        self.times, self.min_snr = len(self.shares), min_snr
        self.velocity = scheduler.config.prediction_type == "v_prediction"

    def __call__(
        self, clean: torch.Tensor, noise: torch.Tensor, times: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Noisy latents and what the UNet should say of them; all [B, C, h, w], times [B]."""
        share = self.shares[times][:, None, None, None]
        noisy = share.sqrt() * clean + (1 - share).sqrt() * noise
        return noisy, share.sqrt() * noise - (1 - share).sqrt() * clean if self.velocity else noise

    def loss_weights(self, times: torch.Tensor) -> torch.Tensor:
        """Return [B] weights of min-SNR-gamma (arXiv 2303.09556), for the loss in epsilon or in v."""
        if not self.min_snr:
            return torch.ones(len(times))
        snr = self.shares[times] / (1 - self.shares[times])
        # min(snr, gamma) / snr, in a form that also holds where there is no signal at all.
        return snr.clamp(max=self.min_snr) / (snr + 1) if self.velocity else (self.min_snr / snr).clamp(max=1)


@dataclass(frozen=True)
class Batch:
    """Rows of a step, with everything drawn."""

    noisy: torch.Tensor  # [B, C, h, w]
    target: torch.Tensor  # [B, C, h, w]
    weights: torch.Tensor  # [B, 1, h, w]
    times: torch.Tensor  # [B]
    time_ids: torch.Tensor  # [B, 6]
    chunks: list[list[list[Chunk]]]  # by row, by encoder

    def to_device(self, device: str) -> Batch:
        """Copy to the device, without waiting for what is still being computed there."""

        def send(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.pin_memory().to(device, non_blocking=True) if device.startswith("cuda") else tensor.to(device)

        tensors = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "chunks"}
        return replace(self, **{name: send(tensor) for name, tensor in tensors.items()})


def compute_losses(model: Renderer, batch: Batch, token: str, tables: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return fp32 [B]. Gradients reach the tables through the hidden states and through the pooled vector."""
    unet, precision = model.pipe.unet, torch_dtype(model.precision)
    hidden, pooled = encode_condition(model, batch.chunks, token, tables)
    sizes = {"text_embeds": pooled, "time_ids": batch.time_ids} if is_size_conditioned(unet) else None
    answer = unet(
        batch.noisy.to(precision), batch.times, hidden.to(precision), added_cond_kwargs=sizes, return_dict=False
    )[0]
    return ((answer.float() - batch.target) ** 2 * batch.weights).mean(dim=(1, 2, 3))


def encode_condition(
    model: Renderer, rows: Sequence[Sequence[Sequence[Chunk]]], token: str, tables: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return hidden states [B, chunks * 77, sum of widths], and the pooled vector [B, P] or None."""
    features, pooled = [], None
    for place, (encoder, table) in enumerate(zip(model.encoders, tables, strict=True)):
        flat = [chunk for row in rows for chunk in row[place]]
        hidden, text_pooled = prompt_encoder.embed_chunks(encoder, flat, {token: table})
        features.append(hidden.unflatten(0, (len(rows), -1)).flatten(1, 2))
        if text_pooled is not None:
            pooled = text_pooled.unflatten(0, (len(rows), -1))[:, 0]  # of the first chunk, as in rendering
    return torch.cat(features, dim=-1), pooled


def is_size_conditioned(unet: Any) -> bool:
    """Tell whether the model takes the sizes of its training pictures: SDXL does, SD 1.x does not."""
    return bool(unet.config.addition_embed_type == "text_time")
