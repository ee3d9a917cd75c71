"""The report on a render: a page that stands alone, and a contact sheet. Problems first, then each post with its candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from models.picture.reading import convert_to_rgb, open_picture
from models.system.files import write_file
from tasks.pages import html
from tasks.pages.contact_sheet import contact_sheet
from tasks.posts.post import PostCandidate
from tasks.render.results import RenderedPost, RenderResult
from tasks.store.picture_files import PictureFiles

LARGE, SMALL, MAX_CANDIDATES_SHOWN, MAX_ON_SHEET = 480, 160, 24, 60


def write_report(result: RenderResult, studio: Path) -> Path:
    """Write `render.html` and `sheet.png` under the studio's renders; return the page."""
    place = result.place(studio)
    sheet = _render_sheet(result, studio)
    if sheet:
        write_file(place / "sheet.png", sheet)
    path = place / "render.html"
    write_file(path, _render_page(result, studio))
    return path


def _render_page(result: RenderResult, studio: Path) -> bytes:
    return html.render_template(
        "render.html",
        persona=result.persona,
        lead=lead_sentence(result),
        problems=list(result.problems),
        notes=list(result.notes),
        failed=[rendered for rendered in result.posts if rendered.failed],
        posts=[_post_values(rendered, studio) for rendered in result.posts],
        references=[html.thumbnail_data_uri(studio / path, SMALL) for path in result.references],
        token=result.token,
        id=result.id,
    )


def lead_sentence(result: RenderResult) -> str:
    """Summarize the render in one sentence."""
    counts = result.counts()
    if not counts:
        return "Nothing could be rendered."
    parts = [f"{count} {'posts are' if count > 1 else 'post is'} {state}" for state, count in counts.items()]
    fresh = sum(rendered.fresh for rendered in result.posts)
    pictures = sum(len(rendered.candidates) for rendered in result.posts)
    return f"{', '.join(parts)}; {fresh} made now. Candidates in all: {pictures}."


def _post_values(rendered: RenderedPost, studio: Path) -> dict[str, Any]:
    post, best = rendered.post, rendered.chosen
    others = sorted(
        (candidate for candidate in rendered.candidates if candidate != best),
        key=lambda other: (not other.passed, other.number),
    )
    picture = post.content.pictures[0] if post.content.pictures else None
    return {
        "post": post,
        "day": f"{post.content.when:%a %Y-%m-%d %H:%M}",
        "failed": rendered.failed,
        "src": html.thumbnail_data_uri(_master_path(picture.picture, studio), LARGE) if picture else "",
        "alt": picture.alt if picture else "",
        "reason": best.reason if best else "",
        "text": post.content.text,
        "runners": [_candidate_values(candidate, studio) for candidate in others if candidate.passed][
            :MAX_CANDIDATES_SHOWN
        ],
        "dropped": [_candidate_values(candidate, studio) for candidate in others if not candidate.passed][
            :MAX_CANDIDATES_SHOWN
        ],
        "more": max(0, sum(not candidate.passed for candidate in others) - MAX_CANDIDATES_SHOWN),
    }


def _candidate_values(candidate: PostCandidate, studio: Path) -> dict[str, Any]:
    return {
        "number": candidate.number,
        "src": html.thumbnail_data_uri(_master_path(candidate.picture, studio), SMALL),
        "reason": candidate.reason,
        "scores": format_scores(candidate.scores),
    }


def format_scores(scores: Mapping[str, float]) -> str:
    """Format the most important scores for one line."""
    return ", ".join(f"{name} {scores[name]:.2f}" for name in ("identity", "prompt") if name in scores)


def _master_path(picture: str, studio: Path) -> Path:
    return PictureFiles(studio).picture_path(picture)


def _render_sheet(result: RenderResult, studio: Path) -> bytes | None:
    """Draw a contact sheet of every post's picture; for a draft, its first candidate with the problem."""
    pictures: list[Image.Image] = []
    captions: list[str] = []
    banners: list[str] = []
    for rendered in result.posts:
        picture = _sheet_picture(rendered)
        path = _master_path(picture, studio) if picture else None
        if path is None or not path.is_file() or len(pictures) == MAX_ON_SHEET:
            continue
        pictures.append(convert_to_rgb(open_picture(path)))
        captions.append(f"{rendered.post.content.when:%a %d %b} {rendered.post.shot}\n{rendered.post.state}")
        banners.append(rendered.post.problem if rendered.failed else "")
    if not pictures:
        return None
    title = f"Posts of {result.persona}: {len(pictures)} of {len(result.posts)}"
    columns = 7 if len(pictures) > 8 else 0
    sheet = contact_sheet(pictures, captions, title, columns=columns, cell=208, banners=banners)
    return html.png_bytes(sheet)


def _sheet_picture(rendered: RenderedPost) -> str:
    if rendered.post.content.pictures:
        return rendered.post.content.pictures[0].picture
    return rendered.candidates[0].picture if rendered.candidates else ""


def report_markdown(result: RenderResult, sheet: Path) -> str:
    """Write the short report for Prefect's page, with a contact sheet small enough for its database."""
    lines = [f"# Posts of {result.persona}", escape(lead_sentence(result), quote=False)]
    lines += [f"- **{escape(problem, quote=False)}**" for problem in result.failures]
    return "\n\n".join(filter(None, [*lines, html.markdown_image(sheet, "contact sheet")]))


def post_lines(result: RenderResult) -> list[str]:
    """List one line for every post, for a terminal."""
    rows = [_post_row(rendered) for rendered in result.posts]
    if not rows:
        return []
    wide = [max(len(row[place]) for row in rows) for place in range(len(rows[0]) - 1)]
    return ["  ".join([*(text.ljust(width) for text, width in zip(row, wide, strict=False)), row[-1]]) for row in rows]


def _post_row(rendered: RenderedPost) -> Sequence[str]:
    candidate, post = rendered.chosen, rendered.post
    score = post.problem if rendered.failed else format_scores(candidate.scores) if candidate else ""
    state = post.state if rendered.fresh else f"{post.state} (was there)"
    return f"{post.content.when:%a %Y-%m-%d}", post.shot, post.id, state, score


def render_summary(result: RenderResult) -> dict[str, Any]:
    """Return the render as a few values, for scripts and logs."""
    posts = [
        {
            "post": rendered.post.id,
            "key": rendered.post.key,
            "shot": rendered.post.shot,
            "when": rendered.post.content.when.isoformat(),
            "state": rendered.post.state,
            "made": rendered.fresh,
            "picture": rendered.post.content.pictures[0].picture if rendered.post.content.pictures else "",
            "scores": dict(rendered.chosen.scores) if rendered.chosen else {},
            "candidates": len(rendered.candidates),
            "problem": rendered.post.problem,
        }
        for rendered in result.posts
    ]
    return {"persona": result.persona, "posts": posts, "problems": list(result.problems), "notes": list(result.notes)}
