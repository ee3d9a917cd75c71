"""Everything that the steps of a training read, made once: latents, captions, noising; and the batches made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from models.inversion import checkpoint as inversion_state
from models.inversion import examples as inversion_data
from models.inversion import random_draws as inversion_draws
from models.inversion import vectors as inversion_words
from models.inversion.captions import Captions
from models.inversion.loss import Batch, Noising
from models.system.errors import UserError

if TYPE_CHECKING:
    from models.inversion.config import Config
    from models.inversion.examples import Example, View
    from models.inversion.random_draws import Place
    from models.sdxl.renderer import Model


class Batches:
    """The pictures of a training, in the batches of each step."""

    def __init__(self, model: Model, examples: Sequence[Example], config: Config) -> None:
        if not examples:
            raise UserError(f"there are no pictures to learn {config.token} from: give at least one")
        inversion_words.check_new(config.token, model.encoders)
        self.config, self.count = config, len(examples)
        self.own_side = model.source.side
        self.captions = Captions([each.captions for each in examples], model.encoders, config)
        self.noising = Noising(model._own_scheduler, config.min_snr)
        self._pixels = [inversion_data.read(each, config.masks, number) for number, each in enumerate(examples, 1)]
        self.fingerprint = inversion_state.fingerprint(
            model, config, [(each.hash, own) for each, own in zip(self._pixels, self.captions.texts, strict=True)]
        )
        self._views: inversion_data.Views = {}

    def encode(self, model: Model, sides: Sequence[int], varied: bool = True) -> None:
        """Make the latents, of all versions or only of the first. It takes the VAE and the time; the pictures then go."""
        config = self.config if varied else replace(self.config, crops=1, mirror=False)
        self._views = inversion_data.views(model, self._pixels, sides, config)
        self._pixels = []

    def of_step(self, step: int, micro: int, rank: int = 0, processes: int = 1) -> Batch:
        """This process's rows of one batch of a step (both counted from 0)."""
        side = self.config.side_at(step, self.own_side)
        return self._batch(
            [self._row(at, side) for at in inversion_draws.places(self.config, step, micro, rank, processes)]
        )

    def fixed(self) -> list[Batch]:
        """What the validation loss is the mean of: at every call the same pictures, times and noise."""
        config, side = self.config, self.config.last_side(self.own_side)
        rows = []
        for number in range(config.validations):
            at = inversion_draws.Place(-1, number, config.validations)  # -1: a step that no training has
            example = number % self.count
            view = self._views[side, example][0]
            rows.append((at, view, self.captions.first(example), view.mean))
        return [self._batch(rows[first : first + config.batch]) for first in range(0, len(rows), config.batch)]

    def _row(self, at: Place, side: int) -> tuple[Place, View, str, torch.Tensor | None]:
        seed = self.config.seed
        example = inversion_draws.example(seed, at, self.count)
        versions = self._views[side, example]
        view = versions[inversion_draws.version(seed, at, len(versions))]
        return at, view, self.captions.vary(example, at), None

    def _batch(self, rows: Sequence[tuple[Place, View, str, torch.Tensor | None]]) -> Batch:
        """Draw what is still open and put the rows together. A row that names its latents takes them as they are."""
        config, clean, noise, times = self.config, [], [], []
        for at, view, _, latents in rows:
            posterior, plain = inversion_draws.noise(config.seed, at, tuple(view.mean.shape), config.offset_noise)
            clean.append(view.mean + view.deviation * posterior if latents is None else latents)
            noise.append(plain)
            times.append(inversion_draws.timestep(config.seed, at, self.noising.times))
        when = torch.tensor(times)
        noisy, target = self.noising(torch.stack(clean), torch.stack(noise), when)
        weights = torch.stack([view.weights for _, view, _, _ in rows])
        return Batch(
            noisy=noisy,
            target=target,
            weights=weights * self.noising.weights(when)[:, None, None, None],
            times=when,
            time_ids=torch.tensor([view.time_ids for _, view, _, _ in rows], dtype=torch.float32),
            chunks=[self.captions.chunks(text) for _, _, text, _ in rows],
        )
