"""A studio with a few posts in it, whose pictures are real, small and quick to make."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from PIL import Image

from models.picture.environment import pixel_hash
from models.picture.provenance import Provenance, encode_png
from models.picture.shot import Ref, Shot
from models.system.files import write_file
from tasks.posts import post_store
from tasks.posts.jpeg import make_jpeg
from tasks.posts.post import Post, PostCandidate, PostContent, PostPicture
from tasks.settings.settings import LoadedSettings, load_settings
from tasks.store.picture_files import PictureFiles
from tasks.store.store import Store
from tests.support import calendars

BERLIN = ZoneInfo("Europe/Berlin")
NINE = datetime(2026, 11, 23, 9, tzinfo=BERLIN)


def studio(folder: Path, more: str = "", shots: Sequence[dict[str, Any]] = ()) -> LoadedSettings:
    """Settings and one persona, pip."""
    (folder / "settings.toml").write_text(f"[pictures]\nquality = 60\n{more}")
    calendars.write(folder, list(shots) or [{"id": "walk", "at": "09:00", "caption": "A walk."}])
    return load_settings(folder / "settings.toml")


def shot(seed: int) -> Shot:
    return Shot(prompt=f"<pip> number {seed}", model=Ref("toybox", "1" * 64), seed=seed, width=64, height=64)


def picture(loaded: LoadedSettings, seed: int) -> str:
    """A picture with its record, among the artifacts; its id."""
    made = shot(seed)
    path = PictureFiles(loaded.studio).picture_path(made.id)
    if not path.exists():
        colours = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
        image = Image.fromarray(colours).resize((64, 64), Image.Resampling.BICUBIC)
        write_file(path, encode_png(image, Provenance(made, {"torch": "2", "device": "cpu"}, pixel_hash(image))))
    return made.id


def put(
    store: Store,
    loaded: LoadedSettings,
    key: str = "pip/walk/2026-11-23",
    *,
    when: datetime = NINE,
    seed: int | None = None,
    candidates: int = 3,
    caption: str = "Hello — “fox” 🦊",
    size: str = "square",
    persona: str = "",
    problem: str = "",
) -> Post:
    """A post awaiting review, made as a render makes one: candidate 0 shown, 1 passed too, the others dropped."""
    base = int(hashlib.sha256(key.encode()).hexdigest()[:6], 16) if seed is None else seed
    ids = [picture(loaded, base + number) for number in range(candidates)]
    alt = "A fox in the snow."
    shown = []
    if not problem:
        made = make_jpeg(PictureFiles(loaded.studio).picture_path(ids[0]), size, alt, loaded)  # type: ignore[arg-type]
        shown = [PostPicture(ids[0], made.file, made.sha256, alt, made.width, made.height)]
    content = PostContent("story" if size == "story" else "photo", tuple(shown), caption, ("pip",), "pip.fox", when)
    found = [
        PostCandidate(
            number,
            each,
            number < 2 and not problem,
            "passed: 0.91 like the references of <pip>, 0.88 as its prompt asks" if number < 2 else "blurred: it is",
            {"identity": 0.9 - number / 10, "prompt": 0.8, "detail": 0.7, "spread": 55.0},
            f"{number:016x}",
        )
        for number, each in enumerate(ids)
    ]
    name, calendar_shot, _ = key.split("/")
    return post_store.create_post(
        store, key, persona or name, calendar_shot, size, content, found, "restage", "rendered", prompt="<pip> walks",
        embedding="e1", problem=problem,
    )  # fmt: skip
