"""A training that can be killed at any moment and goes on where it was.

Everything random in step n derives from (seed, n), and a checkpoint holds modules, averages and optimiser: a run that was
interrupted ends with the same weights as one that was not.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from models.toybox.recipe.numbers import Schedule

Losses = dict[str, Tensor]
LossOf = Callable[[torch.Generator, float], Losses]
"""From the step's generator and how far the training is (0 to 1) to named losses; the one called `loss` is minimised."""


def generator_for(seed: int, step: int) -> torch.Generator:
    return torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)


def save_atomically(state: object, path: Path) -> None:
    """Either the old file or the whole new one is there, whenever the power goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    torch.save(state, fresh)
    fresh.replace(path)


class Course:
    """The modules of one stage on their way through its schedule.

    With `minutes` the schedule is stretched or squeezed to that much training time, sittings before a restart included:
    on a machine that is shared, nobody knows beforehand how many steps that will be.
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
        self.modules, self.schedule, self.checkpoint, self.seed, self.device = (
            modules,
            schedule,
            checkpoint,
            seed,
            device,
        )
        modules.to(device)
        self.average = copy.deepcopy(modules).requires_grad_(False)
        groups = [
            {"params": [p for p in module.parameters() if p.requires_grad], "pace": 0.2 if name in slow else 1.0}
            for name, module in modules.items()
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=schedule.peak, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
        self.step, self.spent, self.minutes = 0, 0.0, minutes
        self.history: list[dict[str, float]] = []
        if checkpoint.exists():
            state = torch.load(checkpoint, map_location=device, weights_only=True)
            whole = "optimiser" in state  # weights that were shipped are taken up without one, see `taking_up`
            modules.load_state_dict(state["modules"], strict=whole)
            self.average.load_state_dict(state["average"], strict=whole)
            if whole:
                self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.spent, self.history = state["step"], state["spent"], state["history"]

    def save(self) -> None:
        state = {
            "modules": self.modules.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "spent": self.spent,
            "history": self.history,
        }
        save_atomically(state, self.checkpoint)

    @property
    def progress(self) -> float:
        """How far the training is, 0 to 1."""
        return self.spent / 60 / self.minutes if self.minutes else self.step / self.schedule.steps

    def pace(self) -> float:
        """The learning rate's share of its peak: up over the first twentieth, then down a cosine."""
        progress = min(self.progress, 1.0)
        if progress < 0.05:
            return (progress + 0.002) / 0.052
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (progress - 0.05) / 0.95))

    def run(self, loss_of: LossOf, every: int = 100) -> Iterator[dict[str, float]]:
        """Train to the end of the schedule, yielding each step's losses; saves itself `every` so many steps."""
        trained = [p for group in self.optimiser.param_groups for p in group["params"]]
        while self.progress < 1:
            started = time.monotonic()
            for group in self.optimiser.param_groups:
                group["lr"] = self.schedule.peak * self.pace() * group["pace"]
            with torch.autocast(self.device.type, dtype=torch.bfloat16):
                losses = loss_of(generator_for(self.seed, self.step), self.progress)
            losses["loss"].backward()
            nn.utils.clip_grad_norm_(trained, 1.0)
            self.optimiser.step()
            self.optimiser.zero_grad()
            self._follow()
            self.step += 1
            self.spent += time.monotonic() - started
            row = {name: float(value.detach()) for name, value in losses.items()}
            if not math.isfinite(row["loss"]):
                raise FloatingPointError(f"the loss became {row['loss']} at step {self.step}")
            self.history.append(row)
            if self.step % every == 0 or self.progress >= 1:
                self.save()
            yield row | {"step": self.step, "progress": self.progress}

    @torch.no_grad()
    def _follow(self) -> None:
        """Let the average follow the modules, quickly at first so that the start is soon forgotten."""
        share = 1 - min(self.schedule.ema, (1 + self.step) / (10 + self.step))
        slow, fast = list(self.average.parameters()), list(self.modules.parameters())
        torch._foreach_lerp_(slow, fast, share)
        for kept, now in zip(self.average.buffers(), self.modules.buffers(), strict=True):
            kept.copy_(now)
