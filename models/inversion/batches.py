"""Everything that the steps of a training read, computed once: latents, captions, noise; and their batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from models.inversion import checkpoint as inversion_state
from models.inversion import examples as inversion_data
from models.inversion import random_draws as inversion_draws
from models.inversion import vectors as inversion_words
from models.inversion.captions import TrainingCaptions
from models.inversion.loss import Batch, NoiseSchedule
from models.system.errors import UserError

if TYPE_CHECKING:
    from models.inversion.config import Config
    from models.inversion.examples import LatentView, TrainingExample
    from models.inversion.random_draws import DrawKey
    from models.sdxl.renderer import Renderer


class Batches:
    """The pictures of a training, in the batches of each step."""

    def __init__(self, model: Renderer, examples: Sequence[TrainingExample], config: Config) -> None:
        if not examples:
            raise UserError(f"there are no pictures to learn {config.token} from: give at least one")
        inversion_words.check_new(config.token, model.encoders)
        self.config, self.count = config, len(examples)
        self.own_side = model.source.side
        self.captions = TrainingCaptions([example.captions for example in examples], model.encoders, config)
        self.noising = NoiseSchedule(model._own_scheduler, config.min_snr)
        self._pixels = [
            inversion_data.read_example(example, config.masks, number) for number, example in enumerate(examples, 1)
        ]
        self.fingerprint = inversion_state.training_fingerprint(
            model,
            config,
            [(example.hash, captions) for example, captions in zip(self._pixels, self.captions.texts, strict=True)],
        )
        self._views: inversion_data.LatentViews = {}

    def encode_latents(self, model: Renderer, sides: Sequence[int], varied: bool = True) -> None:
        """Encode the latents of all versions or only of the first. It takes time; the pixels are then dropped."""
        config = self.config if varied else replace(self.config, crops=1, mirror=False)
        self._views = inversion_data.encode_views(model, self._pixels, sides, config)
        self._pixels = []

    def batch_of_step(self, step: int, micro: int, rank: int = 0, processes: int = 1) -> Batch:
        """Return this process's rows of one batch of a step (both counted from 0)."""
        side = self.config.side_at(step, self.own_side)
        return self._assemble_batch(
            [self._draw_row(key, side) for key in inversion_draws.draw_keys(self.config, step, micro, rank, processes)]
        )

    def validation_batches(self) -> list[Batch]:
        """Return the batches of the validation loss: at every call the same pictures, times and noise."""
        config, side = self.config, self.config.last_side(self.own_side)
        rows = []
        for number in range(config.validations):
            key = inversion_draws.DrawKey(-1, number, config.validations)  # -1: a step that no training has
            example = number % self.count
            view = self._views[side, example][0]
            rows.append((key, view, self.captions.first_caption(example), view.mean))
        return [self._assemble_batch(rows[first : first + config.batch]) for first in range(0, len(rows), config.batch)]

    def _draw_row(self, key: DrawKey, side: int) -> tuple[DrawKey, LatentView, str, torch.Tensor | None]:
        seed = self.config.seed
        example = inversion_draws.draw_example(seed, key, self.count)
        versions = self._views[side, example]
        view = versions[inversion_draws.draw_version(seed, key, len(versions))]
        return key, view, self.captions.vary_caption(example, key), None

    def _assemble_batch(self, rows: Sequence[tuple[DrawKey, LatentView, str, torch.Tensor | None]]) -> Batch:
        """Draw noise and times and put the rows together. A row that has latents uses them as they are."""
        config, clean, noise, times = self.config, [], [], []
        for key, view, _, latents in rows:
            posterior, plain = inversion_draws.draw_noise(config.seed, key, tuple(view.mean.shape), config.offset_noise)
            clean.append(view.mean + view.deviation * posterior if latents is None else latents)
            noise.append(plain)
            times.append(inversion_draws.draw_timestep(config.seed, key, self.noising.times))
        step_times = torch.tensor(times)
        noisy, target = self.noising(torch.stack(clean), torch.stack(noise), step_times)
        weights = torch.stack([view.weights for _, view, _, _ in rows])
        return Batch(
            noisy=noisy,
            target=target,
            weights=weights * self.noising.loss_weights(step_times)[:, None, None, None],
            times=step_times,
            time_ids=torch.tensor([view.time_ids for _, view, _, _ in rows], dtype=torch.float32),
            chunks=[self.captions.prompt_chunks(text) for _, _, text, _ in rows],
        )
