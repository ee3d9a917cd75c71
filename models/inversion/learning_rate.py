"""The learning rate of each step: constant, cosine, warm-up, and the stepwise schedules that A1111 users write."""

from __future__ import annotations

import math

from models.system.errors import UserError

# A rate, and the last step that it holds for (counted from 1); None: to the end.
Stretch = tuple[float, int | None]


def parse_rates(text: str | float) -> tuple[Stretch, ...]:
    """Parse `5e-2:100, 5e-3:500, 5e-6`: 5e-2 up to step 100, 5e-3 up to step 500 and 5e-6 from there on."""
    parts = [part.strip() for part in str(text).strip().rstrip(",").split(",")]
    stretches = tuple(_parse_stretch(part, text) for part in parts)
    before = 0
    for part, (_, until) in zip(parts, stretches, strict=True):
        if until is None and part is not parts[-1]:
            raise UserError(f"rate {text!r}: {part!r} says no step to end at, and more follows: write {part}:100")
        if until is not None and until <= before:
            raise UserError(f"rate {text!r}: {part!r} ends at step {until}, not after step {before}: let steps grow")
        before = until or before
    return stretches


def _parse_stretch(part: str, text: str | float) -> Stretch:
    rate, colon, until = part.partition(":")
    try:
        stretch = float(rate), int(until) if colon else None
    except ValueError:
        raise UserError(f"rate {text!r}: {part!r} is not rate:step, such as 5e-3:500") from None
    if not (math.isfinite(stretch[0]) and stretch[0] > 0):
        raise UserError(f"rate {text!r}: {part!r} is not a rate above 0, such as 5e-3")
    return stretch[0], None if stretch[1] == -1 else stretch[1]  # A1111 also writes -1 for the end


def check_rates(stretches: tuple[Stretch, ...], steps: int) -> None:
    """Check that a schedule covers every step."""
    last = stretches[-1][1]
    if last is not None and last < steps:
        raise UserError(f"the rates end at step {last} and the training at {steps}: end them with a rate alone")


def rate_of_step(
    stretches: tuple[Stretch, ...], step: int, steps: int, decay: str = "constant", warmup: int = 0
) -> float:
    """Return the rate of a step (counted from 0). Cosine falls from the warm-up's end to 0 at the last step's end."""
    rate = next(rate for rate, until in stretches if until is None or step < until)
    if step < warmup:
        return rate * (step + 1) / (warmup + 1)
    if decay == "cosine":
        rate *= 0.5 + 0.5 * math.cos(math.pi * (step - warmup) / max(1, steps - warmup))
    return rate
