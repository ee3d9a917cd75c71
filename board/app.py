"""The review page: `create` gives the application, `board.serve` serves it."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as AnyHTTPException

from board import api, images, login, pages
from board.context import Desk
from board.request_guard import LOOPBACK, Guard
from board.sessions import Clock
from models.system.errors import UserError
from tasks.posts.post import ChangedError
from tasks.settings.settings import Loaded
from tasks.store.store import StoreError

STATIC = Path(__file__).with_name("static")


def create(loaded: Loaded, host: str = "", clock: Clock = monotonic) -> FastAPI:
    """The board of a studio. `host` is what it is bound to, where that is not what the settings say."""
    bound = host or loaded.settings.board.host
    check_open(loaded, bound)
    app = FastAPI(title="restage", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json", lifespan=None)
    app.state.desk = Desk(loaded, clock)
    app.add_middleware(Guard, sessions=app.state.desk.sessions, names=[bound, *loaded.settings.board.names])
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for router in (login.router, pages.router, images.router, api.router):
        app.include_router(router)
    app.add_exception_handler(UserError, _refused)
    app.add_exception_handler(RequestValidationError, _unreadable)
    app.add_exception_handler(AnyHTTPException, _missing)
    return app


def check_open(loaded: Loaded, host: str) -> None:
    """Whoever can reach the board can approve posts: beyond this machine it asks for a password."""
    if host not in LOOPBACK and not loaded.settings.secrets.board_password:
        raise UserError(
            f"the board would be open to whoever reaches {host}: set RESTAGE_SECRETS__BOARD_PASSWORD, or [board] host"
            ' = "127.0.0.1"'
        )


async def _refused(request: Request, error: Exception) -> Response:
    return _told(
        request, 409 if isinstance(error, ChangedError) else 503 if isinstance(error, StoreError) else 400, str(error)
    )


async def _unreadable(request: Request, error: Exception) -> Response:
    """Which field, and why; never what was sent, which may be anything."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    return _told(
        request, 422, f"{where[:60] or 'the request'}: {first['msg'][:200].lower()}".encode(errors="replace").decode()
    )


async def _missing(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)
    return _told(request, error.status_code, str(error.detail), error.headers)


def _told(request: Request, status: int, text: str, headers: object = None) -> Response:
    more = dict(headers) if isinstance(headers, dict) else None
    if request.url.path.startswith("/api/"):
        return JSONResponse({"problem": text}, status, headers=more)
    return pages.problem(request, status, text, more)
