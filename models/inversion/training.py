"""Teach a model a new token by textual inversion. The only parameters are the token's own vectors.

`train_token` yields each finished step; the caller logs, renders previews, saves and stops. All that is drawn depends on seed
and step alone, so a training resumed from `TrainingStep.pack_state()` ends in the same bits as one that never stopped.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import distributed

from models.inversion import checkpoint as inversion_state
from models.inversion import frozen_model as inversion_model
from models.inversion import vectors as inversion_words
from models.inversion.async_numbers import AsyncNumbers
from models.inversion.batches import Batches
from models.inversion.config import Config
from models.inversion.examples import TrainingExample
from models.inversion.frozen_model import FrozenModel, training_context
from models.inversion.loss import compute_losses
from models.inversion.optimizer import OptimizerState
from models.inversion.plateau import Plateau
from models.sdxl.embedding import Embedding
from models.system.errors import UserError

if TYPE_CHECKING:
    from models.sdxl.renderer import Renderer

__all__ = [
    "Config",
    "DivergedError",
    "Plateau",
    "TrainingExample",
    "TrainingStep",
    "measure_validation_loss",
    "train_token",
]

MAX_STEPS_AHEAD = 8  # steps that the CPU may be ahead of the GPU: enough to keep it fed, few enough to notice trouble


class DivergedError(UserError):
    """The loss is not a number any more. `state` and `embedding` are those of the last step that was good."""

    def __init__(self, message: str, step: int, state: bytes, embedding: Embedding) -> None:
        super().__init__(message)
        self.step, self.state, self.embedding = step, state, embedding


class TrainingStep:
    """A finished step. Its vectors can be read until the next step begins, its numbers at any time."""

    def __init__(self, run: _TrainingState, rate: float, seconds: float, reading: AsyncNumbers) -> None:
        self._run, self._reading = run, reading
        self.step = run.step
        """How many steps were made by now; the first record says 1."""
        self.rate = rate
        self.seconds = seconds
        """Of this step alone, without what the caller did between two. On CUDA as the CPU saw it."""

    @property
    def is_ready(self) -> bool:
        """Tell whether `loss` and `gradient_norm` can be read without waiting for the GPU. On a CPU they always can."""
        return self._reading.is_ready

    @property
    def loss(self) -> float:
        return self._reading.wait_for_numbers()[0]

    @property
    def gradient_norm(self) -> float:
        """Return the length of the gradient over all vectors together, before it was clipped."""
        return self._reading.wait_for_numbers()[1]

    @property
    def current_embedding(self) -> Embedding:
        """Return the embedding as it is now."""
        return self._current_run().current_embedding()

    def pack_state(self) -> bytes:
        """Return everything that is needed to resume, in some kilobytes."""
        return self._current_run().pack_state()

    def validation_loss(self) -> float:
        """Return the loss on fixed pictures, times and noise: lower is better; equal vectors have equal losses."""
        return self._current_run().validation_loss()

    @contextmanager
    def model_for_rendering(self) -> Iterator[Renderer]:
        """Lend the model as it was before the training, to render pictures between two steps."""
        run = self._current_run()
        with run.still.while_restored():
            yield run.model

    def _current_run(self) -> _TrainingState:
        if self._run.step != self.step or self._run.busy:
            raise RuntimeError(
                f"the record of step {self.step} was asked for its vectors after the next step had begun"
            )
        self._run.notice_trouble(wait=True)
        return self._run


def train_token(
    model: Renderer, examples: Sequence[TrainingExample], config: Config, resume: bytes | None = None
) -> Iterator[TrainingStep]:
    """Train the embedding, one step for each record asked for. `resume` is what `TrainingStep.pack_state()` gave.

    What is wrong with the arguments is said at once, and the VAE has done its part when this returns. Where
    torch.distributed is running (accelerate starts it), each process takes its share of every batch.
    """
    with torch.inference_mode(False):  # what is made in a caller's inference mode cannot be trained on
        inversion_model.check_trainable(model, config)
        batches = Batches(model, examples, config)
        saved = inversion_state.unpack_checkpoint(resume) if resume is not None else None
        if saved:
            inversion_state.check_resumable(saved, batches.fingerprint)
        run = _TrainingState(model, config, batches, saved)
        batches.encode_latents(model, config.training_sides(batches.own_side))
    return _run_steps(run)


def _run_steps(run: _TrainingState) -> Iterator[TrainingStep]:
    with run.still.while_frozen():
        while run.step < run.config.steps:
            yield run.run_step()
        run.notice_trouble(wait=True)


def measure_validation_loss(
    model: Renderer, examples: Sequence[TrainingExample], embedding: Embedding, config: Config
) -> float:
    """Return the loss of a trained embedding, equal to `TrainingStep.validation_loss()` of its step."""
    inversion_model.check_trainable(model, config)
    tables = inversion_words.matching_tables(embedding, config, model.encoders)
    batches = Batches(model, examples, config)
    batches.encode_latents(model, [config.last_side(batches.own_side)], varied=False)
    with FrozenModel(model, config).while_frozen():
        return _mean_validation_loss(model, batches, tables)


def _mean_validation_loss(model: Renderer, batches: Batches, tables: Sequence[torch.Tensor]) -> float:
    config, row_losses = batches.config, []
    with training_context(model, config, config.last_side(batches.own_side)), torch.no_grad():
        row_losses = [
            compute_losses(model, batch.to_device(model.device), config.token, tables)
            for batch in batches.validation_batches()
        ]
    return float(torch.cat(row_losses).mean())


class _TrainingState:
    """The state of a running training."""

    def __init__(
        self, model: Renderer, config: Config, batches: Batches, saved: inversion_state.Checkpoint | None
    ) -> None:
        self.model, self.config, self.batches = model, config, batches
        self.rank, self.processes = _rank_and_count(config)
        begin = saved.vectors if saved else inversion_words.initial_vectors(config, model.encoders)
        bands = inversion_words.norm_bands(config, model.encoders)
        if not saved:
            inversion_words.keep_norms(begin, bands)
        self.tables = [torch.nn.Parameter(table.to(model.device)) for table in begin]
        self.memory = OptimizerState(self.tables, config, bands)
        if saved:
            self.memory.restore_state(saved)
        self.step = saved.step if saved else 0
        self.still = FrozenModel(model, config)
        self.busy = False
        self._good = torch.ones((), dtype=torch.bool, device=model.device)
        self._readings: deque[tuple[int, AsyncNumbers]] = deque()

    def run_step(self) -> TrainingStep:
        """Run one step. On CUDA it is only queued; a loss that is not a number leaves the vectors as they were."""
        begun = time.monotonic()
        self.busy, rate = True, self.config.rate_at(self.step)
        with training_context(self.model, self.config, self.config.side_at(self.step, self.batches.own_side)):
            loss = self._fill_gradients()
            length = torch.nn.utils.get_total_norm([table.grad for table in self.tables])
            if self.config.clip:
                torch.nn.utils.clip_grads_with_norm_(self.tables, self.config.clip, length)
            self._good = self._good & loss.isfinite() & length.isfinite()
            self.memory.update_vectors(rate, self._good)
        reading = AsyncNumbers(loss, length)
        self.step += 1
        self._readings.append((self.step, reading))
        self.busy = False
        self.notice_trouble()
        return TrainingStep(self, rate, time.monotonic() - begun, reading)

    def _fill_gradients(self) -> torch.Tensor:
        """Fill the gradients with their mean over the step's batches and processes; return the mean loss."""
        config, total = self.config, torch.zeros((), device=self.model.device)
        for table in self.tables:
            table.grad = torch.zeros_like(table)
        for micro in range(config.accumulation):
            batch = self.batches.batch_of_step(self.step, micro, self.rank, self.processes).to_device(self.model.device)
            loss = compute_losses(self.model, batch, config.token, self.tables).mean() / config.accumulation
            scale = _gradient_scale(batch.noisy) if self.model.precision == "fp16" else 1.0
            (loss * scale).backward()
            total += loss.detach()
        for table in self.tables:
            table.grad /= scale
        return self._mean_over_processes(total)

    def _mean_over_processes(self, loss: torch.Tensor) -> torch.Tensor:
        if self.processes == 1:
            return loss
        grads = [table.grad for table in self.tables]
        flat = torch.cat([loss.view(1), *(grad.flatten() for grad in grads)])
        distributed.all_reduce(flat)  # once for everything: what it costs is the round trip
        loss, *parts = (flat / self.processes).split([1, *(grad.numel() for grad in grads)])
        for grad, part in zip(grads, parts, strict=True):
            grad.copy_(part.view_as(grad))
        return loss[0]

    def notice_trouble(self, wait: bool = False) -> None:
        """Check the losses that have arrived, and raise if one is not a number."""
        while self._readings:
            step, reading = self._readings[0]
            if not (wait or reading.is_ready or len(self._readings) > MAX_STEPS_AHEAD):
                return
            if not torch.tensor(reading.wait_for_numbers()).isfinite().all():
                self._raise_diverged(step)
            self._readings.popleft()

    def _raise_diverged(self, step: int) -> None:
        self.step = step - 1  # since then the vectors stood still
        raise DivergedError(
            f"the loss is not a number at step {step}: nothing is lost, the vectors of step {step - 1} are kept; "
            "use a lower rate, or precision bf16 or fp32",
            step,
            self.pack_state(),
            self.current_embedding(),
        )

    def current_embedding(self) -> Embedding:
        return Embedding(self.config.token, tuple(table.detach().to("cpu", copy=True) for table in self.tables))

    def pack_state(self) -> bytes:
        vectors = [table.detach() for table in self.tables]
        memory, numbers = self.memory.export_state(self.step)
        return inversion_state.pack_checkpoint(
            inversion_state.Checkpoint(self.step, self.batches.fingerprint, vectors, memory, numbers)
        )

    def validation_loss(self) -> float:
        return _mean_validation_loss(self.model, self.batches, [table.detach() for table in self.tables])


def _rank_and_count(config: Config) -> tuple[int, int]:
    """Return this process's rank, and the number of processes."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    rank, processes = distributed.get_rank(), distributed.get_world_size()
    if config.batch % processes:
        raise UserError(f"a batch of {config.batch} cannot be shared by {processes} processes: use a multiple of that")
    return rank, processes


def _gradient_scale(noisy: torch.Tensor) -> float:
    """Return the loss scale: in fp16 the gradient of a mean over many values would vanish."""
    return 2.0 ** (noisy[0].numel().bit_length() - 1)
