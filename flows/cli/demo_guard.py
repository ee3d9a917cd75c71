"""Check that a studio is the demonstration's: it approves and publishes by itself, so it must not touch anybody's own posts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from models.system.errors import UserError
from models.system.files import write_file
from tasks.persona import persona as personas
from tasks.posts import post_store
from tasks.posts.post import Post
from tasks.render import due_posts as rendering_step
from tasks.settings.settings import LoadedSettings
from tasks.store.store import Store

PERSONA = "pip"
SHIPPED_HASH = "834b824fde407606"
"""First digits of the hash of the persona's file as it ships. An installed package has no such file to compare with."""
ACTOR = "the demonstration"
OTHER_ACTOR = rendering_step.BY
"""The actor of rendering and publishing, which also change its posts. A person or `review.automatic` has another name."""
REMEDY = (
    "the demonstration approves and publishes by itself, so run make demo in a fresh copy of restage's source instead"
)


def check_studio(loaded: LoadedSettings) -> None:
    """Refuse if something is not as it ships, or if there are posts that the demonstration did not make."""
    file, publishing = personas.persona_file(PERSONA, loaded.folder), loaded.settings.publishing
    if not is_shipped(file):
        raise UserError(f"{file} is not the {PERSONA} that ships with restage: {REMEDY}")
    if publishing.publisher != "folder" or not publishing.dry_run:
        raise UserError(f"publishing.publisher or publishing.dry_run is set in {loaded.folder}: {REMEDY}")
    with closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store:
        noted = _read_noted_ids(loaded)
        strange = next((post for post in post_store.find(store) if not _is_demo_post(post, store, noted)), None)
    if strange:
        raise UserError(f"post {strange.id} of {strange.persona} in {loaded.studio} is somebody's own: {REMEDY}")


def note_posts(keys: Collection[str], loaded: LoadedSettings) -> None:
    """Note the posts that the demonstration will make, so that it recognizes them if it is killed before it approves them."""
    ids = {*_read_noted_ids(loaded), *map(post_store.post_id, keys)}
    write_file(_notes_file(loaded), json.dumps(sorted(ids)).encode())


def is_shipped(file: Path) -> bool:
    try:
        text = file.read_text(encoding="utf-8")  # whatever ends its lines
    except (OSError, UnicodeDecodeError):
        return False
    return hashlib.sha256(text.encode()).hexdigest().startswith(SHIPPED_HASH)


def _is_demo_post(post: Post, store: Store, noted: Collection[str]) -> bool:
    """Tell whether the demonstration made this post and no person changed it. A draft is left as it is."""
    actors = {event.by for event in post_store.history(store, post.id)}
    is_ours = ACTOR in actors or post.id in noted or post.state == "draft"
    return post.persona == PERSONA and is_ours and actors <= {ACTOR, OTHER_ACTOR}


def _read_noted_ids(loaded: LoadedSettings) -> list[str]:
    try:
        ids = json.loads(_notes_file(loaded).read_bytes())
    except (OSError, ValueError):
        return []
    return [str(post_id) for post_id in ids] if isinstance(ids, list) else []


def _notes_file(loaded: LoadedSettings) -> Path:
    """Return the file of the notes. It may be deleted: approved posts are recognized by who approved them."""
    return loaded.studio / "cache" / "demo.json"
