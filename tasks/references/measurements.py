"""The numbers about candidates: measured by `score`, read by the choice and the lint."""

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
from models.system.files import write
from tasks.references.reference_set import Candidate
from tasks.settings.sections import References

NEARNESS = {"framing", "angle"}
NAMED = {"background", "light"}
"""What texts take out of CLIP's vectors."""
GENTLY, FIRMLY = 8.0, 1.0
"""Ridge: how many candidates' worth of doubt about what a framing does; and what a hat does, which would pass for a character."""
PAST = 0.2
"""What explains less than this share of the differences is looked past by a scorer of characters itself, and stays: to take
it out would take out who they are. (Of CLIP's differences each axis explains a quarter or more.)"""
ENOUGH = 12
"""With fewer pictures than this, what a background does to them cannot be told from who they show."""


@dataclass(frozen=True)
class Scores:
    """One row for every candidate, in their order."""

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
    """Whether those are CLIP's, in whose space texts lie too."""
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


def put(scores: Scores, folder: Path) -> Path:
    """Written once: equal candidates, scorer and texts give an equal name."""
    arrays: dict[str, np.ndarray] = {f"pixels/{name}": value for name, value in scores.pixels.items()}
    arrays |= {f"unwanted/{name}": value for name, value in scores.unwanted.items()}
    arrays |= {f"shows/{name}": value for name, value in scores.shows.items()}
    for name in ("hashes", "seen", "identity", "prompt", "subject", "surroundings"):
        arrays[name] = getattr(scores, name)
    head = {"ids": scores.ids, "scorer": scores.scorer, "phrases": scores.phrases, "by_clip": scores.by_clip}
    arrays["head"] = np.frombuffer(json.dumps(head, sort_keys=True).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    digest = hashlib.sha256(b"".join(name.encode() + arrays[name].tobytes() for name in sorted(arrays)))
    path = folder / f"{digest.hexdigest()[:24]}.npz"
    if not path.exists():
        write(path, buffer.getvalue())
    return path


def read(path: Path) -> Scores:
    """The numbers that `put` wrote."""
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is not a readable file of scores ({error}): delete it and run the command again"
        ) from None
    head = json.loads(arrays["head"].tobytes())
    parts: dict[str, dict[str, np.ndarray]] = {"pixels": {}, "unwanted": {}, "shows": {}}
    for name, value in arrays.items():
        part, _, key = name.partition("/")
        if part in parts:
            parts[part][key] = value
    return Scores(
        ids=tuple(head["ids"]),
        scorer=head["scorer"],
        by_clip=head["by_clip"],
        phrases={axis: tuple(values) for axis, values in head["phrases"].items()},
        **parts,  # type: ignore[arg-type]
        **{name: arrays[name] for name in ("hashes", "seen", "identity", "prompt", "subject", "surroundings")},
    )


def identities(scores: Scores, candidates: Sequence[Candidate], rows: Sequence[int]) -> np.ndarray:
    """The vectors by which characters are compared: where it happens, and from how near, is taken out of them.

    In CLIP's space texts say in which directions places lie. The rest, and all of it in another scorer's space, is estimated
    from the cells: what is worn or done with conviction, the framing gently, since that takes some of who they are with it.
    """
    vectors = scores.identity[list(rows)]
    if scores.by_clip:
        vectors = statistics.without(vectors, scores.surroundings)
    if len(rows) <= ENOUGH:
        return vectors
    axes = sorted({axis for number in rows for axis in candidates[number].cell})
    cells = {axis: [candidates[number].cell.get(axis, "") for number in rows] for axis in axes}
    if scores.by_clip:
        out = [axis for axis in axes if axis not in NAMED]
    else:
        out = [axis for axis in axes if statistics.explained(vectors, cells[axis]) >= PAST]
    for inside, ridge in ((NEARNESS, GENTLY), (set(axes) - NEARNESS, FIRMLY)):
        groups = [cells[axis] for axis in out if axis in inside]
        vectors = statistics.residual(vectors, groups, ridge) if groups else vectors
    return vectors


def effective_size(scores: Scores, rows: Sequence[int]) -> float:
    """How many different pictures these are worth. What all candidates have in common says nothing, so it is taken out."""
    apart = scores.seen[list(rows)] - scores.seen.mean(0)
    return statistics.effective_size(apart / np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-9))


def sharpness_cut(scores: Scores, knobs: References) -> float:
    """Sharpness differs by factors and not by amounts, so the cut is found among its logarithms."""
    logarithms = np.log(np.maximum(scores.pixels["sharpness"], 1e-6))
    return max(knobs.blur_floor, float(np.exp(statistics.cut(logarithms, knobs.blur_spread, -np.inf))))
