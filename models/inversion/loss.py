"""The loss of a batch: what the UNet is asked, what it should answer, and what each answer weighs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import torch

from models.sdxl import prompt_encoder
from models.sdxl.pipeline import dtype_of

if TYPE_CHECKING:
    from models.sdxl.prompt_encoder import Chunk
    from models.sdxl.renderer import Model


class Noising:
    """The way of a picture into noise that the model was trained on. Runs on the CPU."""

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

    def weights(self, times: torch.Tensor) -> torch.Tensor:
        """[B]: min-SNR-gamma (arXiv 2303.09556), for the loss in epsilon or in v."""
        if not self.min_snr:
            return torch.ones(len(times))
        snr = self.shares[times] / (1 - self.shares[times])
        # min(snr, gamma) / snr, in a form that also holds where there is no signal at all.
        return snr.clamp(max=self.min_snr) / (snr + 1) if self.velocity else (self.min_snr / snr).clamp(max=1)


@dataclass(frozen=True)
class Batch:
    """Rows of a step, everything drawn."""

    noisy: torch.Tensor  # [B, C, h, w]
    target: torch.Tensor  # [B, C, h, w]
    weights: torch.Tensor  # [B, 1, h, w]
    times: torch.Tensor  # [B]
    time_ids: torch.Tensor  # [B, 6]
    chunks: list[list[list[Chunk]]]  # by row, by encoder

    def to(self, device: str) -> Batch:
        """On the device, without waiting for what is still being computed there."""

        def send(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.pin_memory().to(device, non_blocking=True) if device.startswith("cuda") else tensor.to(device)

        tensors = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "chunks"}
        return replace(self, **{name: send(tensor) for name, tensor in tensors.items()})


def losses(model: Model, batch: Batch, token: str, tables: Sequence[torch.Tensor]) -> torch.Tensor:
    """fp32 [B]. Gradients reach the tables through the hidden states and through the pooled vector."""
    unet, precision = model.pipe.unet, dtype_of(model.precision)
    hidden, pooled = condition(model, batch.chunks, token, tables)
    sizes = {"text_embeds": pooled, "time_ids": batch.time_ids} if sized(unet) else None
    answer = unet(
        batch.noisy.to(precision), batch.times, hidden.to(precision), added_cond_kwargs=sizes, return_dict=False
    )[0]
    return ((answer.float() - batch.target) ** 2 * batch.weights).mean(dim=(1, 2, 3))


def condition(
    model: Model, rows: Sequence[Sequence[Sequence[Chunk]]], token: str, tables: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Hidden states [B, chunks * 77, sum of widths], and the pooled vector [B, P] where the model has one."""
    features, pooled = [], None
    for place, (encoder, table) in enumerate(zip(model.encoders, tables, strict=True)):
        flat = [chunk for row in rows for chunk in row[place]]
        hidden, found = prompt_encoder.embed(encoder, flat, {token: table})
        features.append(hidden.unflatten(0, (len(rows), -1)).flatten(1, 2))
        if found is not None:
            pooled = found.unflatten(0, (len(rows), -1))[:, 0]  # of the first chunk, as in rendering
    return torch.cat(features, dim=-1), pooled


def sized(unet: Any) -> bool:
    """Whether the model was told the sizes of its training pictures: SDXL was, SD 1.x was not."""
    return bool(unet.config.addition_embed_type == "text_time")
