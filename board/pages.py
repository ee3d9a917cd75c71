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
from board.api import PERSONA_PATTERN
from board.context import board_context, csrf_token
from board.images import Picture, Short
from board.post_card import LIMITS, STATE_LABELS, build_card, day_and_time, day_only, day_short
from tasks.persona.calendar_section import FIRST_DAY, LAST_DAY
from tasks.posts import post_store
from tasks.posts.states import State

router = APIRouter(include_in_schema=False)
PER_PAGE = 48
FEED = 9
ENVIRONMENT = Environment(
    loader=PackageLoader("board"), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
)
ENVIRONMENT.globals |= {"STATE_LABELS": STATE_LABELS, "LIMITS": LIMITS}
ENVIRONMENT.filters |= {"day_and_time": day_and_time, "day_short": day_short, "day_only": day_only}
Persona = Annotated[str, Query(pattern=PERSONA_PATTERN)]


def render_page(request: Request, name: str, status: int = 200, **values: Any) -> Response:
    sessions = board_context(request).sessions
    common: dict[str, Any] = {"token": csrf_token(request), "path": request.url.path}
    common["out"] = sessions.needs_password and sessions.is_open(request.state.session)
    return HTMLResponse(ENVIRONMENT.get_template(name).render(common | values), status)


def problem_page(request: Request, status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    answer = render_page(request, "problem.html", status, text=text)
    answer.headers.update(headers or {})
    return answer


@router.get("/")
def today_page(request: Request, page_number: Annotated[int, Query(alias="page", ge=1, le=10_000)] = 1) -> Response:
    """Show the posts that wait for a person, the earliest first."""
    return render_page(request, "today.html", day=home.home_page(board_context(request), page_number))


@router.get("/post/{post}")
def post_page(request: Request, post: Short) -> Response:
    return render_page(
        request,
        "post.html",
        card=build_card(board_context(request), post_store.get_post(board_context(request).store, post)),
    )


@router.get("/post/{post}/card")
def post_card(request: Request, post: Short) -> Response:
    """Return only the post's card, for the script to put in place of the old one."""
    return render_page(
        request,
        "card_alone.html",
        card=build_card(board_context(request), post_store.get_post(board_context(request).store, post)),
    )


@router.get("/posts")
def all_posts(
    request: Request,
    state: Annotated[State | None, Query()] = None,
    persona: Persona = "",
    page_number: Annotated[int, Query(alias="page", ge=1, le=1_000_000)] = 1,
) -> Response:
    store = board_context(request).store
    counts = post_store.count(store, persona=persona)
    total = counts.get(state, 0) if state else sum(counts.values())
    offset = (page_number - 1) * PER_PAGE
    page_posts = post_store.find(
        store, [state] if state else [], persona=persona, newest_first=True, limit=PER_PAGE, offset=offset
    )
    return render_page(
        request,
        "posts.html",
        posts=page_posts,
        counts=counts,
        state=state or "",
        persona=persona,
        personas=_persona_names(request),
        number=page_number,
        last=max(1, -(-total // PER_PAGE)),
        total=total,
    )


@router.get("/calendar")
def calendar_page(
    request: Request, start: Annotated[date | None, Query(alias="from")] = None, persona: Persona = ""
) -> Response:
    context = board_context(request)
    if start is not None and not FIRST_DAY + timedelta(days=60) <= start <= LAST_DAY - timedelta(days=60):
        raise HTTPException(404, f"there is no calendar around {start}: use a day from {FIRST_DAY} to {LAST_DAY}")
    first = start or context.now().date() - timedelta(days=7)
    shown_weeks = weeks.calendar_weeks(context, first, persona)
    return render_page(
        request, "calendar.html", weeks=shown_weeks, persona=persona, personas=_persona_names(request), start=start
    )


@router.get("/feed")
def feed_page(request: Request, persona: Persona = "") -> Response:
    """Show posts as on the account's own page: the newest first, and the approved ones before them."""
    store = board_context(request).store
    coming = post_store.find(
        store, ("approved", "preparing", "uploaded", "committing"), persona=persona, limit=FEED * 2
    )
    out = post_store.find(store, ("published",), persona=persona, newest_first=True, limit=FEED)
    tiles = [post for post in [*reversed(coming), *out] if post.content.kind != "story"]
    return render_page(
        request, "feed.html", tiles=tiles[: max(FEED, len(coming))], persona=persona, personas=_persona_names(request)
    )


@router.get("/reports")
def reports_page(request: Request) -> Response:
    return render_page(
        request, "reports.html", reports=found_reports.list_reports(board_context(request).loaded.studio)
    )


@router.get("/reports/{report}")
def report_in_frame(request: Request, report: Short) -> Response:
    return render_page(request, "report.html", report=_find_report(request, report))


@router.get("/reports/{report}/page")
def report_page(request: Request, report: Short) -> Response:
    """Return the report in a sandbox: it may show its pictures and do nothing."""
    path = _find_report(request, report).path
    headers = {"content-security-policy": found_reports.POLICY, "x-frame-options": "SAMEORIGIN"}
    try:
        return HTMLResponse(path.read_bytes(), headers=headers)
    except OSError:
        raise HTTPException(404, "there is no such report any more") from None


@router.get("/picture/{picture}")
def picture_page(request: Request, picture: Picture) -> Response:
    """Show where a picture comes from, and which posts use it."""
    path = board_context(request).artifacts.picture_path(picture)
    if not path.is_file():
        raise HTTPException(404, f"there is no picture {picture} in this studio")
    return render_page(
        request, "picture.html", trace=picture_history.trace_picture(board_context(request), picture, path)
    )


def _find_report(request: Request, report_id: str) -> found_reports.ReportFile:
    report = found_reports.find_report(board_context(request).loaded.studio, report_id)
    if report is None:
        raise HTTPException(404, "there is no such report any more")
    return report


def _persona_names(request: Request) -> list[str]:
    from tasks.persona.persona import persona_names

    return persona_names(board_context(request).loaded.folder)
