"""How cost grows with size: the exponent of the power law that fits best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LEAST = 1e-6
"""Costs below this are taken for it: a clock that shows nothing has no logarithm."""


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """b of cost = a · size^b, by least squares of the logarithms: 0 does not grow, 1 grows in proportion."""
    sizes, costs = (np.log(np.maximum([point[at] for point in points], LEAST)) for at in (0, 1))
    return round(float(np.polyfit(sizes, costs, 1)[0]), 2) + 0.0
