"""The command `restage calendar`: show what is due in the next days, with the exact prompts and seeds."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.system.errors import UserError

if TYPE_CHECKING:
    from tasks.calendar.due import DuePlan, DueShot
    from tasks.persona.calendar_section import CalendarShot
    from tasks.persona.persona import Persona

MAX_COLUMNS = 100
LABEL_COLUMNS = 10
"""Width of the column with the name of a text."""


def show_calendar(
    persona: Annotated[
        str, typer.Argument(help="The name of a file in prompts/, such as pip, or its path; all where it is not given.")
    ] = "",
    settings: Annotated[
        Path | None,
        typer.Option(
            "--settings", help="The settings file; ./settings.toml where it is not given.", show_default=False
        ),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=366, help="How many days to show.")] = 14,
    start: Annotated[
        str, typer.Option("--from", help="The first day, such as 2026-12-24; today where it is not given.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Show what is due in the next days: the exact prompts, captions and seeds.

    Ends with 1 where a shot cannot be made, and says why.

    Example: restage calendar pip --days 30
    """
    from tasks.persona.persona import find_persona, persona_names
    from tasks.settings.settings import load_settings

    loaded = load_settings(settings)
    folder = loaded.folder
    personas = [find_persona(name, folder) for name in ([persona] if persona else persona_names(folder))]
    if not personas:
        raise UserError(f"there is no persona in {folder / 'prompts'}: make one with restage new persona NAME")
    plans = [(loaded_persona, _plan_days(loaded_persona, start, days, loaded.clock())) for loaded_persona in personas]
    problems = list(dict.fromkeys(str(problem) for _, plan in plans for problem in plan.problems))
    if as_json:
        typer.echo(json.dumps(_as_json(plans, problems), indent=1, ensure_ascii=False))
    else:
        for loaded_persona, plan in plans:
            _show_plan(loaded_persona, plan)
        for problem in problems:
            typer.secho(problem, fg=typer.colors.RED, err=True)
    if problems:
        raise typer.Exit(1)


def _plan_days(persona: Persona, start: str, days: int, now: datetime) -> DuePlan:
    """Plan whole days in the calendar's time zone."""
    from tasks.calendar.due import local_midnight
    from tasks.calendar.wording import plan_ahead

    first = _parse_day(start) if start else now.astimezone(persona.calendar.zone).date()
    since, until = (local_midnight(persona, day) for day in (first, first + timedelta(days=days)))
    moment = timedelta(microseconds=1)  # the first midnight belongs to it, the last one does not
    return plan_ahead(persona, since.astimezone(UTC) - moment, until.astimezone(UTC) - moment)


def _parse_day(text: str) -> date:
    from tasks.persona.calendar_section import FIRST_DAY, LAST_DAY, day_of

    day = day_of(text)
    if day is None or not FIRST_DAY <= day <= LAST_DAY:
        raise UserError(f"--from {text!r} is no date from {FIRST_DAY} to {LAST_DAY}: write it as 2026-12-24")
    return day


def _show_plan(persona: Persona, plan: DuePlan) -> None:
    width = min(shutil.get_terminal_size().columns, MAX_COLUMNS) if sys.stdout.isatty() else 0
    count = len(plan.due)
    summary = "nothing is due" if not count else f"{count} {'picture' if count == 1 else 'pictures'}"
    typer.echo(f"{typer.style(persona.name, bold=True)}: {summary} ({persona.calendar.timezone})")
    for day, due in groupby(plan.due, key=lambda due_shot: due_shot.when.date()):
        typer.secho(f"\n{day:%a} {day.day} {day:%b %Y}", bold=True)
        for due_shot in due:
            _show_due(due_shot, width)
    for note in plan.notes:
        typer.secho(f"note: {note}", fg=typer.colors.YELLOW, err=True)
    typer.echo()


def _show_due(due_shot: DueShot, width: int) -> None:
    facts = [f"{due_shot.when:%H:%M}", due_shot.entry.size, f"no. {due_shot.count}", f"seed {due_shot.seed}"]
    typer.echo("  " + " · ".join([typer.style(due_shot.shot, fg=typer.colors.CYAN), *facts]))
    for name, text in _list_texts(due_shot):
        for line in _wrap_text(name, text, width):
            typer.echo(line)


def _list_texts(due_shot: DueShot) -> Iterator[tuple[str, str]]:
    shot_texts = due_shot.words
    texts = {
        "prompt": shot_texts.prompt,
        "negative": shot_texts.negative or "",
        "caption": shot_texts.caption,
        "alt": shot_texts.alt,
    }
    texts["hashtags"] = " ".join(f"#{tag}" for tag in shot_texts.hashtags)
    texts["starts from"] = str(due_shot.init or due_shot.init_key)
    texts["made with"] = ", ".join(
        f"{name.replace('_', ' ')} {value}" for name, value in _render_settings(due_shot.entry).items()
    )
    return ((name, text) for name, text in texts.items() if text and text != ".")


def _render_settings(entry: CalendarShot) -> dict[str, Any]:
    """Return the render settings that the calendar entry sets itself; what it leaves at the default is left out."""
    names = (
        "steps",
        "guidance",
        "guidance_until",
        "sampler",
        "strength",
        "token_weight",
        "refiner",
        "refiner_strength",
    )
    defaults = {name: type(entry).model_fields[name].default for name in names}
    values = {name: getattr(entry, name) for name in names if getattr(entry, name) != defaults[name]}
    if "refiner" not in values:
        values.pop("refiner_strength", None)
    return values | ({"loras": ", ".join(entry.loras)} if entry.loras else {})


def _wrap_text(name: str, text: str, width: int) -> Iterator[str]:
    """Wrap a text for the terminal. In a pipe, lines stay whole, so that a prompt can be searched for."""
    before, after = f"    {name:<{LABEL_COLUMNS}}", " " * (4 + LABEL_COLUMNS)
    for number, line in enumerate(text.splitlines() or [""]):
        first = before if number == 0 else after
        yield from textwrap.wrap(
            line, width or sys.maxsize, initial_indent=first, subsequent_indent=after, break_on_hyphens=False
        ) or [""]


def _as_json(plans: Sequence[tuple[Persona, DuePlan]], problems: Sequence[str]) -> dict[str, Any]:
    due = [_due_as_json(due_shot) for _, plan in plans for due_shot in plan.due]
    return {"due": due, "problems": problems, "notes": [note for _, plan in plans for note in plan.notes]}


def _due_as_json(due_shot: DueShot) -> dict[str, Any]:
    shot_texts, entry = due_shot.words, due_shot.entry
    return {
        "key": due_shot.key,
        "persona": due_shot.persona,
        "shot": due_shot.shot,
        "when": due_shot.when.isoformat(),
        "count": due_shot.count,
        "seed": due_shot.seed,
        "size": entry.size,
        "candidates": entry.candidates,
        "account": entry.account,
        "prompt": shot_texts.prompt,
        "negative": shot_texts.negative,
        "caption": shot_texts.caption,
        "alt": shot_texts.alt,
        "hashtags": list(shot_texts.hashtags),
        "init": str(due_shot.init) if due_shot.init else due_shot.init_key or None,
        "steps": entry.steps,
        "guidance": entry.guidance,
        "guidance_until": entry.guidance_until,
        "sampler": entry.sampler,
        "strength": entry.strength,
        "token_weight": entry.token_weight,
        "loras": {str(path): weight for path, weight in due_shot.loras},
        "refiner": entry.refiner or None,
        "refiner_strength": entry.refiner_strength if entry.refiner else None,
    }
