"""The scorers that the settings name, found and loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.progress import waiting
from tasks.settings import Loaded

if TYPE_CHECKING:
    from models import clip
    from models.scorer import PictureScorer


def scorers(loaded: Loaded) -> tuple[clip.Scorer, PictureScorer | None]:
    """Of everything that a picture shows, and of who it is where the settings name one for that."""
    from models import clip, dino

    knobs = loaded.settings
    cache, memory = (loaded.studio / "cache" / name for name in ("vectors.db", "hashes.json"))
    with waiting(f"loading {knobs.models.clip}"):
        whole = clip.load(loaded.place(knobs.models.clip), knobs.models.device, cache=cache, memory=memory)
    name = knobs.references.identity_scorer.removeprefix(dino.PREFIX)
    if not name:
        return whole, None
    with waiting(f"loading {name}"):
        named = f"{dino.PREFIX}{loaded.place(name)}"
        return whole, dino.load(named, knobs.models.device, cache=cache, memory=memory)
