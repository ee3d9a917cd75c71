"""Pictures, by id and never by path."""

from __future__ import annotations

from pathlib import Path as File
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Request
from fastapi.responses import FileResponse, Response
from pydantic import BeforeValidator

from board.context import Desk, desk
from board.thumbs import ID, Width
from models.system.errors import UserError
from tasks.posts import post_store
from tasks.posts.post import Shown
from tasks.references.reference_set import Shelf

router = APIRouter(include_in_schema=False)
FOR_EVER = {"cache-control": "private, max-age=31536000, immutable"}
"""What is named by its content never changes under its name."""
ASK = {"cache-control": "private, no-cache"}
Picture = Annotated[str, Path(pattern=ID)]
Wide = Annotated[Width, BeforeValidator(int)]
Place = Annotated[int, Path(ge=0, le=99)]
Short = Annotated[str, Path(pattern=r"^[0-9a-z]{1,40}$")]
Name = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]


@router.get("/pictures/{picture}")
def master(request: Request, picture: Picture) -> Response:
    """The PNG itself, with its record inside."""
    return _file(desk(request).artifacts.picture(picture), "image/png", FOR_EVER)


@router.get("/pictures/{picture}/{width}")
def small(request: Request, picture: Picture, width: Wide) -> Response:
    return _thumb(desk(request), desk(request).artifacts.picture(picture), picture, width, FOR_EVER)


@router.get("/posts/{post}/pictures/{place}")
def exact(request: Request, post: Short, place: Place) -> Response:
    """The very JPEG that would go out."""
    shown = _shown(desk(request), post, place)
    path = desk(request).inside(shown.file)
    return _file(path, "image/jpeg", _kept(request, shown))


@router.get("/posts/{post}/pictures/{place}/{width}")
def exact_small(request: Request, post: Short, place: Place, width: Wide) -> Response:
    shown = _shown(desk(request), post, place)
    return _thumb(desk(request), desk(request).inside(shown.file), shown.sha256, width, _kept(request, shown))


@router.get("/references/{persona}/{candidate}/{width}")
def reference(request: Request, persona: Name, candidate: Picture, width: Wide) -> Response:
    found = Shelf(desk(request).loaded.studio, persona).current()
    chosen = [each.candidate for each in found.choice.chosen] if found else []
    path = next((each.path for each in chosen if each.id == candidate), None)
    if path is None:
        raise HTTPException(404, f"{persona} has no such reference")
    return _thumb(desk(request), desk(request).inside(path), candidate, width, FOR_EVER)


def _shown(desk: Desk, post: str, place: int) -> Shown:
    pictures = post_store.get(desk.store, post).content.pictures
    if place >= len(pictures):
        raise HTTPException(404, f"post {post} has no picture {place + 1}")
    return pictures[place]


def _kept(request: Request, shown: Shown) -> dict[str, str]:
    """For ever, where the address says which bytes are meant."""
    return FOR_EVER if request.query_params.get("v") == shown.sha256[:16] else ASK


def _thumb(desk: Desk, source: File | None, name: str, width: Width, headers: dict[str, str]) -> Response:
    if source is None:
        raise HTTPException(404, "there is no such picture any more")
    try:
        return _file(desk.thumbs.thumb(source, name, width), "image/webp", headers)
    except UserError as error:
        raise HTTPException(404, str(error)) from None


def _file(path: File | None, kind: str, headers: dict[str, str]) -> Response:
    if path is None or not path.is_file():
        raise HTTPException(404, "there is no such picture any more")
    return FileResponse(path, media_type=kind, headers=headers)
