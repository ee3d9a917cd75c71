"""Teaching a model a new word by textual inversion. The only thing that learns is the word's own vectors.

`train` yields a record for each step; the caller logs, renders previews, saves and stops. Nothing that is drawn depends on
anything but seed and step, so a training that goes on from `Record.state()` ends in the very bits of one never stopped.
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
from models.inversion.async_numbers import Reading
from models.inversion.batches import Batches
from models.inversion.config import Config
from models.inversion.examples import Example
from models.inversion.frozen_model import Still, computing
from models.inversion.loss import losses
from models.inversion.optimizer import Memory
from models.inversion.plateau import Plateau
from models.sdxl.embedding import Embedding
from models.system.errors import UserError

if TYPE_CHECKING:
    from models.sdxl.renderer import Model

__all__ = ["Config", "DivergedError", "Example", "Plateau", "Record", "train", "validation"]

AHEAD = 8  # steps that the CPU may be ahead of the GPU: enough to keep it fed, few enough to notice trouble


class DivergedError(UserError):
    """The loss is not a number any more. `state` and `embedding` are those of the last step that was good."""

    def __init__(self, message: str, step: int, state: bytes, embedding: Embedding) -> None:
        super().__init__(message)
        self.step, self.state, self.embedding = step, state, embedding


class Record:
    """A step that was made. Its vectors can be asked for until the next one begins, its numbers at any time."""

    def __init__(self, run: _Run, rate: float, seconds: float, reading: Reading) -> None:
        self._run, self._reading = run, reading
        self.step = run.step
        """How many steps were made by now; the first record says 1."""
        self.rate = rate
        self.seconds = seconds
        """Of this step alone, without what the caller did between two. On CUDA as the CPU saw it."""

    @property
    def ready(self) -> bool:
        """Whether `loss` and `gradient` can be read without waiting for the GPU. On a CPU they always can."""
        return self._reading.ready

    @property
    def loss(self) -> float:
        return self._reading.numbers()[0]

    @property
    def gradient(self) -> float:
        """The length of the gradient over all vectors together, before it was clipped."""
        return self._reading.numbers()[1]

    @property
    def embedding(self) -> Embedding:
        """The word as it is now."""
        return self._live().embedding()

    def state(self) -> bytes:
        """Everything needed to go on from here, in some kilobytes."""
        return self._live().packed()

    def validation(self) -> float:
        """The loss on fixed pictures, times and noise: lower is better, and equal vectors have equal losses."""
        return self._live().validation()

    @contextmanager
    def rendering(self) -> Iterator[Model]:
        """The model as it was before the training, to make pictures with between two steps."""
        run = self._live()
        with run.still.released():
            yield run.model

    def _live(self) -> _Run:
        if self._run.step != self.step or self._run.busy:
            raise RuntimeError(
                f"the record of step {self.step} was asked for its vectors after the next step had begun"
            )
        self._run.notice_trouble(wait=True)
        return self._run


def train(model: Model, examples: Sequence[Example], config: Config, resume: bytes | None = None) -> Iterator[Record]:
    """Learn the word, one step for each record asked for. `resume` is what `Record.state()` gave.

    What is wrong with the arguments is said at once, and the VAE has done its part when this returns. Where
    torch.distributed is running (accelerate starts it), each process takes its share of every batch.
    """
    with torch.inference_mode(False):  # what is made in a caller's inference mode cannot be trained on
        inversion_model.check(model, config)
        batches = Batches(model, examples, config)
        saved = inversion_state.unpack(resume) if resume is not None else None
        if saved:
            inversion_state.check(saved, batches.fingerprint)
        run = _Run(model, config, batches, saved)
        batches.encode(model, config.sides(batches.own_side))
    return _steps(run)


def _steps(run: _Run) -> Iterator[Record]:
    with run.still.held():
        while run.step < run.config.steps:
            yield run.advance()
        run.notice_trouble(wait=True)


def validation(model: Model, examples: Sequence[Example], embedding: Embedding, config: Config) -> float:
    """The validation loss of a word that is trained already; the same as `Record.validation()` of its step."""
    inversion_model.check(model, config)
    tables = inversion_words.fitting(embedding, config, model.encoders)
    batches = Batches(model, examples, config)
    batches.encode(model, [config.last_side(batches.own_side)], varied=False)
    with Still(model, config).held():
        return _validation(model, batches, tables)


def _validation(model: Model, batches: Batches, tables: Sequence[torch.Tensor]) -> float:
    config, found = batches.config, []
    with computing(model, config, config.last_side(batches.own_side)), torch.no_grad():
        found = [losses(model, batch.to(model.device), config.token, tables) for batch in batches.fixed()]
    return float(torch.cat(found).mean())


class _Run:
    """A training under way."""

    def __init__(self, model: Model, config: Config, batches: Batches, saved: inversion_state.Saved | None) -> None:
        self.model, self.config, self.batches = model, config, batches
        self.rank, self.processes = _share(config)
        begin = saved.vectors if saved else inversion_words.initial(config, model.encoders)
        bands = inversion_words.bands(config, model.encoders)
        if not saved:
            inversion_words.keep_norms(begin, bands)
        self.tables = [torch.nn.Parameter(table.to(model.device)) for table in begin]
        self.memory = Memory(self.tables, config, bands)
        if saved:
            self.memory.restore(saved)
        self.step = saved.step if saved else 0
        self.still = Still(model, config)
        self.busy = False
        self._good = torch.ones((), dtype=torch.bool, device=model.device)
        self._readings: deque[tuple[int, Reading]] = deque()

    def advance(self) -> Record:
        """One step. On CUDA all of it is only queued; a loss that is no number leaves the vectors as they were."""
        begun = time.monotonic()
        self.busy, rate = True, self.config.rate_at(self.step)
        with computing(self.model, self.config, self.config.side_at(self.step, self.batches.own_side)):
            loss = self._gradients()
            length = torch.nn.utils.get_total_norm([table.grad for table in self.tables])
            if self.config.clip:
                torch.nn.utils.clip_grads_with_norm_(self.tables, self.config.clip, length)
            self._good = self._good & loss.isfinite() & length.isfinite()
            self.memory.update(rate, self._good)
        reading = Reading(loss, length)
        self.step += 1
        self._readings.append((self.step, reading))
        self.busy = False
        self.notice_trouble()
        return Record(self, rate, time.monotonic() - begun, reading)

    def _gradients(self) -> torch.Tensor:
        """Fill the gradients with their mean over the step's batches and processes; returns the mean loss."""
        config, total = self.config, torch.zeros((), device=self.model.device)
        for table in self.tables:
            table.grad = torch.zeros_like(table)
        for micro in range(config.accumulation):
            batch = self.batches.of_step(self.step, micro, self.rank, self.processes).to(self.model.device)
            loss = losses(self.model, batch, config.token, self.tables).mean() / config.accumulation
            scale = _scale(batch.noisy) if self.model.precision == "fp16" else 1.0
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
        """Look at the losses that have arrived, and raise if one is not a number."""
        while self._readings:
            step, reading = self._readings[0]
            if not (wait or reading.ready or len(self._readings) > AHEAD):
                return
            if not torch.tensor(reading.numbers()).isfinite().all():
                self._diverged(step)
            self._readings.popleft()

    def _diverged(self, step: int) -> None:
        self.step = step - 1  # since then the vectors stood still
        raise DivergedError(
            f"the loss is not a number at step {step}: nothing is lost, the vectors of step {step - 1} are kept; "
            "use a lower rate, or precision bf16 or fp32",
            step,
            self.packed(),
            self.embedding(),
        )

    def embedding(self) -> Embedding:
        return Embedding(self.config.token, tuple(table.detach().to("cpu", copy=True) for table in self.tables))

    def packed(self) -> bytes:
        vectors = [table.detach() for table in self.tables]
        memory, numbers = self.memory.kept(self.step)
        return inversion_state.pack(
            inversion_state.Saved(self.step, self.batches.fingerprint, vectors, memory, numbers)
        )

    def validation(self) -> float:
        return _validation(self.model, self.batches, [table.detach() for table in self.tables])


def _share(config: Config) -> tuple[int, int]:
    """This process among all of them, and their number."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    rank, processes = distributed.get_rank(), distributed.get_world_size()
    if config.batch % processes:
        raise UserError(f"a batch of {config.batch} cannot be shared by {processes} processes: use a multiple of that")
    return rank, processes


def _scale(noisy: torch.Tensor) -> float:
    """In fp16 the gradient of a mean over so many values would vanish; of about their sum it does not."""
    return 2.0 ** (noisy[0].numel().bit_length() - 1)
