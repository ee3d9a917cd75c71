"""Moving the vectors within their range, and what the optimizer remembers of the steps before."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from models.inversion import vectors as inversion_words

if TYPE_CHECKING:
    from models.inversion.checkpoint import Saved
    from models.inversion.config import Config


class AdamMini(torch.optim.Optimizer):
    """Adam with one step size for each vector in place of each of its numbers (arXiv 2406.16793), momentum in bf16.

    It remembers a quarter of what AdamW does, and for words it learns as well. Rounding is a part of the algorithm, so what
    is put away and brought back is exact.
    """

    EPSILON = 1e-8

    def __init__(self, tables: list[torch.nn.Parameter], betas: tuple[float, float]) -> None:
        super().__init__(tables, {"lr": 1e-3, "betas": betas})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            first, second = group["betas"]
            for table in group["params"]:
                kept = self.state[table]
                if not kept:
                    kept["step"] = torch.zeros(())
                    kept["momentum"] = torch.zeros_like(table, dtype=torch.bfloat16)
                    kept["square"] = torch.zeros_like(table[:, :1])
                kept["step"] += 1
                count = float(kept["step"])  # on the CPU: nothing is waited for
                kept["momentum"].copy_(kept["momentum"].float().lerp(table.grad, 1 - first))
                kept["square"].lerp_(table.grad.square().mean(dim=1, keepdim=True), 1 - second)
                size = (kept["square"] / (1 - second**count)).sqrt_().add_(self.EPSILON)
                table.sub_(kept["momentum"].float() / size, alpha=group["lr"] / (1 - first**count))


class Memory:
    """An optimizer whose memory can be put away and brought back to the bit."""

    def __init__(
        self, tables: Sequence[torch.nn.Parameter], config: Config, bands: Sequence[inversion_words.Band] | None
    ) -> None:
        self._tables, self._bands, self._waits = list(tables), bands, config.optimizer == "prodigy"
        self._optimizer = _make(self._tables, config)

    def update(self, rate: float, good: torch.Tensor) -> None:
        """One step at this rate. Where `good` (a truth on the device) is false, everything stays as it was."""
        if self._waits and not bool(good):
            return  # it reads its numbers from the GPU in every step anyway
        before = {key: tensor.clone() for key, tensor in self._tensors()}
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        with torch.no_grad():
            inversion_words.keep_norms(self._tables, self._bands)
            for key, tensor in self._tensors():
                # Nobody looks at `good` here, which would have to wait for it.
                tensor.copy_(torch.where(good, tensor, before.get(key, torch.zeros_like(tensor))))

    def _tensors(self) -> list[tuple[tuple[int, str], torch.Tensor]]:
        """The vectors and all that is remembered of them on the device, each by a name."""
        found = [((place, ""), table.data) for place, table in enumerate(self._tables)]
        for place, table in enumerate(self._tables):
            kept = self._optimizer.state.get(table, {})
            found += [((place, name), kept[name]) for name in kept if torch.is_tensor(kept[name]) and name != "step"]
        return found

    def kept(self, step: int) -> tuple[list[dict[str, torch.Tensor]], dict[str, Any]]:
        """Tensors for each table, and plain numbers. `step` is the last good one."""
        tensors, states = [], []
        for table in self._tables:
            kept = self._optimizer.state.get(table, {})
            tensors.append({name: value for name, value in kept.items() if torch.is_tensor(value) and name != "step"})
            states.append({name: value for name, value in kept.items() if not torch.is_tensor(value)})
        group = {name: value for name, value in self._optimizer.param_groups[0].items() if _is_number(value)}
        return tensors, {"step": step, "states": states, "group": group}

    def restore(self, saved: Saved) -> None:
        if not saved.step:
            return
        for group in self._optimizer.param_groups:
            group |= saved.numbers["group"]
        for table, tensors, numbers in zip(self._tables, saved.memory, saved.numbers["states"], strict=True):
            kept = {name: tensor.to(table.device) for name, tensor in tensors.items()}
            # AdamW counts in a tensor on the CPU, Prodigy in a plain number, which is among the others.
            self._optimizer.state[table] = {"step": torch.tensor(float(saved.step)), **kept, **numbers}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _make(tables: list[torch.nn.Parameter], config: Config) -> torch.optim.Optimizer:
    if config.optimizer == "prodigy":
        return importlib.import_module("prodigyopt").Prodigy(tables, betas=config.betas, weight_decay=0)
    if config.optimizer == "adam-mini":
        return AdamMini(tables, config.betas)
    # Weight decay would pull the word towards nothing.
    return torch.optim.AdamW(tables, betas=config.betas, weight_decay=0.0)
