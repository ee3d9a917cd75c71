"""The scorers that the settings name, found and loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.system.progress import waiting
from tasks.settings.settings import Loaded

if TYPE_CHECKING:
    from models.scoring import clip
    from models.scoring.picture_scorer import PictureScorer


CLIP = "clip:"


def scorers(loaded: Loaded) -> tuple[clip.Scorer, PictureScorer | None]:
    """Of everything that a picture shows, and of who it is where the settings name one for that."""
    from models.scoring import clip, dino

    knobs = loaded.settings
    device, cache = knobs.models.device, loaded.studio / "cache"
    vectors, memory = cache / "vectors.db", cache / "hashes.json"
    with waiting(f"loading {knobs.models.clip}"):
        whole = clip.load(loaded.place(knobs.models.clip), device, cache=vectors, memory=memory)
    name = knobs.references.identity_scorer
    if not name:
        return whole, None
    with waiting(f"loading {name}"):
        is_clip, named = identity_source(loaded)
        if is_clip:
            return whole, clip.load(named, device, cache=vectors, memory=memory)
        return whole, dino.load(named, device, cache=vectors, memory=memory)


def identity_source(loaded: Loaded) -> tuple[bool, str]:
    """Whether a CLIP model compares characters, or a DINO one, and its name with the folder's path from the settings file."""
    from models import toybox
    from models.scoring import dino

    name = loaded.settings.references.identity_scorer
    if name == "toybox":
        return True, str(toybox.check() / "identity")
    if name.startswith(CLIP):
        return True, loaded.place(name.removeprefix(CLIP))
    generation, where = dino.parted(name)
    return False, ":".join([generation, loaded.place(where)] if generation else [loaded.place(where)])


def check_identity(loaded: Loaded) -> None:
    """An error that says what is missing of the model that compares characters."""
    from models.scoring import clip_weights, dino

    is_clip, named = identity_source(loaded)
    if is_clip:
        clip_weights.find(named)
    else:
        dino.find(named)
