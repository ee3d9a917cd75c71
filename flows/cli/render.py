"""The command `restage render`: turn what is due into posts that await review."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from models.system.errors import UserError


def render_posts(
    persona: Annotated[str, typer.Argument(help="The name of a file in prompts/, such as pip, or its path.")],
    settings: Annotated[
        Path | None,
        typer.Option(
            "--settings", help="The settings file; ./settings.toml where it is not given.", show_default=False
        ),
    ] = None,
    days: Annotated[
        int, typer.Option(min=0, max=366, help="Render so many days ahead, from --since or today; 0: what is due now.")
    ] = 0,
    since: Annotated[
        str, typer.Option(help="The first day, such as 2026-12-24; since the last render where it is not given.")
    ] = "",
    until: Annotated[str, typer.Option(help="The last day; until now where it is not given.")] = "",
    again: Annotated[
        bool, typer.Option("--again", help="Also try the shots again of which no candidate passed.")
    ] = False,
    candidates: Annotated[
        int, typer.Option(min=0, max=1000, help="Pictures made of each shot; 0: what calendar and settings say.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Make candidates of all that is due, and of each shot the best one that passes the gates into a post for review.

    Ends with 1 where a shot could not be rendered or no candidate of it passed, and says why; the others are made.

    Example: restage render pip --days 14

    Example: restage render pip --since 2026-12-01 --until 2026-12-24
    """
    from flows.render import render_posts as run
    from tasks.render.due_posts import DateSpan
    from tasks.render.report import post_lines, render_summary
    from tasks.settings.settings import load_settings

    if days and until:
        raise UserError("--days and --until both say where to end: give one of them")
    outcome = run(persona, load_settings(settings), DateSpan(since, until, days), again, candidates)
    if as_json:
        values = {**render_summary(outcome.render_posts), "page": str(outcome.page or "")}
        typer.echo(json.dumps(values, indent=1, ensure_ascii=False))
    else:
        for line in post_lines(outcome.render_posts):
            typer.echo(line)
        for note in outcome.render_posts.notes:
            typer.secho(f"note: {note}", fg=typer.colors.YELLOW, err=True)
        for failure in outcome.render_posts.failures:
            typer.secho(failure, fg=typer.colors.RED, err=True)
        typer.echo(outcome.page or "nothing is due")
    if outcome.render_posts.failures:
        raise typer.Exit(1)
