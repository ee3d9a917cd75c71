"""What can be said of one picture without a model: whether it is blank, blurred, too dark, or one seen before."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from models.picture.reading import rgb

SIDE = 128  # sharpness is judged at this short side: a toy drawing has no more, and a photo's blur still shows
DARK, BRIGHT = 4, 251  # luminance up to and from which nothing is left to see
FLAT = 1.0  # variance of luminance: a blank picture's rounding is not fine detail
HASH_SIDE = 32
HASH_BITS = 64


@dataclass(frozen=True)
class Quality:
    """Measures of one picture. Each is blind to its size, so that 128 and 1024 pixels can meet the same limits."""

    spread: float  # standard deviation of luminance, 0 to 127.5; near 0 the picture is blank
    sharpness: float  # fine detail against contrast: near 0 a smooth blur, 20 pure noise
    dark: float  # share of pixels crushed to black
    bright: float  # share of pixels blown to white
    width: int
    height: int


def measure(image: Image.Image) -> Quality:
    """Everything above. Transparency lies on white, as a publisher would show it."""
    grey = rgb(image).convert("L")
    levels = np.arange(256)
    shares = np.asarray(grey.histogram()) / (grey.width * grey.height)
    mean = float(shares @ levels)
    return Quality(
        spread=float(np.sqrt(shares @ (levels - mean) ** 2)),
        sharpness=_sharpness(grey),
        dark=float(shares[: DARK + 1].sum()),
        bright=float(shares[BRIGHT:].sum()),
        width=image.width,
        height=image.height,
    )


def perceptual_hash(image: Image.Image) -> int:
    """64 bits that near copies share nearly all of: the lowest waves of the luminance, each above their median or not.

    Size, format, brightness and light retouching move few bits. Colour is not in it.
    """
    small = rgb(image).convert("L").resize((HASH_SIDE, HASH_SIDE), Image.Resampling.LANCZOS)
    waves = _cosines() @ np.asarray(small, np.float64) @ _cosines().T
    # Rounded, so that in a flat picture, where every wave is nought, rounding errors do not decide.
    low = np.round(waves[_lowest()], 3)
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def hamming(hashes: Sequence[int], rows: int = 256) -> Iterator[tuple[int, np.ndarray]]:
    """How many bits part each hash from those before it and in its block, by blocks with their first row's number.

    A block is [rows, first row + rows]: all of the matrix would be too much to hold.
    """
    known = np.asarray(hashes, np.uint64)
    for start in range(0, len(known), rows):
        block = known[start : start + rows]
        yield start, np.bitwise_count(block[:, None] ^ known[None, : start + len(block)])


def near_duplicates(hashes: Sequence[int], at_most: int) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, where j differs from i in `at_most` bits or fewer; for each j only the first such i.

    That i may itself repeat an earlier one: who wants one of a kind drops every j.
    """
    pairs = []
    for start, distances in hamming(hashes):
        near = distances <= at_most
        near &= np.arange(distances.shape[1])[None, :] < start + np.arange(len(distances))[:, None]
        first = near.argmax(axis=1)
        pairs += [(int(first[row]), start + int(row)) for row in np.flatnonzero(near.any(axis=1))]
    return pairs


def _sharpness(grey: Image.Image) -> float:
    """Variance of the Laplacian against that of the luminance, at one size for all."""
    scale = SIDE / min(grey.size)
    size = (max(SIDE, round(grey.width * scale)), max(SIDE, round(grey.height * scale)))
    small = np.asarray(grey.resize(size, Image.Resampling.LANCZOS), np.float64)
    around = small[:-2, 1:-1] + small[2:, 1:-1] + small[1:-1, :-2] + small[1:-1, 2:]
    return float((around - 4 * small[1:-1, 1:-1]).var() / (small.var() + FLAT))


@lru_cache
def _cosines() -> np.ndarray:
    """The orthonormal DCT-II as a matrix [wave, pixel]."""
    wave, pixel = np.mgrid[:HASH_SIDE, :HASH_SIDE]
    matrix = np.sqrt(2 / HASH_SIDE) * np.cos(np.pi * wave * (2 * pixel + 1) / (2 * HASH_SIDE))
    matrix[0] /= np.sqrt(2)
    return matrix


@lru_cache
def _lowest() -> tuple[np.ndarray, np.ndarray]:
    """Which waves make the hash: the lowest, up and down and across alike, without the mean brightness."""
    down, across = np.mgrid[:HASH_SIDE, :HASH_SIDE]
    order = np.lexsort((down.ravel(), (down + across).ravel()))[1 : HASH_BITS + 1]
    return down.ravel()[order], across.ravel()[order]
