"""The report on a render: a page that stands alone, and a contact sheet. Problems first, then each post with its candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from models.picture.reading import open_picture, rgb
from models.system.files import write
from tasks.pages import html
from tasks.pages.contact_sheet import contact_sheet
from tasks.posts.post import Candidate
from tasks.render.results import Render, Rendered
from tasks.store.picture_files import Artifacts

LARGE, SMALL, MOST_OF_A_POST, MOST_ON_SHEET = 480, 160, 24, 60


def report(made: Render, studio: Path) -> Path:
    """Write `render.html` and `sheet.png` under the studio's renders; returns the page."""
    place = made.place(studio)
    sheet = _sheet(made, studio)
    if sheet:
        write(place / "sheet.png", sheet)
    path = place / "render.html"
    write(path, _page(made, studio))
    return path


def _page(made: Render, studio: Path) -> bytes:
    return html.filled(
        "render.html",
        persona=made.persona,
        lead=lead(made),
        problems=list(made.problems),
        notes=list(made.notes),
        failed=[each for each in made.posts if each.failed],
        posts=[_post(each, studio) for each in made.posts],
        references=[html.small(studio / each, SMALL) for each in made.references],
        token=made.token,
        id=made.id,
    )


def lead(made: Render) -> str:
    """In one sentence."""
    counts = made.counts()
    if not counts:
        return "Nothing could be rendered."
    parts = [f"{count} {'posts are' if count > 1 else 'post is'} {state}" for state, count in counts.items()]
    fresh = sum(each.fresh for each in made.posts)
    pictures = sum(len(each.candidates) for each in made.posts)
    return f"{', '.join(parts)}; {fresh} made now. Candidates in all: {pictures}."


def _post(each: Rendered, studio: Path) -> dict[str, Any]:
    post, chosen = each.post, each.chosen
    others = sorted((one for one in each.candidates if one != chosen), key=lambda one: (not one.passed, one.number))
    shown = post.content.pictures[0] if post.content.pictures else None
    return {
        "post": post,
        "day": f"{post.content.when:%a %Y-%m-%d %H:%M}",
        "failed": each.failed,
        "src": html.small(_master(shown.picture, studio), LARGE) if shown else "",
        "alt": shown.alt if shown else "",
        "reason": chosen.reason if chosen else "",
        "text": post.content.text,
        "runners": [_card(one, studio) for one in others if one.passed][:MOST_OF_A_POST],
        "dropped": [_card(one, studio) for one in others if not one.passed][:MOST_OF_A_POST],
        "more": max(0, sum(not one.passed for one in others) - MOST_OF_A_POST),
    }


def _card(candidate: Candidate, studio: Path) -> dict[str, Any]:
    return {
        "number": candidate.number,
        "src": html.small(_master(candidate.picture, studio), SMALL),
        "reason": candidate.reason,
        "scores": figures(candidate.scores),
    }


def figures(scores: Mapping[str, float]) -> str:
    """What counts most, for one line."""
    return ", ".join(f"{name} {scores[name]:.2f}" for name in ("identity", "prompt") if name in scores)


def _master(picture: str, studio: Path) -> Path:
    return Artifacts(studio).picture(picture)


def _sheet(made: Render, studio: Path) -> bytes | None:
    """The picture of every post; of a draft its first candidate with what is wrong."""
    pictures: list[Image.Image] = []
    captions: list[str] = []
    banners: list[str] = []
    for each in made.posts:
        picture = _shown(each)
        path = _master(picture, studio) if picture else None
        if path is None or not path.is_file() or len(pictures) == MOST_ON_SHEET:
            continue
        pictures.append(rgb(open_picture(path)))
        captions.append(f"{each.post.content.when:%a %d %b} {each.post.shot}\n{each.post.state}")
        banners.append(each.post.problem if each.failed else "")
    if not pictures:
        return None
    title = f"Posts of {made.persona}: {len(pictures)} of {len(made.posts)}"
    columns = 7 if len(pictures) > 8 else 0
    sheet = contact_sheet(pictures, captions, title, columns=columns, cell=208, banners=banners)
    return html.png(sheet)


def _shown(each: Rendered) -> str:
    if each.post.content.pictures:
        return each.post.content.pictures[0].picture
    return each.candidates[0].picture if each.candidates else ""


def markdown(made: Render, sheet: Path) -> str:
    """The report in short, for Prefect's page: the contact sheet inside, small enough to be stored in a database."""
    lines = [f"# Posts of {made.persona}", escape(lead(made), quote=False)]
    lines += [f"- **{escape(problem, quote=False)}**" for problem in made.failures]
    return "\n\n".join(filter(None, [*lines, html.shown(sheet, "contact sheet")]))


def lines(made: Render) -> list[str]:
    """A line for every post, for a terminal."""
    rows = [_row(each) for each in made.posts]
    if not rows:
        return []
    wide = [max(len(row[place]) for row in rows) for place in range(len(rows[0]) - 1)]
    return ["  ".join([*(text.ljust(width) for text, width in zip(row, wide, strict=False)), row[-1]]) for row in rows]


def _row(each: Rendered) -> Sequence[str]:
    chosen, post = each.chosen, each.post
    score = post.problem if each.failed else figures(chosen.scores) if chosen else ""
    state = post.state if each.fresh else f"{post.state} (was there)"
    return f"{post.content.when:%a %Y-%m-%d}", post.shot, post.id, state, score


def summary(made: Render) -> dict[str, Any]:
    """The same in a few values, for scripts and logs."""
    posts = [
        {
            "post": each.post.id,
            "key": each.post.key,
            "shot": each.post.shot,
            "when": each.post.content.when.isoformat(),
            "state": each.post.state,
            "made": each.fresh,
            "picture": each.post.content.pictures[0].picture if each.post.content.pictures else "",
            "scores": dict(each.chosen.scores) if each.chosen else {},
            "candidates": len(each.candidates),
            "problem": each.post.problem,
        }
        for each in made.posts
    ]
    return {"persona": made.persona, "posts": posts, "problems": list(made.problems), "notes": list(made.notes)}
