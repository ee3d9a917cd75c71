"""Choose among pictures by their unit vectors. Nothing is random, and memory grows with the number of candidates.

A row of zeros stands for a picture of which nothing is left to compare: it is like no other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

ROUNDING_ERROR = 1e-6  # what parts equal pictures after float32 arithmetic
MAX_VALUES = 512  # of all factors together; a fit is quadratic in them


def outlier_cut(scores: Sequence[float] | np.ndarray, spread: float, floor: float) -> float:
    """Return the lowest score that is no outlier: median - spread * 1.4826 * MAD, but at least `floor`.

    1.4826 makes the median absolute deviation a standard deviation where scores are normal. It is 0 where more than
    half of them are equal, and then all below would be cut: the mean absolute deviation steps in, with its own 1.2533.
    Equal means as far as float32 can tell.
    """
    scores = np.asarray(scores, np.float64)
    assert np.isfinite(scores).all(), "scores must be numbers"
    if not len(scores):
        return float(floor)
    median = float(np.median(scores))
    deviations = np.sort(np.abs(scores - median))  # sorted, so that their sum does not depend on the order they came in
    deviation = 1.4826 * float(np.median(deviations))
    if deviation <= ROUNDING_ERROR:
        deviation = max(ROUNDING_ERROR, 1.2533 * float(deviations.mean()))
    return max(float(floor), median - spread * deviation)


def project_out(vectors: np.ndarray, nuisance: np.ndarray) -> np.ndarray:
    """Remove from the vectors what lies along any direction of `nuisance`, and scale them to unit length.

    Its rows are directions, such as differences between the vectors of texts that name backgrounds: of any length, any
    number, repeated or implied by others.
    """
    vectors, nuisance = check_vectors(vectors), np.asarray(nuisance, np.float64)
    if not nuisance.size:
        return normalize_vectors(vectors)
    _, strengths, directions = np.linalg.svd(nuisance, full_matrices=False)
    # In float32's precision: a direction weaker than the rounding errors is one of them.
    basis = directions[strengths > strengths[0] * np.finfo(np.float32).eps * max(nuisance.shape)]
    return normalize_vectors(vectors - (vectors @ basis.T) @ basis)


def remove_effects(vectors: np.ndarray, groups: Sequence[Sequence[str]], ridge: float = 1.0) -> np.ndarray:
    """Remove what factors such as scene and framing explain, around the same mean; return unit vectors.

    `groups[f][i]` is what candidate i has of factor f. Each value gets an effect, all fitted together by least squares.
    `ridge` counts as so many candidates without effect: a value that one candidate has alone takes only half of what
    is special about it. Of very many values, the commonest are fitted.
    """
    vectors = check_vectors(vectors)
    assert all(len(values) == len(vectors) for values in groups), "each factor needs one value per candidate"
    assert ridge > 0, "factors that imply each other have no effects of their own without a ridge"
    if not len(vectors) or not groups:
        return normalize_vectors(vectors)
    columns = _indicator_columns(groups)
    columns -= columns.mean(axis=0)  # so the overall mean is nobody's effect
    system = columns.T @ columns + ridge * np.eye(columns.shape[1])
    return normalize_vectors(vectors - columns @ np.linalg.solve(system, columns.T @ (vectors - vectors.mean(axis=0))))


def explained_share(vectors: np.ndarray, values: Sequence[str]) -> float:
    """Return the share of the differences between vectors that one factor explains, beyond what chance puts
    there: about 0 where the factor plays no part, 1 where it is all there is.
    """
    vectors = check_vectors(vectors)
    if len(vectors) < 2:
        return 0.0
    columns = _indicator_columns([values])
    kinds = int(columns.any(axis=0).sum())
    spare = len(vectors) - kinds
    centred = vectors - vectors.mean(axis=0)
    total = float((centred**2).sum())
    if kinds < 2 or spare < 1 or total <= ROUNDING_ERROR:
        return 0.0
    means = columns.T @ centred / np.maximum(columns.sum(axis=0)[:, None], 1)
    within = float(((centred - columns @ means) ** 2).sum())
    return 1 - within / spare * (len(vectors) - 1) / total


def main_directions(vectors: np.ndarray, counts: Sequence[int] = (4, 5, 6, 7, 8)) -> np.ndarray:
    """Return the few directions in which the vectors differ most, around their mean, at unit length again.

    Among some dozens of pictures of a few characters, who it is makes the largest differences, and all the small ones
    together would drown them. How many directions are large is not known: each of `counts` gets the same say.
    """
    vectors = check_vectors(vectors)
    centred = vectors - vectors.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    parts = centred @ directions[:, ::-1][:, : max(counts)]
    return np.concatenate([normalize_vectors(parts[:, :count]) for count in counts], axis=1) / np.sqrt(len(counts))


def central_members(vectors: np.ndarray, share: float, min_members: int) -> np.ndarray:
    """Return the candidates, in ascending order, that make up the `share` nearest to their mean direction.

    What is farthest goes first and the mean is taken anew, so that strays do not decide where the middle is. Fewer
    than `min_members` are never left.
    """
    assert 0 <= share <= 1, "a share lies between 0 and 1"
    vectors = check_vectors(vectors)
    remaining = canonical_order(vectors)
    target = min(len(remaining), max(min_members, ceil(share * len(remaining) - ROUNDING_ERROR)))
    while len(remaining) > target:
        nearness = vectors[remaining] @ normalize_vectors(vectors[remaining].sum(axis=0))
        staying = max(target, len(remaining) - max(1, len(remaining) // 32))  # one at a time would take quadratic time
        remaining = remaining[np.sort(np.argsort(-nearness, kind="stable")[:staying])]
    return np.sort(remaining)


@dataclass(frozen=True)
class DiverseChoice:
    """The chosen items, best first, and the values of each axis that they hold more of than their quota."""

    items: list[int]
    over: list[tuple[str, str]]


def choose_diverse(
    vectors: np.ndarray,
    worth: Sequence[float] | np.ndarray,
    cells: Mapping[str, Sequence[str]],
    keep: int,
    balance: float,
    quotas: Mapping[str, int] | None = None,
    first: Sequence[int] = (),
) -> DiverseChoice:
    """Choose `keep` items by the highest balance * worth - (1 - balance) * similarity to the nearest chosen one.

    The items in `first` are taken before all others, whatever they are.

    `cells[axis][i]` is what item i has on an axis. No value is taken more often than the axis's quota, by default keep
    over the number of its values, rounded up, while anything else can be taken; then what exceeds quotas least is, and
    `over` says so. The first of equals wins.
    """
    assert 0 <= balance <= 1, "balance lies between 0 and 1"
    assert all(len(values) == len(vectors) for values in [worth, *cells.values()]), "each item needs one value"
    assert set(quotas or {}) <= set(cells), "a quota is for an axis that the items have"
    vectors, worth = check_vectors(vectors), np.asarray(worth, np.float64)
    assert np.isfinite(worth).all(), "worth must be numbers"
    axes = [_AxisQuota(name, values, keep, (quotas or {}).get(name)) for name, values in cells.items()]
    closest = np.zeros(len(vectors))
    available = np.ones(len(vectors), bool)
    items: list[int] = []
    while available.any() and len(items) < keep:
        excess = sum((axis.quota_excess() for axis in axes), np.zeros(len(vectors), np.intp))
        # Rounded: equal pictures differ in their last bits by where they stand in a product.
        value = np.round(balance * worth - (1 - balance) * closest, 9)
        best = int(np.where(available & (excess == excess[available].min()), value, -np.inf).argmax())
        best = first[len(items)] if len(items) < len(first) else best
        similarity = vectors @ vectors[best]
        closest = np.maximum(closest, similarity) if items else similarity
        available[best] = False
        items.append(best)
        for axis in axes:
            axis.count_item(best)
    return DiverseChoice(items, [pair for axis in axes for pair in axis.values_over_quota()])


class _AxisQuota:
    """Counts how often each value of one axis was taken, against its quota."""

    def __init__(self, name: str, values: Sequence[str], keep: int, quota: int | None) -> None:
        self.name = name
        self.values, self.codes = np.unique(np.asarray(values, str), return_inverse=True)
        self.quota = ceil(keep / max(1, len(self.values))) if quota is None else quota
        self.taken = np.zeros(len(self.values), np.intp)

    def count_item(self, item: int) -> None:
        self.taken[self.codes[item]] += 1

    def quota_excess(self) -> np.ndarray:
        """Return by how much each item, if it were taken next, would exceed the quota of its value."""
        return np.maximum(0, self.taken + 1 - self.quota)[self.codes]

    def values_over_quota(self) -> list[tuple[str, str]]:
        return [(self.name, str(value)) for value in self.values[self.taken > self.quota]]


def mean_pairwise(vectors: np.ndarray) -> float:
    """Return the mean similarity over all pairs of unit vectors, 1 if there is no pair."""
    if len(vectors) < 2:
        return 1.0
    vectors = check_vectors(vectors)
    total = vectors.sum(axis=0)
    return float((total @ total - np.vdot(vectors, vectors)) / (len(vectors) * (len(vectors) - 1)))


def effective_size(vectors: np.ndarray) -> float:
    """Return how many different pictures these amount to, 1 to n: the Vendi score (arXiv 2210.02410)."""
    if not len(vectors):
        return 0.0
    vectors = check_vectors(vectors)
    # Both products have the same eigenvalues but for zeros; the smaller one is at most d x d.
    shares = np.linalg.eigvalsh(vectors.T @ vectors if len(vectors) > vectors.shape[1] else vectors @ vectors.T)
    shares = shares[shares > 0] / shares[shares > 0].sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def check_vectors(vectors: np.ndarray) -> np.ndarray:
    vectors = np.asarray(vectors, np.float64)
    assert vectors.ndim == 2 and np.isfinite(vectors).all(), "vectors must be rows of numbers"
    return vectors


def normalize_vectors(vectors: np.ndarray) -> np.ndarray:
    """Scale to unit length; a vector no longer than rounding errors has no direction and becomes zeros."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > ROUNDING_ERROR)


def canonical_order(vectors: np.ndarray) -> np.ndarray:
    """Return an order that follows from the vectors alone, so that the input's order plays no part."""
    return np.lexsort(vectors.T) if vectors.size else np.arange(len(vectors))


def _indicator_columns(groups: Sequence[Sequence[str]]) -> np.ndarray:
    """Return a column of ones and zeros for each value of each factor: which items have it."""
    codes: list[np.ndarray] = []
    for values in groups:
        first = codes[-1].max() + 1 if codes else 0
        codes.append(first + np.unique(np.asarray(values, str), return_inverse=True)[1])
    common = np.argsort(-np.bincount(np.concatenate(codes)), kind="stable")[:MAX_VALUES]
    columns = np.zeros((len(groups[0]), len(common)))
    for code in codes:
        columns += code[:, None] == common
    return columns
