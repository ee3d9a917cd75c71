"""Measures a picture without a model: whether it is blank, blurred, too dark, or nearly equal to another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from models.picture.reading import convert_to_rgb

SHARPNESS_SIDE = 128  # the short side at which sharpness is measured; small enough for drawings of the toybox
MAX_DARK_LEVEL, MIN_BRIGHT_LEVEL = 4, 251  # pixels up to the first luminance, and from the second, show no detail
FLAT_VARIANCE = 1.0  # added to the variance of luminance, so that rounding in a blank picture does not count as detail
HASH_SIDE = 32
HASH_BITS = 64


@dataclass(frozen=True)
class Quality:
    """Measures of one picture. None depends on its size, so pictures of 128 and 1024 pixels have the same limits."""

    spread: float  # standard deviation of luminance, 0 to 127.5; near 0 the picture is blank
    sharpness: float  # fine detail against contrast: near 0 a smooth blur, 20 pure noise
    dark: float  # share of pixels crushed to black
    bright: float  # share of pixels blown to white
    width: int
    height: int


def measure_quality(image: Image.Image) -> Quality:
    """Measure a picture; transparent pixels count as white, as publishers show them."""
    grey = convert_to_rgb(image).convert("L")
    levels = np.arange(256)
    shares = np.asarray(grey.histogram()) / (grey.width * grey.height)
    mean = float(shares @ levels)
    return Quality(
        spread=float(np.sqrt(shares @ (levels - mean) ** 2)),
        sharpness=_measure_sharpness(grey),
        dark=float(shares[: MAX_DARK_LEVEL + 1].sum()),
        bright=float(shares[MIN_BRIGHT_LEVEL:].sum()),
        width=image.width,
        height=image.height,
    )


def perceptual_hash(image: Image.Image) -> int:
    """Return 64 bits, nearly equal for near copies: whether each of the lowest waves of luminance exceeds their median.

    Size, format, brightness and light retouching change few bits. Colour has no effect.
    """
    small = convert_to_rgb(image).convert("L").resize((HASH_SIDE, HASH_SIDE), Image.Resampling.LANCZOS)
    waves = _cosine_matrix() @ np.asarray(small, np.float64) @ _cosine_matrix().T
    # Rounded, so that rounding errors do not decide in a flat picture, where every wave is zero.
    low = np.round(waves[_lowest_waves()], 3)
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def hamming_distances(hashes: Sequence[int], rows: int = 256) -> Iterator[tuple[int, np.ndarray]]:
    """Count the bits in which each hash differs from those before it, in blocks, each with the number of its first row.

    A block is [rows, first row + rows]: the whole matrix would take too much memory.
    """
    numbers = np.asarray(hashes, np.uint64)
    for start in range(0, len(numbers), rows):
        block = numbers[start : start + rows]
        yield start, np.bitwise_count(block[:, None] ^ numbers[None, : start + len(block)])


def near_duplicates(hashes: Sequence[int], at_most: int) -> list[tuple[int, int]]:
    """List pairs (i, j), i < j, where j differs from i in `at_most` bits or fewer; for each j only the first such i.

    That i may itself repeat an earlier one, so dropping every j leaves one of each kind.
    """
    pairs = []
    for start, distances in hamming_distances(hashes):
        near = distances <= at_most
        near &= np.arange(distances.shape[1])[None, :] < start + np.arange(len(distances))[:, None]
        first = near.argmax(axis=1)
        pairs += [(int(first[row]), start + int(row)) for row in np.flatnonzero(near.any(axis=1))]
    return pairs


def _measure_sharpness(grey: Image.Image) -> float:
    """Return the variance of the Laplacian divided by that of the luminance, at one size for all pictures."""
    scale = SHARPNESS_SIDE / min(grey.size)
    size = (max(SHARPNESS_SIDE, round(grey.width * scale)), max(SHARPNESS_SIDE, round(grey.height * scale)))
    small = np.asarray(grey.resize(size, Image.Resampling.LANCZOS), np.float64)
    around = small[:-2, 1:-1] + small[2:, 1:-1] + small[1:-1, :-2] + small[1:-1, 2:]
    return float((around - 4 * small[1:-1, 1:-1]).var() / (small.var() + FLAT_VARIANCE))


@lru_cache
def _cosine_matrix() -> np.ndarray:
    """Return the orthonormal DCT-II as a matrix [wave, pixel]."""
    wave, pixel = np.mgrid[:HASH_SIDE, :HASH_SIDE]
    matrix = np.sqrt(2 / HASH_SIDE) * np.cos(np.pi * wave * (2 * pixel + 1) / (2 * HASH_SIDE))
    matrix[0] /= np.sqrt(2)
    return matrix


@lru_cache
def _lowest_waves() -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the waves in the hash: the lowest in both directions, without the mean brightness."""
    down, across = np.mgrid[:HASH_SIDE, :HASH_SIDE]
    order = np.lexsort((down.ravel(), (down + across).ravel()))[1 : HASH_BITS + 1]
    return down.ravel()[order], across.ravel()[order]
