"""What is left to train, in minutes of processor time: `python -m models.toybox.recipe.plan`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from models.toybox.recipe.numbers import STANDARD, Recipe, Schedule

TRAININGS = ("vae", "words", "unet", "scorer", "polish", "oracle", "identity", "quick")


def minutes_left(recipe: Recipe, stage: str, work: Path) -> float:
    """Estimate a training's rest from its limit, or from what its steps took so far; 0 where nothing is known."""
    schedule: Schedule = getattr(recipe, stage)
    spent, step = 0.0, 0
    path = work / f"{stage}.pt"
    if path.exists():
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        if state.get("finished"):
            return 0.0
        spent, step = state["spent"] / 60, state["step"]
    by_limit = max(schedule.minutes - spent, 0.0)
    by_steps = spent / step * (schedule.steps - step) if step else by_limit
    return min(by_limit, by_steps) if schedule.minutes else by_steps


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m models.toybox.recipe.plan", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("bench/work/toybox"))
    options = parser.parse_args()
    left = {stage: minutes_left(STANDARD, stage, options.work) for stage in TRAININGS}
    parts = ", ".join(f"{stage} {minutes:.0f}" for stage, minutes in left.items() if minutes)
    print(f"{parts}: {sum(left.values()) / 60:.1f} hours of processor time at most, without drawing and encoding")


if __name__ == "__main__":
    main()
