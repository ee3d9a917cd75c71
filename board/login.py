"""Coming in with the password, and going out."""

from __future__ import annotations

from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from starlette.requests import ClientDisconnect

from board.context import Desk, desk
from board.pages import page
from board.request_guard import ANYBODY, COOKIE

router = APIRouter(include_in_schema=False)


@router.get("/login")
def ask(request: Request, next: str = "/") -> Response:
    if not desk(request).sessions.needed:
        return RedirectResponse("/", 303)
    return _form(request, next, "", 200)


@router.post("/login")
async def enter(request: Request) -> Response:
    """Wrong passwords cost more and more time; while somebody waits, nothing is compared."""
    here, said = desk(request), await _fields(request)
    goal, address = said.get("next", "/"), request.client.host if request.client else ""
    if not here.sessions.is_token(said.get("token", ""), ANYBODY):
        return _form(request, goal, "The page was too old: try once more.", 403)
    if wait := here.patience.wait(address):
        form = _form(request, goal, f"Too many wrong passwords: try again in {wait:.0f} seconds.", 429)
        form.headers["retry-after"] = f"{max(1, round(wait))}"
        return form
    if not here.sessions.fits(said.get("password", "")):
        here.patience.wrong(address)
        return _form(request, goal, "That is not the password.", 401)
    here.patience.right(address)
    here.sessions.end(request.state.session)  # one that somebody brought along is never made worth more
    answer = RedirectResponse(_inside(goal), 303)
    secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, here.sessions.begin(), httponly=True, samesite="strict", secure=secure, path="/")
    return answer


@router.post("/logout")
async def leave(request: Request) -> Response:
    here, said = desk(request), await _fields(request)
    if not here.sessions.is_token(said.get("token", ""), request.state.session):
        return page(request, "problem.html", 403, text="the page is too old for this: load it again")
    here.sessions.end(request.state.session)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer


def _form(request: Request, goal: str, problem: str, status: int) -> Response:
    here: Desk = desk(request)
    return page(request, "login.html", status, next=_inside(goal), problem=problem, token=here.sessions.token(ANYBODY))


def _inside(goal: str) -> str:
    """A page of ours: what begins with two slashes is another machine."""
    plain = goal.isprintable() and goal.startswith("/") and not goal.startswith("//") and "\\" not in goal
    return goal if plain else "/"


async def _fields(request: Request) -> dict[str, str]:
    """A plain form, read without a library for uploads."""
    try:
        found = parse_qs((await request.body()).decode(), keep_blank_values=True, max_num_fields=10)
    except (ValueError, ClientDisconnect):
        return {}
    return {name: values[0] for name, values in found.items()}
