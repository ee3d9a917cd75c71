"""The command `restage`. Each command loads the settings, runs one flow or step and prints the result."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.backup import backup_studio, restore_studio
from flows.cli.calendar import show_calendar
from flows.cli.embeddings import embeddings as embeddings_command
from flows.cli.generate import generate_pictures, replay_picture
from flows.cli.grid import make_grid
from flows.cli.learn import choose_references, train_persona
from flows.cli.learn import new as new_command
from flows.cli.publish import log_in_or_renew, publish_posts, resolve_post, show_accounts
from flows.cli.render import render_posts
from flows.cli.review import approve_posts, reject_post, show_posts
from flows.cli.run import check_setup, init_folder, run_daily, serve_everything, show_status
from models.system.errors import UserError

# Heavy libraries are imported inside the commands, so that --help and mistakes answer at once.

app = typer.Typer(
    name="restage",
    help="One character, a new scene every day.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help comes twice as fast
    pretty_exceptions_enable=False,  # a traceback must never print the values of variables: some are secrets
)
SettingsOption = Annotated[
    Path | None,
    typer.Option("--settings", help="The settings file; ./settings.toml where it is not given.", show_default=False),
]


def run_demo(settings: SettingsOption = None) -> None:
    """Show everything, offline: references, a learned word, a week of posts, approved and published to folders."""
    from flows.cli.demo import run_demo as run
    from tasks.settings.settings import load_settings

    for line in run(load_settings(settings)):
        typer.echo(line)


def show_settings(
    settings: SettingsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Show every setting in force and where it came from. Secrets are never shown."""
    from tasks.settings.settings import load_settings

    rows = list(load_settings(settings).describe_values())
    if as_json:
        typer.echo(json.dumps({key: {"value": value, "from": origin} for key, value, origin in rows}, indent=1))
        return
    for key, value, origin in rows:
        text = value if key.startswith("secrets.") else json.dumps(value, ensure_ascii=False)
        typer.echo(f"{key:30} {text:28} {origin}")


# In the order in which they are needed, which is the order of --help.
COMMANDS: dict[str, Callable[..., None]] = {
    "demo": run_demo,
    "init": init_folder,
    "doctor": check_setup,
    "references": choose_references,
    "train": train_persona,
    "calendar": show_calendar,
    "render": render_posts,
    "review": show_posts,
    "approve": approve_posts,
    "reject": reject_post,
    "publish": publish_posts,
    "resolve": resolve_post,
    "login": log_in_or_renew,
    "account": show_accounts,
    "daily": run_daily,
    "serve": serve_everything,
    "status": show_status,
    "generate": generate_pictures,
    "grid": make_grid,
    "replay": replay_picture,
    "settings": show_settings,
    "backup": backup_studio,
    "restore": restore_studio,
}
for name, command in COMMANDS.items():
    app.command(name)(command)
app.add_typer(new_command, name="new")
app.add_typer(embeddings_command, name="embeddings")


def _print_note(text: str) -> None:
    typer.secho(f"note: {text}", fg=typer.colors.YELLOW, err=True)


def _exit_with_error(text: object) -> None:
    typer.secho(f"restage: {text}", fg=typer.colors.RED, err=True)
    sys.exit(1)


def main() -> None:
    """Run a command. A mistake of the user is printed as one sentence; anything else is our bug and keeps its traceback."""
    # Threads that wait by spinning starve each other as soon as anything else runs beside them.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    try:
        app()
    except UserError as error:
        _exit_with_error(error)
    except SystemExit as stop:
        if stop.code == 130:
            _print_note("stopped; what is done is kept, and the same command goes on from there")
        raise
