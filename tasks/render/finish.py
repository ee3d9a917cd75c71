"""Finish a chosen picture before its JPEG is made: the model enlarges it, and a refiner passes over it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models.picture.shot import Shot
from tasks.calendar.due import DueShot
from tasks.pictures import generate
from tasks.pictures.generate import ModelSetup
from tasks.render.shots import enlarged_shot, refined_shot, refiner_setup
from tasks.settings.settings import LoadedSettings
from tasks.store.picture_files import PictureFiles


def finish_pictures(
    chosen: Sequence[tuple[DueShot, Shot]], setup: ModelSetup, artifacts: PictureFiles, loaded: LoadedSettings
) -> list[Path]:
    """Return the master of each chosen picture: the picture itself, or the result of the further passes.

    Every pass is a shot of its own that starts from the previous picture, so each master can be traced and rendered again.
    """
    shots = [shot for _, shot in chosen]
    if loaded.settings.pictures.upscale == "refine":
        shots = [enlarged_shot(shot, artifacts.picture_path(shot.id), due, loaded) for due, shot in chosen]
        generate.generate_pictures(shots, setup, artifacts, "larger pictures")
    dues = [due for due, _ in chosen]
    return _refine_pictures(dues, shots, artifacts, loaded)


def _refine_pictures(
    dues: Sequence[DueShot], shots: Sequence[Shot], artifacts: PictureFiles, loaded: LoadedSettings
) -> list[Path]:
    """Run one refiner after the other, each loaded once."""
    paths = [artifacts.picture_path(shot.id) for shot in shots]
    passes = [refined_shot(shot, path, due, loaded) for due, shot, path in zip(dues, shots, paths, strict=True)]
    for name in dict.fromkeys(due.entry.refiner for due in dues if due.entry.refiner):
        batch = [
            (due, refined) for due, refined in zip(dues, passes, strict=True) if refined and due.entry.refiner == name
        ]
        generate.generate_pictures(
            [refined for _, refined in batch], refiner_setup(batch[0][0], loaded), artifacts, "refined pictures"
        )
    return [
        artifacts.picture_path(refined.id) if refined else path for refined, path in zip(passes, paths, strict=True)
    ]
