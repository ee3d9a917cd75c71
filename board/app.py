"""The review page: `create_app` gives the application, `board.serve` serves it."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as AnyHTTPException

from board import api, images, login, pages
from board.context import BoardContext
from board.request_guard import LOOPBACK, RequestGuard
from board.sessions import Clock
from models.system.errors import UserError
from tasks.posts.post import ChangedError
from tasks.settings.settings import LoadedSettings
from tasks.store.store import StoreError

STATIC = Path(__file__).with_name("static")


def create_app(loaded: LoadedSettings, host: str = "", clock: Clock = monotonic) -> FastAPI:
    """Create the board of a studio. `host` is the address it is bound to, if not the one in the settings."""
    bound = host or loaded.settings.board.host
    check_open(loaded, bound)
    app = FastAPI(title="restage", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json", lifespan=None)
    app.state.context = BoardContext(loaded, clock)
    app.add_middleware(RequestGuard, sessions=app.state.context.sessions, names=[bound, *loaded.settings.board.names])
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for router in (login.router, pages.router, images.router, api.router):
        app.include_router(router)
    app.add_exception_handler(UserError, _answer_user_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid_request)
    app.add_exception_handler(AnyHTTPException, _answer_http_error)
    return app


def check_open(loaded: LoadedSettings, host: str) -> None:
    """Refuse to open the board to other machines without a password: who reaches it can approve posts."""
    if host not in LOOPBACK and not loaded.settings.secrets.board_password:
        raise UserError(
            f"the board would be open to whoever reaches {host}: set RESTAGE_SECRETS__BOARD_PASSWORD, or [board] host"
            ' = "127.0.0.1"'
        )


async def _answer_user_error(request: Request, error: Exception) -> Response:
    return _problem_response(
        request, 409 if isinstance(error, ChangedError) else 503 if isinstance(error, StoreError) else 400, str(error)
    )


async def _answer_invalid_request(request: Request, error: Exception) -> Response:
    """Name the field and the reason, never the value that was sent, which may be anything."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    location = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    return _problem_response(
        request,
        422,
        f"{location[:60] or 'the request'}: {first['msg'][:200].lower()}".encode(errors="replace").decode(),
    )


async def _answer_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)
    return _problem_response(request, error.status_code, str(error.detail), error.headers)


def _problem_response(request: Request, status: int, text: str, headers: object = None) -> Response:
    more = dict(headers) if isinstance(headers, dict) else None
    if request.url.path.startswith("/api/"):
        return JSONResponse({"problem": text}, status, headers=more)
    return pages.problem_page(request, status, text, more)
