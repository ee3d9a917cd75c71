"""Pictures, by id and never by path."""

from __future__ import annotations

from pathlib import Path as File
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Request
from fastapi.responses import FileResponse, Response
from pydantic import BeforeValidator

from board.context import BoardContext, board_context
from board.thumbs import ID, Width
from models.system.errors import UserError
from tasks.posts import post_store
from tasks.posts.post import PostPicture
from tasks.references.reference_set import ReferenceSetStore

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
def picture_png(request: Request, picture: Picture) -> Response:
    """Return the PNG itself, with its provenance inside."""
    return _file_response(board_context(request).artifacts.picture_path(picture), "image/png", FOR_EVER)


@router.get("/pictures/{picture}/{width}")
def picture_thumbnail(request: Request, picture: Picture, width: Wide) -> Response:
    return _thumbnail_response(
        board_context(request), board_context(request).artifacts.picture_path(picture), picture, width, FOR_EVER
    )


@router.get("/posts/{post}/pictures/{place}")
def published_jpeg(request: Request, post: Short, place: Place) -> Response:
    """Return the exact JPEG that would be published."""
    picture = _post_picture(board_context(request), post, place)
    path = board_context(request).studio_file(picture.file)
    return _file_response(path, "image/jpeg", _cache_headers(request, picture))


@router.get("/posts/{post}/pictures/{place}/{width}")
def published_thumbnail(request: Request, post: Short, place: Place, width: Wide) -> Response:
    picture = _post_picture(board_context(request), post, place)
    return _thumbnail_response(
        board_context(request),
        board_context(request).studio_file(picture.file),
        picture.sha256,
        width,
        _cache_headers(request, picture),
    )


@router.get("/references/{persona}/{candidate}/{width}")
def reference_thumbnail(request: Request, persona: Name, candidate: Picture, width: Wide) -> Response:
    reference_set = ReferenceSetStore(board_context(request).loaded.studio, persona).current_set()
    candidates = [verdict.candidate for verdict in reference_set.choice.chosen] if reference_set else []
    path = next((verdict.path for verdict in candidates if verdict.id == candidate), None)
    if path is None:
        raise HTTPException(404, f"{persona} has no such reference")
    return _thumbnail_response(
        board_context(request), board_context(request).studio_file(path), candidate, width, FOR_EVER
    )


def _post_picture(context: BoardContext, post: str, place: int) -> PostPicture:
    pictures = post_store.get_post(context.store, post).content.pictures
    if place >= len(pictures):
        raise HTTPException(404, f"post {post} has no picture {place + 1}")
    return pictures[place]


def _cache_headers(request: Request, picture: PostPicture) -> dict[str, str]:
    """Allow caching for ever, if the address says which bytes are meant."""
    return FOR_EVER if request.query_params.get("v") == picture.sha256[:16] else ASK


def _thumbnail_response(
    context: BoardContext, source: File | None, name: str, width: Width, headers: dict[str, str]
) -> Response:
    if source is None:
        raise HTTPException(404, "there is no such picture any more")
    try:
        return _file_response(context.thumbs.thumbnail_file(source, name, width), "image/webp", headers)
    except UserError as error:
        raise HTTPException(404, str(error)) from None


def _file_response(path: File | None, kind: str, headers: dict[str, str]) -> Response:
    if path is None or not path.is_file():
        raise HTTPException(404, "there is no such picture any more")
    return FileResponse(path, media_type=kind, headers=headers)
