"""Log in with the password, and log out."""

from __future__ import annotations

from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from starlette.requests import ClientDisconnect

from board.context import BoardContext, board_context
from board.pages import render_page
from board.request_guard import ANYBODY, COOKIE

router = APIRouter(include_in_schema=False)


@router.get("/login")
def login_form(request: Request, next: str = "/") -> Response:
    if not board_context(request).sessions.needs_password:
        return RedirectResponse("/", 303)
    return _render_form(request, next, "", 200)


@router.post("/login")
async def log_in(request: Request) -> Response:
    """Check the password. Wrong ones cost more and more time; while somebody has to wait, nothing is compared."""
    context, fields = board_context(request), await _read_fields(request)
    goal, address = fields.get("next", "/"), request.client.host if request.client else ""
    if not context.sessions.is_token(fields.get("token", ""), ANYBODY):
        return _render_form(request, goal, "The page was too old: try once more.", 403)
    if wait := context.login_throttle.seconds_to_wait(address):
        form = _render_form(request, goal, f"Too many wrong passwords: try again in {wait:.0f} seconds.", 429)
        form.headers["retry-after"] = f"{max(1, round(wait))}"
        return form
    if not context.sessions.password_matches(fields.get("password", "")):
        context.login_throttle.record_failure(address)
        return _render_form(request, goal, "That is not the password.", 401)
    context.login_throttle.reset_failures(address)
    context.sessions.end_session(request.state.session)  # one that somebody brought along is never made worth more
    answer = RedirectResponse(_local_target(goal), 303)
    secure = request.url.scheme == "https"
    answer.set_cookie(
        COOKIE, context.sessions.begin_session(), httponly=True, samesite="strict", secure=secure, path="/"
    )
    return answer


@router.post("/logout")
async def log_out(request: Request) -> Response:
    context, fields = board_context(request), await _read_fields(request)
    if not context.sessions.is_token(fields.get("token", ""), request.state.session):
        return render_page(request, "problem.html", 403, text="the page is too old for this: load it again")
    context.sessions.end_session(request.state.session)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer


def _render_form(request: Request, goal: str, problem: str, status: int) -> Response:
    context: BoardContext = board_context(request)
    return render_page(
        request,
        "login.html",
        status,
        next=_local_target(goal),
        problem=problem,
        token=context.sessions.csrf_token(ANYBODY),
    )


def _local_target(goal: str) -> str:
    """Return a path of this board: a path that begins with two slashes is another machine."""
    plain = goal.isprintable() and goal.startswith("/") and not goal.startswith("//") and "\\" not in goal
    return goal if plain else "/"


async def _read_fields(request: Request) -> dict[str, str]:
    """Read a plain form, without a library for uploads."""
    try:
        fields = parse_qs((await request.body()).decode(), keep_blank_values=True, max_num_fields=10)
    except (ValueError, ClientDisconnect):
        return {}
    return {name: values[0] for name, values in fields.items()}
