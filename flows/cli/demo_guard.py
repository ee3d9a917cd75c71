"""Whether a studio is the demonstration's: it approves and publishes by itself, so it stays out of whatever is somebody's own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from models.system.errors import UserError
from models.system.files import write
from tasks.persona import persona as personas
from tasks.posts import post_store
from tasks.posts.post import Post
from tasks.render import due_posts as rendering_step
from tasks.settings.settings import Loaded
from tasks.store.store import Store

PERSONA = "pip"
SHIPPED = "810922dcd092b59d"
"""How the hash of the persona's file begins as it ships. An installed package has no such file to compare with."""
BY = "the demonstration"
BESIDES = rendering_step.BY
"""Who else moves its posts: rendering and publishing themselves. A person or `review.automatic` has another name."""
REMEDY = (
    "the demonstration approves and publishes by itself, so run make demo in a fresh copy of restage's source instead"
)


def check(loaded: Loaded) -> None:
    """Refuse where something is not as it ships, or where posts are that the demonstration did not make."""
    file, publishing = personas.file_of(PERSONA, loaded.folder), loaded.settings.publishing
    if not is_shipped(file):
        raise UserError(f"{file} is not the {PERSONA} that ships with restage: {REMEDY}")
    if publishing.publisher != "folder" or not publishing.dry_run:
        raise UserError(f"publishing.publisher or publishing.dry_run is set in {loaded.folder}: {REMEDY}")
    with closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store:
        noted = _noted(loaded)
        strange = next((post for post in post_store.find(store) if not _is_its(post, store, noted)), None)
    if strange:
        raise UserError(f"post {strange.id} of {strange.persona} in {loaded.studio} is somebody's own: {REMEDY}")


def note(keys: Collection[str], loaded: Loaded) -> None:
    """What it is about to make, so that it knows its posts again if it is killed before it could approve them."""
    ids = {*_noted(loaded), *map(post_store.post_id, keys)}
    write(_file(loaded), json.dumps(sorted(ids)).encode())


def is_shipped(file: Path) -> bool:
    try:
        text = file.read_text(encoding="utf-8")  # whatever ends its lines
    except (OSError, UnicodeDecodeError):
        return False
    return hashlib.sha256(text.encode()).hexdigest().startswith(SHIPPED)


def _is_its(post: Post, store: Store, noted: Collection[str]) -> bool:
    """Its own, and no person had a hand in it. A draft it leaves as it is."""
    by = {event.by for event in post_store.history(store, post.id)}
    made = BY in by or post.id in noted or post.state == "draft"
    return post.persona == PERSONA and made and by <= {BY, BESIDES}


def _noted(loaded: Loaded) -> list[str]:
    try:
        known = json.loads(_file(loaded).read_bytes())
    except (OSError, ValueError):
        return []
    return [str(each) for each in known] if isinstance(known, list) else []


def _file(loaded: Loaded) -> Path:
    """Beside what may be deleted: what it approved it knows by that."""
    return loaded.studio / "cache" / "demo.json"
