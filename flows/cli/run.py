"""The commands around the daily run: `restage serve`, `daily`, `status`, `doctor` and `init`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

SettingsOption = Annotated[
    Path | None,
    typer.Option("--settings", help="The settings file; ./settings.toml where it is not given.", show_default=False),
]

AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]


def serve_everything(
    settings: SettingsOption = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Prefect's port; [server] port where it is not given.")
    ] = None,
) -> None:
    """Run everything: Prefect with its pages, the daily runs on their schedule, and the review page.

    Ends with 0 when it is told to (SIGTERM), with 130 at Ctrl-C, and with 1 on any error. A run that is stopped with it
    goes on from where it was when it is started again.

    Example: restage serve --port 4300
    """
    from flows.serving.serve import serve_everything as run
    from tasks.settings.settings import load_settings

    file = Path(settings or os.environ.get("RESTAGE_SETTINGS") or "settings.toml").expanduser()
    run(load_settings(file), file, typer.echo, port)


def check_setup(settings: SettingsOption = None, as_json: AsJson = False) -> None:
    """Look for what would stop a run, and say how to mend it. It asks no network.

    Ends with 1 where something has to be mended.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # looking for a model must not download it
    from flows.cli.doctor import run_checks
    from tasks.settings.settings import load_settings

    checks = []
    for check in run_checks(load_settings(settings)):
        checks.append(check)
        if not as_json:
            typer.echo(check.summary_line)
    if as_json:
        rows = [
            {"check": check.name, "good": check.good, "said": check.message, "remedy": check.remedy} for check in checks
        ]
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
    if any(check.good is False for check in checks):
        raise typer.Exit(1)


def run_daily(
    persona: Annotated[str, typer.Argument(help="The name of a file in prompts/, such as pip, or its path.")],
    settings: SettingsOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write the posts to disk, and leave them approved.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make what is due, leave it for review, and publish what is approved and due.

    Ends with 1 where something could not be made, failed or needs a person; the rest is done all the same.

    Example: restage daily pip --dry-run
    """
    from flows.daily import format_result, summarize_result
    from flows.daily import run_daily as run
    from tasks.settings.settings import load_settings

    loaded = load_settings(settings)
    result = run(persona, loaded, dry_run)
    if as_json:
        typer.echo(json.dumps(summarize_result(result), indent=1, ensure_ascii=False))
    else:
        for line in format_result(result, loaded):
            typer.echo(line)
    if result.failures:
        raise typer.Exit(1)


def show_status(settings: SettingsOption = None, as_json: AsJson = False) -> None:
    """Show what is due, to review, approved, published and in trouble, and when the runs were and will be.

    Example: restage status --json
    """
    from flows.cli.status import collect_status, format_status, summarize_status
    from tasks.settings.settings import load_settings

    status = collect_status(load_settings(settings))
    if as_json:
        typer.echo(json.dumps(summarize_status(status), indent=1, ensure_ascii=False))
        return
    for line in format_status(status):
        typer.echo(line)


def init_folder(
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
    from flows.cli.init import write_starter_files as write

    def ask_answer(given_value: str | None, question: str, default: str) -> str:
        if given_value is not None and (given_value or default == ""):
            return given_value
        return default if yes or not sys.stdin.isatty() else typer.prompt(question, default, show_default=bool(default))

    answers = Answers(
        folder=Path(ask_answer(str(folder) if folder else None, "Folder for settings and personas", ".")),
        persona=ask_answer(persona, "Name of the first persona", "pip"),
        model=ask_answer(model, "Model: toybox (small, offline, any machine), sdxl, or a name or path", "toybox"),
        account=ask_answer(account, "Instagram account (empty: posts are written to disk)", "").lstrip("@"),
        at=ask_answer(at, "Time of the daily run", "09:00"),
        zone=ask_answer(timezone, "Time zone", local_zone()),
    )
    for line in next_steps(answers, write(answers)):
        typer.echo(line)
