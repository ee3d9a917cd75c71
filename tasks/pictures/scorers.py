"""The scorers that the settings name, found and loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.system.progress import show_spinner
from tasks.settings.settings import LoadedSettings

if TYPE_CHECKING:
    from models.scoring import clip
    from models.scoring.picture_scorer import PictureScorer


CLIP = "clip:"


def load_scorers(loaded: LoadedSettings) -> tuple[clip.ClipScorer, PictureScorer | None]:
    """Load the scorer of what a picture shows and, if the settings name one, the scorer of characters."""
    from models.scoring import clip, dino

    knobs = loaded.settings
    device, cache = knobs.models.device, loaded.studio / "cache"
    vectors, memory = cache / "vectors.db", cache / "hashes.json"
    with show_spinner(f"loading {knobs.models.clip}"):
        whole = clip.load_clip(loaded.resolve_path(knobs.models.clip), device, cache=vectors, memory=memory)
    name = knobs.references.identity_scorer
    if not name:
        return whole, None
    with show_spinner(f"loading {name}"):
        is_clip, source = identity_source(loaded)
        if is_clip:
            return whole, clip.load_clip(source, device, cache=vectors, memory=memory)
        return whole, dino.load_dino(source, device, cache=vectors, memory=memory)


def identity_source(loaded: LoadedSettings) -> tuple[bool, str]:
    """Return whether a CLIP model (or else a DINO one) compares characters, and its name or path."""
    from models import toybox
    from models.scoring import dino

    name = loaded.settings.references.identity_scorer
    if name == "toybox":
        return True, str(toybox.check_weights() / "identity")
    if name.startswith(CLIP):
        return True, loaded.resolve_path(name.removeprefix(CLIP))
    generation, folder = dino.split_name(name)
    return False, ":".join([generation, loaded.resolve_path(folder)] if generation else [loaded.resolve_path(folder)])


def check_identity_model(loaded: LoadedSettings) -> None:
    """Raise an error that says what is missing of the model that compares characters."""
    from models.scoring import clip_weights, dino

    is_clip, source = identity_source(loaded)
    if is_clip:
        clip_weights.find_clip(source)
    else:
        dino.find_dino(source)
