"""The command `restage calendar`: what the next days will bring, to the word and the seed."""

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
    from tasks.calendar.due import Due, Plan
    from tasks.persona.calendar_section import CalendarShot
    from tasks.persona.persona import Persona

WIDEST = 100
LABEL = 10
"""Columns for the name of a text."""


def calendar(
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
    from tasks.persona.persona import find, names
    from tasks.settings.settings import load

    loaded = load(settings)
    folder = loaded.folder
    found = [find(name, folder) for name in ([persona] if persona else names(folder))]
    if not found:
        raise UserError(f"there is no persona in {folder / 'prompts'}: make one with restage new persona NAME")
    plans = [(each, _ahead(each, start, days, loaded.clock())) for each in found]
    problems = list(dict.fromkeys(str(problem) for _, plan in plans for problem in plan.problems))
    if as_json:
        typer.echo(json.dumps(_plain(plans, problems), indent=1, ensure_ascii=False))
    else:
        for each, plan in plans:
            _show(each, plan)
        for problem in problems:
            typer.secho(problem, fg=typer.colors.RED, err=True)
    if problems:
        raise typer.Exit(1)


def _ahead(persona: Persona, start: str, days: int, now: datetime) -> Plan:
    """Whole days of the calendar's time zone."""
    from tasks.calendar.due import local_midnight
    from tasks.calendar.wording import plan_ahead

    first = _day(start) if start else now.astimezone(persona.calendar.zone).date()
    since, until = (local_midnight(persona, day) for day in (first, first + timedelta(days=days)))
    moment = timedelta(microseconds=1)  # the first midnight belongs to it, the last one does not
    return plan_ahead(persona, since.astimezone(UTC) - moment, until.astimezone(UTC) - moment)


def _day(text: str) -> date:
    from tasks.persona.calendar_section import FIRST_DAY, LAST_DAY, day_of

    day = day_of(text)
    if day is None or not FIRST_DAY <= day <= LAST_DAY:
        raise UserError(f"--from {text!r} is no date from {FIRST_DAY} to {LAST_DAY}: write it as 2026-12-24")
    return day


def _show(persona: Persona, plan: Plan) -> None:
    width = min(shutil.get_terminal_size().columns, WIDEST) if sys.stdout.isatty() else 0
    count = len(plan.due)
    shown = "nothing is due" if not count else f"{count} {'picture' if count == 1 else 'pictures'}"
    typer.echo(f"{typer.style(persona.name, bold=True)}: {shown} ({persona.calendar.timezone})")
    for day, due in groupby(plan.due, key=lambda each: each.when.date()):
        typer.secho(f"\n{day:%a} {day.day} {day:%b %Y}", bold=True)
        for each in due:
            _show_due(each, width)
    for note in plan.notes:
        typer.secho(f"note: {note}", fg=typer.colors.YELLOW, err=True)
    typer.echo()


def _show_due(each: Due, width: int) -> None:
    facts = [f"{each.when:%H:%M}", each.entry.size, f"no. {each.count}", f"seed {each.seed}"]
    typer.echo("  " + " · ".join([typer.style(each.shot, fg=typer.colors.CYAN), *facts]))
    for name, text in _texts(each):
        for line in _wrapped(name, text, width):
            typer.echo(line)


def _texts(each: Due) -> Iterator[tuple[str, str]]:
    words = each.words
    texts = {"prompt": words.prompt, "negative": words.negative or "", "caption": words.caption, "alt": words.alt}
    texts["hashtags"] = " ".join(f"#{tag}" for tag in words.hashtags)
    texts["starts from"] = str(each.init or each.init_key)
    texts["made with"] = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in _knobs(each.entry).items())
    return ((name, text) for name, text in texts.items() if text and text != ".")


def _knobs(entry: CalendarShot) -> dict[str, Any]:
    """What the calendar says of how the picture is made, as it is said there; what it leaves to others is left out."""
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
    unsaid = {name: type(entry).model_fields[name].default for name in names}
    said = {name: getattr(entry, name) for name in names if getattr(entry, name) != unsaid[name]}
    if "refiner" not in said:
        said.pop("refiner_strength", None)
    return said | ({"loras": ", ".join(entry.loras)} if entry.loras else {})


def _wrapped(name: str, text: str, width: int) -> Iterator[str]:
    """Whole lines where somebody pipes them on, so that a prompt can be searched for."""
    before, after = f"    {name:<{LABEL}}", " " * (4 + LABEL)
    for number, line in enumerate(text.splitlines() or [""]):
        first = before if number == 0 else after
        yield from textwrap.wrap(
            line, width or sys.maxsize, initial_indent=first, subsequent_indent=after, break_on_hyphens=False
        ) or [""]


def _plain(plans: Sequence[tuple[Persona, Plan]], problems: Sequence[str]) -> dict[str, Any]:
    due = [_facts(each) for _, plan in plans for each in plan.due]
    return {"due": due, "problems": problems, "notes": [note for _, plan in plans for note in plan.notes]}


def _facts(each: Due) -> dict[str, Any]:
    words, entry = each.words, each.entry
    return {
        "key": each.key,
        "persona": each.persona,
        "shot": each.shot,
        "when": each.when.isoformat(),
        "count": each.count,
        "seed": each.seed,
        "size": entry.size,
        "candidates": entry.candidates,
        "account": entry.account,
        "prompt": words.prompt,
        "negative": words.negative,
        "caption": words.caption,
        "alt": words.alt,
        "hashtags": list(words.hashtags),
        "init": str(each.init) if each.init else each.init_key or None,
        "steps": entry.steps,
        "guidance": entry.guidance,
        "guidance_until": entry.guidance_until,
        "sampler": entry.sampler,
        "strength": entry.strength,
        "token_weight": entry.token_weight,
        "loras": {str(path): weight for path, weight in each.loras},
        "refiner": entry.refiner or None,
        "refiner_strength": entry.refiner_strength if entry.refiner else None,
    }
