"""What is done to a chosen picture before its JPEG is made: larger by the model itself, and a refiner's pass over it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models.picture.shot import Shot
from tasks.calendar.due import Due
from tasks.pictures import generate
from tasks.pictures.generate import Machine
from tasks.render.shots import enlarged, refiner, second_pass
from tasks.settings.settings import Loaded
from tasks.store.picture_files import Artifacts


def finished(chosen: Sequence[tuple[Due, Shot]], machine: Machine, artifacts: Artifacts, loaded: Loaded) -> list[Path]:
    """The master of each chosen picture: itself, or what a further pass made of it.

    Every pass is a shot of its own, which starts from the picture before, so each master can be traced and made again.
    """
    shots = [shot for _, shot in chosen]
    if loaded.settings.pictures.upscale == "refine":
        shots = [enlarged(shot, artifacts.picture(shot.id), due, loaded) for due, shot in chosen]
        generate.generate(shots, machine, artifacts, "larger pictures")
    dues = [due for due, _ in chosen]
    return _refined(dues, shots, artifacts, loaded)


def _refined(dues: Sequence[Due], shots: Sequence[Shot], artifacts: Artifacts, loaded: Loaded) -> list[Path]:
    """One refiner after the other, each loaded once."""
    paths = [artifacts.picture(shot.id) for shot in shots]
    passes = [second_pass(shot, path, due, loaded) for due, shot, path in zip(dues, shots, paths, strict=True)]
    for name in dict.fromkeys(due.entry.refiner for due in dues if due.entry.refiner):
        own = [(due, made) for due, made in zip(dues, passes, strict=True) if made and due.entry.refiner == name]
        generate.generate([made for _, made in own], refiner(own[0][0], loaded), artifacts, "refined pictures")
    return [artifacts.picture(made.id) if made else path for made, path in zip(passes, paths, strict=True)]
