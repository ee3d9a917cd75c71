"""The pages people look at. What they do there goes to `api`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from board import calendar as weeks
from board import home, picture_history
from board import reports as found_reports
from board.api import NAME
from board.context import desk, token
from board.images import Picture, Short
from board.post_card import LIMITS, SAID, card, day_and_time, day_only, day_short
from tasks.persona.calendar_section import FIRST_DAY, LAST_DAY
from tasks.posts import post_store
from tasks.posts.states import State

router = APIRouter(include_in_schema=False)
PER_PAGE = 48
FEED = 9
ENVIRONMENT = Environment(
    loader=PackageLoader("board"), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
)
ENVIRONMENT.globals |= {"SAID": SAID, "LIMITS": LIMITS}
ENVIRONMENT.filters |= {"day_and_time": day_and_time, "day_short": day_short, "day_only": day_only}
Persona = Annotated[str, Query(pattern=NAME)]


def page(request: Request, name: str, status: int = 200, **values: Any) -> Response:
    sessions = desk(request).sessions
    known: dict[str, Any] = {"token": token(request), "path": request.url.path}
    known["out"] = sessions.needed and sessions.holds(request.state.session)
    return HTMLResponse(ENVIRONMENT.get_template(name).render(known | values), status)


def problem(request: Request, status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    answer = page(request, "problem.html", status, text=text)
    answer.headers.update(headers or {})
    return answer


@router.get("/")
def today_page(request: Request, page_number: Annotated[int, Query(alias="page", ge=1, le=10_000)] = 1) -> Response:
    """What waits for a person, the earliest first."""
    return page(request, "today.html", day=home.today(desk(request), page_number))


@router.get("/post/{post}")
def one(request: Request, post: Short) -> Response:
    return page(request, "post.html", card=card(desk(request), post_store.get(desk(request).store, post)))


@router.get("/post/{post}/card")
def one_card(request: Request, post: Short) -> Response:
    """Only its card, for the script to put in place of the old one."""
    return page(request, "card_alone.html", card=card(desk(request), post_store.get(desk(request).store, post)))


@router.get("/posts")
def all_posts(
    request: Request,
    state: Annotated[State | None, Query()] = None,
    persona: Persona = "",
    page_number: Annotated[int, Query(alias="page", ge=1, le=1_000_000)] = 1,
) -> Response:
    store = desk(request).store
    counts = post_store.count(store, persona=persona)
    total = counts.get(state, 0) if state else sum(counts.values())
    at = (page_number - 1) * PER_PAGE
    shown = post_store.find(
        store, [state] if state else [], persona=persona, newest_first=True, limit=PER_PAGE, offset=at
    )
    return page(
        request,
        "posts.html",
        posts=shown,
        counts=counts,
        state=state or "",
        persona=persona,
        personas=_names(request),
        number=page_number,
        last=max(1, -(-total // PER_PAGE)),
        total=total,
    )


@router.get("/calendar")
def calendar(
    request: Request, start: Annotated[date | None, Query(alias="from")] = None, persona: Persona = ""
) -> Response:
    here = desk(request)
    if start is not None and not FIRST_DAY + timedelta(days=60) <= start <= LAST_DAY - timedelta(days=60):
        raise HTTPException(404, f"there is no calendar around {start}: use a day from {FIRST_DAY} to {LAST_DAY}")
    first = start or here.now().date() - timedelta(days=7)
    found = weeks.weeks(here, first, persona)
    return page(request, "calendar.html", weeks=found, persona=persona, personas=_names(request), start=start)


@router.get("/feed")
def feed(request: Request, persona: Persona = "") -> Response:
    """As on the account's own page: the newest first, and what is approved before that."""
    store = desk(request).store
    coming = post_store.find(
        store, ("approved", "preparing", "uploaded", "committing"), persona=persona, limit=FEED * 2
    )
    out = post_store.find(store, ("published",), persona=persona, newest_first=True, limit=FEED)
    tiles = [post for post in [*reversed(coming), *out] if post.content.kind != "story"]
    return page(request, "feed.html", tiles=tiles[: max(FEED, len(coming))], persona=persona, personas=_names(request))


@router.get("/reports")
def reports(request: Request) -> Response:
    return page(request, "reports.html", reports=found_reports.reports(desk(request).loaded.studio))


@router.get("/reports/{report}")
def report(request: Request, report: Short) -> Response:
    return page(request, "report.html", report=_report(request, report))


@router.get("/reports/{report}/page")
def report_page(request: Request, report: Short) -> Response:
    """What the step wrote, in a box: it may show its pictures and do nothing."""
    path = _report(request, report).path
    headers = {"content-security-policy": found_reports.POLICY, "x-frame-options": "SAMEORIGIN"}
    try:
        return HTMLResponse(path.read_bytes(), headers=headers)
    except OSError:
        raise HTTPException(404, "there is no such report any more") from None


@router.get("/picture/{picture}")
def picture(request: Request, picture: Picture) -> Response:
    """Where a picture comes from, and what became of it."""
    path = desk(request).artifacts.picture(picture)
    if not path.is_file():
        raise HTTPException(404, f"there is no picture {picture} in this studio")
    return page(request, "picture.html", trace=picture_history.trace(desk(request), picture, path))


def _report(request: Request, wanted: str) -> found_reports.Report:
    found = found_reports.report(desk(request).loaded.studio, wanted)
    if found is None:
        raise HTTPException(404, "there is no such report any more")
    return found


def _names(request: Request) -> list[str]:
    from tasks.persona.persona import names

    return names(desk(request).loaded.folder)
