"""Draw the pictures, times and noise of a step. Everything follows from the seed, the step and the place in it.

A place counts the pictures of a step through all its batches. So neither stopping, nor cutting a step into other batches,
nor sharing them out among processes changes what a place draws. Nothing here touches torch's own random state.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from models.inversion.config import Config


class DrawKey(NamedTuple):
    """One picture of one step."""

    step: int
    place: int
    places: int  # in a step


def generator_for(*parts: object) -> torch.Generator:
    """Return a generator on the CPU that follows from these parts, and from nothing else."""
    digest = hashlib.sha256("\n".join(str(part) for part in parts).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))


def draw_keys(config: Config, step: int, micro: int, rank: int = 0, processes: int = 1) -> list[DrawKey]:
    """Return the keys of this process's rows of a batch."""
    share = config.batch // processes
    first = micro * config.batch + rank * share
    return [DrawKey(step, first + row, config.batch * config.accumulation) for row in range(share)]


def draw_example(seed: int, key: DrawKey, count: int) -> int:
    """Draw the picture: each one once, in shuffled order, before any is repeated."""
    round_, place = divmod(key.step * key.places + key.place, count)
    return int(torch.randperm(count, generator=generator_for(seed, "order", round_))[place])


def draw_timestep(seed: int, key: DrawKey, times: int) -> int:
    """Draw a stratified time: each place of a step has an equal part of all times, for less noisy gradients."""
    part = int(torch.randperm(key.places, generator=generator_for(seed, "parts", key.step))[key.place])
    within = float(torch.rand((), generator=generator_for(seed, "time", *key)))
    return min(int((part + within) * times / key.places), times - 1)


def draw_version(seed: int, key: DrawKey, count: int) -> int:
    """Draw one of the cut and mirrored versions of the picture."""
    return int(torch.randint(count, (), generator=generator_for(seed, "version", *key)))


def draw_noise(seed: int, key: DrawKey, shape: tuple[int, ...], offset: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw the point in the VAE's posterior, and the noise to predict: two of [C, h, w]."""
    generator = generator_for(seed, "noise", *key)
    posterior, plain = torch.randn((2, *shape), generator=generator)
    if offset:
        plain = plain + offset * torch.randn((shape[0], 1, 1), generator=generator)
    return posterior, plain
