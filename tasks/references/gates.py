"""The gates that every candidate of a reference set has to pass, in two tuples: of its pixels, and of its likenesses.

`PIXEL_GATES` judge a picture alone. `LIKENESS_GATES` cut relative to the candidates that remain, so they come after. A new gate
is one entry, with its limit in `ReferenceSettings` and settings.toml.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from models.scoring.statistics import outlier_cut
from tasks.pictures.gates import Gate
from tasks.references.measurements import Scores, sharpness_cut
from tasks.settings.sections import ReferenceSettings


@dataclass(frozen=True, kw_only=True)
class ReferenceGate(Gate):
    """A gate for candidates of a reference set: its values of all candidates, each compared with one limit."""

    measure: Callable[[Scores], Mapping[str, np.ndarray]]
    """Returns the values of all candidates, by name."""
    limit: Callable[[np.ndarray, Scores, ReferenceSettings], float]
    """Returns the limit, from the values of the candidates that remain, the scores and the settings."""
    setting: str
    """The setting that loosens it."""
    phrase: str = ""
    """The label after a number of candidates, where it differs from the label."""
    has_scores: bool = True
    """False keeps its values out of the report."""
    has_cut: bool = True
    """False keeps its limit out of the report."""


PIXEL_GATES: tuple[ReferenceGate, ...] = (
    ReferenceGate(
        code="blank",
        label="blank",
        measure=lambda scores: {"spread": scores.pixels["spread"]},
        limit=lambda values, scores, settings: settings.blank_spread,
        sentence="blank: brightness varies by {value:.1f}, under {limit:g}",
        setting="references.blank_spread",
    ),
    ReferenceGate(
        code="overexposed",
        label="overexposed",
        measure=lambda scores: {"bright": scores.pixels["bright"]},
        limit=lambda values, scores, settings: settings.exposure,
        sentence="overexposed: {value:.0%} of it is white, over {limit:.0%}",
        rejects_over=True,
        setting="references.exposure",
        has_scores=False,
        has_cut=False,
    ),
    ReferenceGate(
        code="underexposed",
        label="underexposed",
        measure=lambda scores: {"dark": scores.pixels["dark"]},
        limit=lambda values, scores, settings: settings.exposure,
        sentence="underexposed: {value:.0%} of it is black, over {limit:.0%}",
        rejects_over=True,
        setting="references.exposure",
        has_scores=False,
        has_cut=False,
    ),
    ReferenceGate(
        code="blurred",
        label="blurred",
        measure=lambda scores: {"sharpness": scores.pixels["sharpness"]},
        limit=lambda values, scores, settings: sharpness_cut(scores, settings),
        sentence="blurred: sharpness {value:.3f}, under the cut {limit:.3f}",
        setting="references.blur_spread",
    ),
)
LIKENESS_GATES: tuple[ReferenceGate, ...] = (
    ReferenceGate(
        code="kind",
        label="another kind",
        phrase="of another kind",
        measure=lambda scores: {"subject": scores.subject},
        limit=lambda values, scores, settings: outlier_cut(values, settings.prompt_spread, settings.prompt_floor),
        sentence="another kind of thing: likeness to the class word {value:.3f}, under the cut {limit:.3f}",
        setting="references.prompt_spread",
    ),
    ReferenceGate(
        code="prompt",
        label="not as asked for",
        measure=lambda scores: {"prompt": scores.prompt},
        limit=lambda values, scores, settings: outlier_cut(values, settings.prompt_spread, settings.prompt_floor),
        sentence="not what was asked for: likeness to its prompt {value:.3f}, under the cut {limit:.3f}",
        setting="references.prompt_spread",
    ),
    ReferenceGate(
        code="unwanted",
        label="unwanted",
        measure=lambda scores: {f"unwanted {concept}": values for concept, values in scores.unwanted.items()},
        # Words that the scorer hardly knows are near every picture, so only outliers of the set count.
        limit=lambda values, scores, settings: max(
            -outlier_cut(-values, settings.prompt_spread, -np.inf), settings.unwanted_margin
        ),
        sentence="unwanted: more like {concept!r} than like the class word, by {value:.3f}, over the cut {limit:.3f}",
        rejects_over=True,
        setting="references.unwanted_margin",
        has_cut=False,
    ),
)
GATES = (*PIXEL_GATES, *LIKENESS_GATES)
