"""Pictures as bytes and as tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def to_tensor(pictures: np.ndarray) -> Tensor:
    """Turn bytes [n, h, w, 3] into floats [n, 3, h, w] in -1 … 1."""
    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def to_bytes(pictures: Tensor) -> np.ndarray:
    """Turn floats [n, 3, h, w] in -1 … 1 into bytes [n, h, w, 3]."""
    return pictures.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def edges(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Take the differences of neighbouring pixels, across and down."""
    return pictures.diff(dim=-1), pictures.diff(dim=-2)


def edge_error(one: Tensor, other: Tensor) -> Tensor:
    """Measure how far the edges of two batches are apart."""
    return sum(F.l1_loss(a, b) for a, b in zip(edges(one), edges(other), strict=True))  # type: ignore[return-value]


def colour_error(one: Tensor, other: Tensor) -> Tensor:
    """Measure how far the colours of two batches are apart, whatever their brightness and their edges.

    Red against green is the least part of what drawings differ in, so plain differences teach it last.
    """
    red, green, blue = F.avg_pool2d(one - other, 4).unbind(1)
    return (red - green).abs().mean() + (blue - (red + green) / 2).abs().mean()


def gradient_energy(pictures: Tensor) -> float:
    """Measure sharpness: the mean squared difference of neighbouring pixels."""
    across, down = edges(pictures)
    return float(across.pow(2).mean() + down.pow(2).mean())


def halved(pictures: Tensor) -> Tensor:
    """Reduce pictures to half their size."""
    return F.avg_pool2d(pictures, 2)
