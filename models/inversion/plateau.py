"""Tell when a training has nothing more to learn: DVAR (arXiv 2302.04841) on losses with fixed noise."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import pvariance


@dataclass
class Plateau:
    """Stops when the last validation losses vary little, measured against all of them.

    Fed with `add_loss`. To go on after a stop, make one with the `losses` of before.
    """

    threshold: float = 0.15
    """The share of the whole variance that the last losses may still have."""
    window: int = 20
    """How many of the last losses are looked at."""
    minimum: int = 200
    """Never stop before this step."""
    losses: list[tuple[int, float]] = field(default_factory=list)
    """Step and loss, as they came."""

    def add_loss(self, step: int, loss: float) -> bool:
        """Add the loss of a step; return True when it is time to stop."""
        self.losses.append((step, loss))
        return step >= self.minimum and (share := self.variance_share) is not None and share < self.threshold

    @property
    def variance_share(self) -> float | None:
        """Return the window's variance over that of all losses, or None with no more losses than the window."""
        values = [loss for _, loss in self.losses]
        if len(values) <= self.window:
            return None
        whole = pvariance(values)
        return pvariance(values[-self.window :]) / whole if whole else 0.0  # what never moves has arrived
