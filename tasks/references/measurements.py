"""Numbers about candidates: written by `measure_candidates`, read by the choice and the lint."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.scoring import statistics
from models.system.errors import UserError
from models.system.files import write_file
from tasks.references.reference_set import ReferenceCandidate
from tasks.settings.sections import ReferenceSettings

NEARNESS_AXES = {"framing", "angle"}
PLACE_AXES = {"background", "light"}
"""Axes whose effect is removed from CLIP's vectors with the help of texts."""
FRAMING_RIDGE, WORN_RIDGE = 8.0, 1.0
"""Ridge strength for framing effects (weak) and for worn or posed things (strong)."""
MIN_EXPLAINED_SHARE = 0.2
"""Axes that explain less than this share of the variance are left in: an identity scorer ignores them by itself, and removing
them would remove identity. (In CLIP's space each axis explains a quarter or more.)"""
MAX_UNCORRECTED_PICTURES = 12
"""With at most this many pictures, the effect of a background cannot be separated from identity."""


@dataclass(frozen=True)
class Scores:
    """Measurements of the candidates: one row each, in their order."""

    ids: tuple[str, ...]
    scorer: str
    pixels: Mapping[str, np.ndarray]
    hashes: np.ndarray
    """Perceptual hashes, 64 bits each."""
    seen: np.ndarray
    """CLIP's unit vectors [n, d]."""
    identity: np.ndarray
    """Unit vectors for comparing characters: CLIP's, or DINOv2's where the settings name one."""
    by_clip: bool
    """True if `identity` holds CLIP's vectors, whose space texts share."""
    prompt: np.ndarray
    """Likeness to the prompt that the picture was asked for."""
    subject: np.ndarray
    """Likeness to the class word."""
    unwanted: Mapping[str, np.ndarray]
    """By concept, how much more the picture looks like that than like the class word."""
    shows: Mapping[str, np.ndarray]
    """By axis, which of the phrases the picture looks most like."""
    phrases: Mapping[str, tuple[str, ...]]
    surroundings: np.ndarray
    """Directions in CLIP's space that tell backgrounds, framings and the like apart [m, d]."""


def save_measurements(scores: Scores, folder: Path) -> Path:
    """Write the measurements to a file named by their hash, unless it exists; return its path."""
    arrays: dict[str, np.ndarray] = {f"pixels/{name}": value for name, value in scores.pixels.items()}
    arrays |= {f"unwanted/{name}": value for name, value in scores.unwanted.items()}
    arrays |= {f"shows/{name}": value for name, value in scores.shows.items()}
    for name in ("hashes", "seen", "identity", "prompt", "subject", "surroundings"):
        arrays[name] = getattr(scores, name)
    header = {"ids": scores.ids, "scorer": scores.scorer, "phrases": scores.phrases, "by_clip": scores.by_clip}
    arrays["head"] = np.frombuffer(json.dumps(header, sort_keys=True).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    digest = hashlib.sha256(b"".join(name.encode() + arrays[name].tobytes() for name in sorted(arrays)))
    path = folder / f"{digest.hexdigest()[:24]}.npz"
    if not path.exists():
        write_file(path, buffer.getvalue())
    return path


def load_measurements(path: Path) -> Scores:
    """Return the measurements that `save_measurements` wrote."""
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is not a readable file of scores ({error}): delete it and run the command again"
        ) from None
    header = json.loads(arrays["head"].tobytes())
    parts: dict[str, dict[str, np.ndarray]] = {"pixels": {}, "unwanted": {}, "shows": {}}
    for name, value in arrays.items():
        part, _, key = name.partition("/")
        if part in parts:
            parts[part][key] = value
    return Scores(
        ids=tuple(header["ids"]),
        scorer=header["scorer"],
        by_clip=header["by_clip"],
        phrases={axis: tuple(values) for axis, values in header["phrases"].items()},
        **parts,  # type: ignore[arg-type]
        **{name: arrays[name] for name in ("hashes", "seen", "identity", "prompt", "subject", "surroundings")},
    )


def identity_vectors(scores: Scores, candidates: Sequence[ReferenceCandidate], rows: Sequence[int]) -> np.ndarray:
    """Return the vectors by which characters are compared, with the effects of place and framing removed.

    In CLIP's space, texts give the directions of places. Other effects, and all effects in another scorer's space, are estimated
    from the cells: strongly for worn or posed things, weakly for framing, as removing framing also removes some identity.
    """
    vectors = scores.identity[list(rows)]
    if scores.by_clip:
        vectors = statistics.project_out(vectors, scores.surroundings)
    if len(rows) <= MAX_UNCORRECTED_PICTURES:
        return vectors
    axes = sorted({axis for number in rows for axis in candidates[number].cell})
    cells = {axis: [candidates[number].cell.get(axis, "") for number in rows] for axis in axes}
    if scores.by_clip:
        out = [axis for axis in axes if axis not in PLACE_AXES]
    else:
        out = [axis for axis in axes if statistics.explained_share(vectors, cells[axis]) >= MIN_EXPLAINED_SHARE]
    for inside, ridge in ((NEARNESS_AXES, FRAMING_RIDGE), (set(axes) - NEARNESS_AXES, WORN_RIDGE)):
        groups = [cells[axis] for axis in out if axis in inside]
        vectors = statistics.remove_effects(vectors, groups, ridge) if groups else vectors
    return vectors


def effective_size(scores: Scores, rows: Sequence[int]) -> float:
    """Return how many different pictures these are worth, after removing what all candidates have in common."""
    differences = scores.seen[list(rows)] - scores.seen.mean(0)
    return statistics.effective_size(differences / np.maximum(np.linalg.norm(differences, axis=1, keepdims=True), 1e-9))


def sharpness_cut(scores: Scores, settings: ReferenceSettings) -> float:
    """Return the least sharpness; the cut is computed on logarithms, as sharpness varies by factors."""
    logarithms = np.log(np.maximum(scores.pixels["sharpness"], 1e-6))
    return max(settings.blur_floor, float(np.exp(statistics.outlier_cut(logarithms, settings.blur_spread, -np.inf))))
