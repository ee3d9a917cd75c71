"""A training that can be killed at any moment and goes on where it was.

Everything random in step n derives from (seed, n), and a checkpoint holds modules, averages and optimiser: a run that was
interrupted ends with the same weights as one that was not.
"""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from models.toybox.recipe.files import save_atomically
from models.toybox.recipe.numbers import Schedule
from models.toybox.recipe.optimiser import Muon, grouped

Losses = dict[str, Tensor]
LossOf = Callable[[torch.Generator, float], Losses]
"""From the step's generator and how far the training is (0 to 1) to named losses; the one called `loss` is minimised."""
SAVE_EVERY = 240.0
"""Seconds of training between checkpoints."""


def generator_for(seed: int, step: int) -> torch.Generator:
    """Make the generator of one step."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)


class Training:
    """The modules of one stage on their way through its schedule.

    With `minutes` the schedule ends after so much computing, sittings before a restart included: minutes of processor time,
    which on a machine that is shared are longer than those on the wall (on a GPU, those on the wall).
    """

    def __init__(
        self,
        modules: nn.ModuleDict,
        schedule: Schedule,
        checkpoint: Path,
        seed: int,
        device: torch.device,
        slow: tuple[str, ...] = (),
        minutes: float | None = None,
    ) -> None:
        self.modules, self.schedule, self.checkpoint, self.seed = modules, schedule, checkpoint, seed
        self.device, self.minutes = device, minutes or schedule.minutes
        modules.to(device)
        self.average = copy.deepcopy(modules).requires_grad_(False)
        self.optimiser = Muon(grouped(modules.items(), schedule.muon, slow), schedule.peak)
        self.step, self.spent = 0, 0.0
        self.history: list[dict[str, float]] = []
        if checkpoint.exists():
            self._load(torch.load(checkpoint, map_location=device, weights_only=True))

    def _load(self, state: dict) -> None:
        whole = "optimiser" in state  # weights that were shipped are started from without one, see `warm_start`
        self.modules.load_state_dict(state["modules"], strict=whole)
        self.average.load_state_dict(state["average"], strict=whole)
        if whole:
            self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.spent, self.history = state["step"], state["spent"], state["history"]

    def save(self) -> None:
        """Write the checkpoint."""
        state = {
            "modules": self.modules.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "spent": self.spent,
            "history": self.history,
            "finished": self.progress >= 1,
        }
        save_atomically(state, self.checkpoint)

    @property
    def progress(self) -> float:
        """How far the training is, 0 to 1: by time where there is a limit, and never past the steps of the schedule."""
        by_steps = self.step / self.schedule.steps
        return max(by_steps, self.spent / 60 / self.minutes) if self.minutes else by_steps

    def rate(self) -> float:
        """The learning rate's share of its peak: up over the first fiftieth, level, then down a cosine."""
        progress, level = min(self.progress, 1.0), self.schedule.level
        if progress < 0.02:
            return (progress + 0.001) / 0.021
        if progress < level:
            return 1.0
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (progress - level) / (1 - level)))

    def run(self, loss_of: LossOf) -> Iterator[dict[str, float]]:
        """Train to the end of the schedule, yielding each step's losses; saves itself every few minutes."""
        trained = [p for group in self.optimiser.param_groups for p in group["params"]]
        saved = time.monotonic()
        clock = time.process_time if self.device.type == "cpu" else time.monotonic
        while self.progress < 1:
            started = clock()
            for group in self.optimiser.param_groups:
                group["lr"] = self.schedule.peak * self.rate() * group["pace"]
            with precision(self.device):
                losses = loss_of(generator_for(self.seed, self.step), self.progress)
            losses["loss"].backward()
            nn.utils.clip_grad_norm_(trained, 1.0)
            self.optimiser.step()
            self.optimiser.zero_grad()
            self._follow()
            self.step += 1
            self.spent += clock() - started
            row = {name: float(value.detach()) for name, value in losses.items()}
            if not math.isfinite(row["loss"]):
                raise FloatingPointError(f"the loss became {row['loss']} at step {self.step}")
            self.history.append(row)
            if time.monotonic() - saved > SAVE_EVERY or self.progress >= 1:
                self.save()
                saved = time.monotonic()
            yield row | {"step": self.step, "progress": self.progress}

    @torch.no_grad()
    def _follow(self) -> None:
        """Let the average follow the modules, quickly at first so that the start is soon forgotten."""
        share = 1 - min(self.schedule.ema, (1 + self.step) / (10 + self.step))
        slow, fast = list(self.average.parameters()), list(self.modules.parameters())
        torch._foreach_lerp_(slow, fast, share)
        for kept, now in zip(self.average.buffers(), self.modules.buffers(), strict=True):
            kept.copy_(now)


def precision(device: torch.device) -> contextlib.AbstractContextManager:
    """Compute in bfloat16 on a GPU; a CPU without AVX-512 is several times quicker in single precision."""
    return torch.autocast("cuda", dtype=torch.bfloat16) if device.type == "cuda" else contextlib.nullcontext()


def averaged(checkpoint: Path, prefix: str) -> dict[str, Tensor]:
    """Read the averaged weights in a checkpoint whose names begin with `prefix`, without it."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["average"]
    return {name.removeprefix(prefix): value.clone() for name, value in state.items() if name.startswith(prefix)}


def finished(checkpoint: Path) -> bool:
    """Whether a training came to its end."""
    if not checkpoint.exists():
        return False
    return bool(torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True).get("finished"))
