"""The optimiser: orthogonal updates for matrices (Muon), AdamW for everything else.

Muon (Keller Jordan 2024; scale after arXiv 2502.16982, so that one learning rate suits both halves) takes a step of equal
size in every direction that a matrix can move in. On two slow cores that is worth its few percent of time.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

LEAST_SIDE = 16
"""Matrices narrower than this are left to AdamW."""


def orthogonal(matrix: Tensor, rounds: int = 5) -> Tensor:
    """Bring all singular values near 1, by Newton-Schulz.

    Every round multiplies from the left by a polynomial of the small square `x @ x.T`, so the rounds need that square only, and
    the wide matrix itself is multiplied once, at the end.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    square = x @ x.T
    whole = torch.eye(len(square), dtype=x.dtype, device=x.device)
    for _ in range(rounds):
        factor = torch.addmm(square, square, square, beta=-4.7750, alpha=2.0315)
        factor.diagonal().add_(3.4445)
        whole = factor @ whole
        square = factor @ square @ factor
    x = whole @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """AdamW, except that groups with `orthogonal` take Muon's steps."""

    def __init__(self, groups: list[dict], lr: float, weight_decay: float = 0.01) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay, "orthogonal": False})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter by one step."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            if group["orthogonal"]:
                self._step_matrices(parameters, group["lr"], group["weight_decay"])
            else:
                self._step_adam(parameters, group["lr"], group["weight_decay"])

    def _step_matrices(self, parameters: list[Tensor], lr: float, decay: float) -> None:
        for p in parameters:
            state = self.state[p]
            if not state:
                state["momentum"] = torch.zeros_like(p)
            state["momentum"].lerp_(p.grad, 0.05)  # type: ignore[arg-type]
            ahead = p.grad.lerp(state["momentum"], 0.95)  # type: ignore[union-attr]
            flat = ahead.flatten(1)
            update = orthogonal(flat) * (0.2 * max(flat.shape) ** 0.5)
            p.mul_(1 - lr * decay).add_(update.view_as(p), alpha=-lr)

    def _step_adam(self, parameters: list[Tensor], lr: float, decay: float) -> None:
        for p in parameters:
            state = self.state[p]
            if not state:
                state["mean"], state["square"] = torch.zeros_like(p), torch.zeros_like(p)
                state["step"] = torch.zeros(())
            state["step"] += 1
        means = [self.state[p]["mean"] for p in parameters]
        squares = [self.state[p]["square"] for p in parameters]
        grads = [p.grad for p in parameters]
        torch._foreach_lerp_(means, grads, 0.1)  # type: ignore[arg-type]
        torch._foreach_mul_(squares, 0.98)
        torch._foreach_addcmul_(squares, grads, grads, 0.02)  # type: ignore[arg-type]
        count = float(self.state[parameters[0]]["step"])
        roots = torch._foreach_sqrt(squares)
        torch._foreach_div_(roots, (1 - 0.98**count) ** 0.5)
        torch._foreach_add_(roots, 1e-8)
        torch._foreach_mul_(parameters, 1 - lr * decay)
        torch._foreach_addcdiv_(parameters, means, roots, -lr / (1 - 0.9**count))


def grouped(modules: Iterable[tuple[str, nn.Module]], muon: bool, slow: tuple[str, ...]) -> list[dict]:
    """Sort trained parameters into groups; those of the modules named in `slow` move at a fifth of the rate."""
    groups = []
    for name, module in modules:
        pace = 0.2 if name in slow else 1.0
        trained = [(label, p) for label, p in module.named_parameters() if p.requires_grad]
        tables = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
        matrix = [
            p
            for _, p in trained
            if muon and p.ndim > 1 and min(p.flatten(1).shape) >= LEAST_SIDE and id(p) not in tables
        ]
        chosen = {id(p) for p in matrix}
        others = [p for _, p in trained if id(p) not in chosen]
        groups += [
            {"params": ps, "pace": pace, "orthogonal": flag} for ps, flag in ((matrix, True), (others, False)) if ps
        ]
    return groups
