"""The commands around the daily run: `restage serve`, `daily`, `status`, `doctor` and `init`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

Where = Annotated[
    Path | None,
    typer.Option("--settings", help="The settings file; ./settings.toml where it is not given.", show_default=False),
]

AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]


def serve(
    settings: Where = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Prefect's port; [server] port where it is not given.")
    ] = None,
) -> None:
    """Run everything: Prefect with its pages, the daily runs on their schedule, and the review page.

    Ends with 0 when it is told to (SIGTERM), with 130 at Ctrl-C, and with 1 on any error. A run that is stopped with it
    goes on from where it was when it is started again.

    Example: restage serve --port 4300
    """
    from flows.serving.serve import serve as run
    from tasks.settings.settings import load

    file = Path(settings or os.environ.get("RESTAGE_SETTINGS") or "settings.toml").expanduser()
    run(load(file), file, typer.echo, port)


def doctor(settings: Where = None, as_json: AsJson = False) -> None:
    """Look for what would stop a run, and say how to mend it. It asks no network.

    Ends with 1 where something has to be mended.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # looking for a model must not download it
    from flows.cli.doctor import doctor as look
    from tasks.settings.settings import load

    found = []
    for check in look(load(settings)):
        found.append(check)
        if not as_json:
            typer.echo(check.line)
    if as_json:
        rows = [{"check": each.name, "good": each.good, "said": each.said, "remedy": each.remedy} for each in found]
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
    if any(each.good is False for each in found):
        raise typer.Exit(1)


def daily(
    persona: Annotated[str, typer.Argument(help="The name of a file in prompts/, such as pip, or its path.")],
    settings: Where = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write the posts to disk, and leave them approved.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make what is due, leave it for review, and publish what is approved and due.

    Ends with 1 where something could not be made, failed or needs a person; the rest is done all the same.

    Example: restage daily pip --dry-run
    """
    from flows.daily import daily as run
    from flows.daily import lines, summary
    from tasks.settings.settings import load

    loaded = load(settings)
    done = run(persona, loaded, dry_run)
    if as_json:
        typer.echo(json.dumps(summary(done), indent=1, ensure_ascii=False))
    else:
        for line in lines(done, loaded):
            typer.echo(line)
    if done.failures:
        raise typer.Exit(1)


def status(settings: Where = None, as_json: AsJson = False) -> None:
    """Show what is due, to review, approved, published and in trouble, and when the runs were and will be.

    Example: restage status --json
    """
    from flows.cli.status import lines, summary
    from flows.cli.status import status as look
    from tasks.settings.settings import load

    found = look(load(settings))
    if as_json:
        typer.echo(json.dumps(summary(found), indent=1, ensure_ascii=False))
        return
    for line in lines(found):
        typer.echo(line)


def init(
    folder: Annotated[Path | None, typer.Argument(help="Where settings and personas will lie.")] = None,
    persona: Annotated[str, typer.Option(help="The name of the first persona, such as pip.")] = "",
    model: Annotated[str, typer.Option(help="toybox (small, offline), sdxl, or any model's name or path.")] = "",
    account: Annotated[str | None, typer.Option(help="The Instagram account; empty writes posts to disk.")] = None,
    at: Annotated[str, typer.Option(help="When the daily run starts, such as 09:00.")] = "",
    timezone: Annotated[str, typer.Option(help="Such as Europe/Berlin.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing; take the defaults for what is not given.")] = False,
) -> None:
    """Write settings.toml and a first persona, from a few answers. Nothing that is there is overwritten.

    Example: restage init studio-of-mara --persona mara --model sdxl --at 08:30 --timezone Europe/Berlin --yes
    """
    from flows.cli.init import Answers, local_zone, next_steps
    from flows.cli.init import init as write

    def answer(said: str | None, question: str, default: str) -> str:
        if said is not None and (said or default == ""):
            return said
        return default if yes or not sys.stdin.isatty() else typer.prompt(question, default, show_default=bool(default))

    answers = Answers(
        folder=Path(answer(str(folder) if folder else None, "Folder for settings and personas", ".")),
        persona=answer(persona, "Name of the first persona", "pip"),
        model=answer(model, "Model: toybox (small, offline, any machine), sdxl, or a name or path", "toybox"),
        account=answer(account, "Instagram account (empty: posts are written to disk)", "").lstrip("@"),
        at=answer(at, "Time of the daily run", "09:00"),
        zone=answer(timezone, "Time zone", local_zone()),
    )
    for line in next_steps(answers, write(answers)):
        typer.echo(line)
