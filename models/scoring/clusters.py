"""Groups of unit vectors that are like each other, and the most cohesive of them. No chance in it, and memory grows with their
number only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.scoring.statistics import NOISE, checked, mean_pairwise, own_order, unit

ROWS = 256  # of a similarity matrix, held at a time
PASSES = 30  # of k-means
COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)  # of clusters, all of them tried
GAP = 1.25  # times the radius of a group: where nobody else is, if it is all of a group
SLACK = 1.25  # times the dissimilarity of a group: what chance makes of the difference to its half


@dataclass(frozen=True)
class Cluster:
    """The candidates most like each other, out of all that are enough to be a cluster."""

    members: np.ndarray  # in ascending order; empty where no cluster has enough
    cohesion: float  # their mean pairwise similarity; 0 where there are none
    sizes: tuple[int, ...]  # of all clusters they were found among, without strays, largest first
    similarity: np.ndarray  # of every candidate to the members' mean; 0 where there are none


def cluster(vectors: np.ndarray, least: int, spread: float = 2.0) -> Cluster:
    """The most cohesive cluster of at least `least` members, in the spirit of The Chosen One (arXiv 2311.10093).

    Spherical k-means with several k. What is `spread` times as far from its cluster's mean as the median member is a
    stray and does not count. Part of a group is always more alike than the group: of the clusters that hold most of
    the best one, one with a gap around it is taken, or else the largest that is nearly as cohesive.
    """
    assert least >= 2 and spread >= 1, "a cluster has two members or more, and keeps half of them or more"
    vectors = checked(vectors)
    order = own_order(vectors)
    points = vectors[order]
    density = _density(points, least)
    seeds = _seeds(points, density)
    found: list[_Part] = []
    for count in [count for count in COUNTS if count <= len(seeds)]:
        labels = _k_means(points, points[seeds[:count]])
        cells = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        parts = [cell[_trimmed(points[cell], density[cell], least, spread)] for cell in cells]
        sizes = tuple(sorted((len(part) for part in parts), reverse=True))
        found += [_Part(part, mean_pairwise(points[part]), sizes) for part in parts]
    enough = [part for part in found if len(part.members) >= least]
    if not enough:
        sizes = max((part.sizes for part in found), key=lambda sizes: sizes[0], default=())
        return Cluster(np.zeros(0, np.intp), 0.0, sizes, np.zeros(len(vectors)))
    chosen = _most_cohesive(points, enough)
    similarity = np.clip(vectors @ unit(points[chosen.members].sum(axis=0)), -1.0, 1.0)
    return Cluster(np.sort(order[chosen.members]), chosen.cohesion, chosen.sizes, similarity)


@dataclass(frozen=True)
class _Part:
    """One cluster of one k-means: its members without strays, and how many its neighbours have."""

    members: np.ndarray
    cohesion: float
    sizes: tuple[int, ...]


def _seeds(points: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Where clusters may start: at the densest point, then each time at the one farthest from all before.

    Only points in the denser half count, or strays, which are far from everything, would get most of the clusters.
    """
    if not len(points):
        return np.zeros(0, np.intp)
    dense = density >= np.median(density)
    seeds = [int(density.argmax())]
    closest = points @ points[seeds[0]]
    while len(seeds) < COUNTS[-1]:
        farthest = int(np.where(dense, closest, np.inf).argmin())
        if closest[farthest] >= 1 - NOISE or farthest in seeds:
            break
        seeds.append(farthest)
        closest = np.maximum(closest, points @ points[farthest])
    return np.asarray(seeds)


def _density(points: np.ndarray, least: int) -> np.ndarray:
    """How near the last of the `least` nearest points is, each counting itself."""
    points = points.astype(np.float32)  # it only ranks them, in half the time
    last = max(0, len(points) - least)
    density = np.zeros(len(points), np.float32)
    for start in range(0, len(points), ROWS):
        block = points[start : start + ROWS] @ points.T
        density[start : start + ROWS] = np.partition(block, last, axis=1)[:, last]
    return density


def _k_means(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Each point's cluster. One that loses all its points keeps its centre."""
    labels = np.full(len(points), -1)
    for _ in range(PASSES):
        before, labels = labels, (points @ centres.T).argmax(axis=1)
        if (labels == before).all():
            break
        members = labels[:, None] == np.arange(len(centres))
        centres = np.where(members.any(axis=0)[:, None], unit(members.T.astype(points.dtype) @ points), centres)
    return labels


def _trimmed(cell: np.ndarray, density: np.ndarray, least: int, spread: float) -> np.ndarray:
    """Which points of a cell are no strays, found outwards from the densest: a mean of all would be dragged to them."""
    inner = np.zeros(len(cell), bool)
    inner[np.argsort(-(cell @ cell[density.argmax()]), kind="stable")[:least]] = True
    for outwards in (True, False):  # one after the other, so that each must end
        before = np.zeros(0, bool)
        while not np.array_equal(before, inner):
            before = inner
            distances = _distances(cell, inner)
            near = distances <= spread * _others(inner.sum()) * np.median(distances[inner]) + NOISE
            inner = inner | near if outwards else inner & near
    return inner


def _distances(points: np.ndarray, members: np.ndarray) -> np.ndarray:
    """How far each point is from the members' mean direction; orthogonal ones are 1.41 apart."""
    return np.sqrt(np.maximum(0, 2 - 2 * (points @ unit(points[members].sum(axis=0)))))


def _others(count: int) -> float:
    """How many times as far from a mean as those it was taken of are others of the same group."""
    return float(np.sqrt((count + 1) / max(1, count - 1)))


def _most_cohesive(points: np.ndarray, parts: Sequence[_Part]) -> _Part:
    best = max(parts, key=lambda part: part.cohesion)
    around = [part for part in parts if 2 * np.isin(best.members, part.members).sum() > len(best.members)]
    if apart := [part for part in around if _is_apart(points, part.members)]:
        return max(apart, key=lambda part: (part.cohesion, len(part.members)))
    cohesive = 1 - SLACK * (1 - best.cohesion) - NOISE
    return max((part for part in around if part.cohesion >= cohesive), key=lambda part: len(part.members))


def _is_apart(points: np.ndarray, members: np.ndarray) -> bool:
    """Whether a gap parts all others from the members."""
    distances = _distances(points, members)
    others = np.delete(distances, members)
    radius = _others(len(members)) * float(distances[members].max())
    return len(others) > 0 and float(others.min()) > GAP * radius + NOISE
