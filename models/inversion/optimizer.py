"""Move the vectors within their range, and keep the optimizer's state between steps."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from models.inversion import vectors as inversion_words

if TYPE_CHECKING:
    from models.inversion.checkpoint import Checkpoint
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
                state = self.state[table]
                if not state:
                    state["step"] = torch.zeros(())
                    state["momentum"] = torch.zeros_like(table, dtype=torch.bfloat16)
                    state["square"] = torch.zeros_like(table[:, :1])
                state["step"] += 1
                count = float(state["step"])  # on the CPU: nothing is waited for
                state["momentum"].copy_(state["momentum"].float().lerp(table.grad, 1 - first))
                state["square"].lerp_(table.grad.square().mean(dim=1, keepdim=True), 1 - second)
                size = (state["square"] / (1 - second**count)).sqrt_().add_(self.EPSILON)
                table.sub_(state["momentum"].float() / size, alpha=group["lr"] / (1 - first**count))


class OptimizerState:
    """An optimizer whose state can be saved and restored to the bit."""

    def __init__(
        self, tables: Sequence[torch.nn.Parameter], config: Config, bands: Sequence[inversion_words.Band] | None
    ) -> None:
        self._tables, self._bands, self._waits = list(tables), bands, config.optimizer == "prodigy"
        self._optimizer = _new_optimizer(self._tables, config)

    def update_vectors(self, rate: float, good: torch.Tensor) -> None:
        """Make one step at this rate. Where `good` (a truth on the device) is false, everything stays as it was."""
        if self._waits and not bool(good):
            return  # it reads its numbers from the GPU in every step anyway
        before = {key: tensor.clone() for key, tensor in self._named_tensors()}
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        with torch.no_grad():
            inversion_words.keep_norms(self._tables, self._bands)
            for key, tensor in self._named_tensors():
                # Nobody looks at `good` here, which would have to wait for it.
                tensor.copy_(torch.where(good, tensor, before.get(key, torch.zeros_like(tensor))))

    def _named_tensors(self) -> list[tuple[tuple[int, str], torch.Tensor]]:
        """List the vectors and the optimizer's tensors on the device, each with a name."""
        tensors = [((place, ""), table.data) for place, table in enumerate(self._tables)]
        for place, table in enumerate(self._tables):
            state = self._optimizer.state.get(table, {})
            tensors += [
                ((place, name), state[name]) for name in state if torch.is_tensor(state[name]) and name != "step"
            ]
        return tensors

    def export_state(self, step: int) -> tuple[list[dict[str, torch.Tensor]], dict[str, Any]]:
        """Return the tensors of each table, and plain numbers. `step` is the last good one."""
        tensors, states = [], []
        for table in self._tables:
            state = self._optimizer.state.get(table, {})
            tensors.append({name: value for name, value in state.items() if torch.is_tensor(value) and name != "step"})
            states.append({name: value for name, value in state.items() if not torch.is_tensor(value)})
        group = {name: value for name, value in self._optimizer.param_groups[0].items() if _is_number(value)}
        return tensors, {"step": step, "states": states, "group": group}

    def restore_state(self, saved: Checkpoint) -> None:
        if not saved.step:
            return
        for group in self._optimizer.param_groups:
            group |= saved.numbers["group"]
        for table, tensors, numbers in zip(self._tables, saved.memory, saved.numbers["states"], strict=True):
            state = {name: tensor.to(table.device) for name, tensor in tensors.items()}
            # AdamW counts in a tensor on the CPU, Prodigy in a plain number, which is among the others.
            self._optimizer.state[table] = {"step": torch.tensor(float(saved.step)), **state, **numbers}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _new_optimizer(tables: list[torch.nn.Parameter], config: Config) -> torch.optim.Optimizer:
    if config.optimizer == "prodigy":
        return importlib.import_module("prodigyopt").Prodigy(tables, betas=config.betas, weight_decay=0)
    if config.optimizer == "adam-mini":
        return AdamMini(tables, config.betas)
    # Weight decay would pull the word towards nothing.
    return torch.optim.AdamW(tables, betas=config.betas, weight_decay=0.0)
