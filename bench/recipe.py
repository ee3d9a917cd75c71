"""The common recipe of textual inversion on SDXL, plainly: what training here is compared with.

New tokens at the end of both embedding tables; both tables whole in AdamW, and after every step all their other rows put
back; every picture through the VAE in every step; the loss read on the CPU after each. The noise comes from outside, so that
both ways can be given the same and must find the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch.nn import functional

from models.inversion.loss import NoiseSchedule
from models.sdxl.renderer import Renderer


@dataclass(frozen=True)
class Given:
    """All that a step does not decide itself, a row a picture."""

    pixels: torch.Tensor  # [B, 3, H, W], -1 to 1
    posterior: torch.Tensor  # [B, C, h, w]
    noise: torch.Tensor  # [B, C, h, w]
    times: torch.Tensor  # [B]
    sizes: torch.Tensor  # [B, 6]
    captions: Sequence[str]

    def to(self, device: str, precision: torch.dtype) -> Given:
        """Pictures in the model's precision; times as they are."""
        floats = {name: getattr(self, name).to(device, precision) for name in ("pixels", "posterior", "noise", "sizes")}
        return replace(self, **floats, times=self.times.to(device))


class Recipe:
    """A word under training. Takes the model for itself: the tables it grows stay grown."""

    def __init__(
        self,
        model: Renderer,
        token: str,
        vectors: Sequence[torch.Tensor],
        rate: float = 5e-3,
        weight_decay: float = 1e-2,
        pooling: Literal["argmax", "end"] = "argmax",
    ) -> None:
        self.model, self.token, self.pooling = model, token, pooling
        self.words = [token, *(f"{token[:-1]}_{number}>" for number in range(1, len(vectors[0])))]
        self.noising = NoiseSchedule(model._own_scheduler)
        pipe = model.pipe
        for part in (pipe.unet, pipe.vae, *(encoder.model for encoder in model.encoders)):
            part.requires_grad_(False).eval()
        self.rows: list[list[int]] = []
        self.tables: list[torch.nn.Parameter] = []
        for encoder, own in zip(model.encoders, vectors, strict=True):
            encoder.tokenizer.add_tokens(self.words)
            encoder.model.resize_token_embeddings(len(encoder.tokenizer), mean_resizing=False)
            rows = encoder.tokenizer.convert_tokens_to_ids(self.words)
            table = encoder.model.get_input_embeddings().weight
            with torch.no_grad():
                table[rows] = own.to(table)
            self.rows.append(rows)
            self.tables.append(table.requires_grad_(True))
        self.others = [table.detach().clone() for table in self.tables]
        self.optimizer = torch.optim.AdamW(self.tables, lr=rate, weight_decay=weight_decay)

    @property
    def vectors(self) -> list[torch.Tensor]:
        return [table.detach()[rows] for table, rows in zip(self.tables, self.rows, strict=True)]

    def step(self, given: Given) -> float:
        loss = self.loss(given)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        with torch.no_grad():
            for table, rows, before in zip(self.tables, self.rows, self.others, strict=True):
                old = torch.ones(len(table), dtype=torch.bool)
                old[rows] = False
                table[old] = before[old]
        return float(loss.detach().item())

    def loss(self, given: Given) -> torch.Tensor:
        pipe = self.model.pipe
        with torch.no_grad():
            found = pipe.vae.encode(given.pixels).latent_dist
            clean = (found.mean + found.std * given.posterior) * pipe.vae.config.scaling_factor
        noisy, target = self.noising(clean, given.noise, given.times)
        hidden, pooled = self._read(given.captions)
        added = {"text_embeds": pooled, "time_ids": given.sizes}
        answer = pipe.unet(noisy, given.times, hidden, added_cond_kwargs=added, return_dict=False)[0]
        return functional.mse_loss(answer.float(), target.float())

    def _read(self, captions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        texts = [text.replace(self.token, " ".join(self.words)) for text in captions]
        features = []
        for encoder in self.model.encoders:
            tokenizer = encoder.tokenizer
            ids = tokenizer(
                texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
            ).input_ids.to(self.model.device)
            output = encoder.model(ids, output_hidden_states=True)
            features.append(output.hidden_states[-2])
        # What SDXL's published configuration leads to is the place of the highest id, which is the new token.
        where = ids.argmax(1) if self.pooling == "argmax" else (ids == tokenizer.eos_token_id).int().argmax(1)
        last = output.last_hidden_state[torch.arange(len(texts)), where]
        return torch.cat(features, dim=-1), encoder.model.text_projection(last)
