"""What is drawn in a step: pictures, times, noise. All of it follows from the seed, the step and the place in the step.

A place counts the pictures of a step through all its batches. So neither stopping, nor cutting a step into other batches,
nor sharing them out among processes changes what a place draws. Nothing here touches torch's own random state.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from models.inversion.config import Config


class Place(NamedTuple):
    """One picture of one step."""

    step: int
    place: int
    places: int  # in a step


def derived(*parts: object) -> torch.Generator:
    """A generator on the CPU that follows from these parts, and from nothing else."""
    digest = hashlib.sha256("\n".join(str(part) for part in parts).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))


def places(config: Config, step: int, micro: int, rank: int = 0, processes: int = 1) -> list[Place]:
    """This process's rows of a batch."""
    share = config.batch // processes
    first = micro * config.batch + rank * share
    return [Place(step, first + row, config.batch * config.accumulation) for row in range(share)]


def example(seed: int, at: Place, count: int) -> int:
    """Which picture: every one once, in shuffled order, before any comes again."""
    round_, place = divmod(at.step * at.places + at.place, count)
    return int(torch.randperm(count, generator=derived(seed, "order", round_))[place])


def timestep(seed: int, at: Place, times: int) -> int:
    """Stratified: each place of a step has its own equal part of all times, which makes gradients less noisy."""
    part = int(torch.randperm(at.places, generator=derived(seed, "parts", at.step))[at.place])
    within = float(torch.rand((), generator=derived(seed, "time", *at)))
    return min(int((part + within) * times / at.places), times - 1)


def version(seed: int, at: Place, count: int) -> int:
    """Which of the cut and mirrored versions of the picture."""
    return int(torch.randint(count, (), generator=derived(seed, "version", *at)))


def noise(seed: int, at: Place, shape: tuple[int, ...], offset: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Where in the VAE's posterior, and the noise to find: two of [C, h, w]."""
    generator = derived(seed, "noise", *at)
    posterior, plain = torch.randn((2, *shape), generator=generator)
    if offset:
        plain = plain + offset * torch.randn((shape[0], 1, 1), generator=generator)
    return posterior, plain
