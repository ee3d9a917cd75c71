"""Groups of unit vectors that are like each other, and the most cohesive of them. No chance in it, and memory grows with their
number only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.scoring.statistics import ROUNDING_ERROR, canonical_order, check_vectors, mean_pairwise, normalize_vectors

BLOCK_ROWS = 256  # of a similarity matrix, held at a time
MAX_PASSES = 30  # of k-means
CLUSTER_COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)  # of clusters, all of them tried
MIN_GAP = 1.25  # times the radius of a group: where nobody else is, if it is all of a group
COHESION_SLACK = 1.25  # times the dissimilarity of a group: what chance makes of the difference to its half


@dataclass(frozen=True)
class Cluster:
    """The candidates most like each other, out of all that are enough to be a cluster."""

    members: np.ndarray  # in ascending order; empty where no cluster has enough
    cohesion: float  # their mean pairwise similarity; 0 where there are none
    sizes: tuple[int, ...]  # of all clusters they were found among, without strays, largest first
    similarity: np.ndarray  # of every candidate to the members' mean; 0 where there are none


def find_cluster(vectors: np.ndarray, min_members: int, spread: float = 2.0) -> Cluster:
    """Find the most cohesive cluster of `min_members` or more, as in The Chosen One (arXiv 2311.10093).

    Spherical k-means with several k. What is `spread` times as far from its cluster's mean as the median member is a
    stray and does not count. Part of a group is always more alike than the group: of the clusters that hold most of
    the best one, one with a gap around it is taken, or else the largest that is nearly as cohesive.
    """
    assert min_members >= 2 and spread >= 1, "a cluster has two members or more, and keeps half of them or more"
    vectors = check_vectors(vectors)
    order = canonical_order(vectors)
    points = vectors[order]
    density = _neighbour_density(points, min_members)
    seeds = _choose_seeds(points, density)
    parts_of_all: list[_TrimmedCluster] = []
    for count in [count for count in CLUSTER_COUNTS if count <= len(seeds)]:
        labels = _k_means(points, points[seeds[:count]])
        cells = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        parts = [cell[_trim_strays(points[cell], density[cell], min_members, spread)] for cell in cells]
        sizes = tuple(sorted((len(part) for part in parts), reverse=True))
        parts_of_all += [_TrimmedCluster(part, mean_pairwise(points[part]), sizes) for part in parts]
    enough = [part for part in parts_of_all if len(part.members) >= min_members]
    if not enough:
        sizes = max((part.sizes for part in parts_of_all), key=lambda sizes: sizes[0], default=())
        return Cluster(np.zeros(0, np.intp), 0.0, sizes, np.zeros(len(vectors)))
    best = _most_cohesive(points, enough)
    similarity = np.clip(vectors @ normalize_vectors(points[best.members].sum(axis=0)), -1.0, 1.0)
    return Cluster(np.sort(order[best.members]), best.cohesion, best.sizes, similarity)


@dataclass(frozen=True)
class _TrimmedCluster:
    """One cluster of one k-means: its members without strays, and how many its neighbours have."""

    members: np.ndarray
    cohesion: float
    sizes: tuple[int, ...]


def _choose_seeds(points: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Choose where clusters may start: at the densest point, then at the one farthest from all before.

    Only points in the denser half count, or strays, which are far from everything, would get most of the clusters.
    """
    if not len(points):
        return np.zeros(0, np.intp)
    dense = density >= np.median(density)
    seeds = [int(density.argmax())]
    closest = points @ points[seeds[0]]
    while len(seeds) < CLUSTER_COUNTS[-1]:
        farthest = int(np.where(dense, closest, np.inf).argmin())
        if closest[farthest] >= 1 - ROUNDING_ERROR or farthest in seeds:
            break
        seeds.append(farthest)
        closest = np.maximum(closest, points @ points[farthest])
    return np.asarray(seeds)


def _neighbour_density(points: np.ndarray, min_members: int) -> np.ndarray:
    """Return the similarity of each point to the last of its `min_members` nearest points, itself included."""
    points = points.astype(np.float32)  # it only ranks them, in half the time
    last = max(0, len(points) - min_members)
    density = np.zeros(len(points), np.float32)
    for start in range(0, len(points), BLOCK_ROWS):
        block = points[start : start + BLOCK_ROWS] @ points.T
        density[start : start + BLOCK_ROWS] = np.partition(block, last, axis=1)[:, last]
    return density


def _k_means(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return each point's cluster. A cluster that loses all its points keeps its centre."""
    labels = np.full(len(points), -1)
    for _ in range(MAX_PASSES):
        before, labels = labels, (points @ centres.T).argmax(axis=1)
        if (labels == before).all():
            break
        members = labels[:, None] == np.arange(len(centres))
        centres = np.where(
            members.any(axis=0)[:, None], normalize_vectors(members.T.astype(points.dtype) @ points), centres
        )
    return labels


def _trim_strays(cell: np.ndarray, density: np.ndarray, min_members: int, spread: float) -> np.ndarray:
    """Tell which points of a cell are not strays, from the densest outwards: strays would move a mean of all."""
    inner = np.zeros(len(cell), bool)
    inner[np.argsort(-(cell @ cell[density.argmax()]), kind="stable")[:min_members]] = True
    for outwards in (True, False):  # one after the other, so that each must end
        before = np.zeros(0, bool)
        while not np.array_equal(before, inner):
            before = inner
            distances = _distances_to_mean(cell, inner)
            near = distances <= spread * _outsider_factor(inner.sum()) * np.median(distances[inner]) + ROUNDING_ERROR
            inner = inner | near if outwards else inner & near
    return inner


def _distances_to_mean(points: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Measure how far each point is from the members' mean direction; orthogonal points are 1.41 apart."""
    return np.sqrt(np.maximum(0, 2 - 2 * (points @ normalize_vectors(points[members].sum(axis=0)))))


def _outsider_factor(count: int) -> float:
    """Return how much farther from a mean other points of a group lie than those the mean was taken of."""
    return float(np.sqrt((count + 1) / max(1, count - 1)))


def _most_cohesive(points: np.ndarray, parts: Sequence[_TrimmedCluster]) -> _TrimmedCluster:
    best = max(parts, key=lambda part: part.cohesion)
    around = [part for part in parts if 2 * np.isin(best.members, part.members).sum() > len(best.members)]
    if apart := [part for part in around if _is_apart(points, part.members)]:
        return max(apart, key=lambda part: (part.cohesion, len(part.members)))
    cohesive = 1 - COHESION_SLACK * (1 - best.cohesion) - ROUNDING_ERROR
    return max((part for part in around if part.cohesion >= cohesive), key=lambda part: len(part.members))


def _is_apart(points: np.ndarray, members: np.ndarray) -> bool:
    """Tell whether a gap separates all other points from the members."""
    distances = _distances_to_mean(points, members)
    others = np.delete(distances, members)
    radius = _outsider_factor(len(members)) * float(distances[members].max())
    return len(others) > 0 and float(others.min()) > MIN_GAP * radius + ROUNDING_ERROR
