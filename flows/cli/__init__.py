"""The command `restage`. Each command loads the settings, runs one flow or step and says what came of it."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.backup import backup as backup_command
from flows.cli.backup import restore as restore_command
from flows.cli.calendar import calendar as calendar_command
from flows.cli.embeddings import embeddings as embeddings_command
from flows.cli.generate import generate as generate_command
from flows.cli.generate import replay as replay_command
from flows.cli.grid import grid as grid_command
from flows.cli.learn import new as new_command
from flows.cli.learn import references as references_command
from flows.cli.learn import train as train_command
from flows.cli.publish import account as account_command
from flows.cli.publish import login as login_command
from flows.cli.publish import publish as publish_command
from flows.cli.publish import resolve as resolve_command
from flows.cli.render import render as render_command
from flows.cli.review import approve as approve_command
from flows.cli.review import reject as reject_command
from flows.cli.review import review as review_command
from flows.cli.run import daily as daily_command
from flows.cli.run import doctor as doctor_command
from flows.cli.run import init as init_command
from flows.cli.run import serve as serve_command
from flows.cli.run import status as status_command
from models.system.errors import UserError

# Heavy libraries are imported inside the commands, so that --help and mistakes answer at once.

app = typer.Typer(
    name="restage",
    help="One character, a new scene every day.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help comes twice as fast
    pretty_exceptions_enable=False,  # a traceback must never print the values of variables: some are secrets
)
Where = Annotated[
    Path | None,
    typer.Option("--settings", help="The settings file; ./settings.toml where it is not given.", show_default=False),
]


def demo(settings: Where = None) -> None:
    """Show everything, offline: references, a learned word, a week of posts, approved and published to folders."""
    from flows.cli.demo import demo as run
    from tasks.settings.settings import load

    for line in run(load(settings)):
        typer.echo(line)


def settings(
    settings: Where = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Show every setting in force and where it came from. Secrets are never shown."""
    from tasks.settings.settings import load

    rows = list(load(settings).rows())
    if as_json:
        typer.echo(json.dumps({key: {"value": value, "from": origin} for key, value, origin in rows}, indent=1))
        return
    for key, value, origin in rows:
        shown = value if key.startswith("secrets.") else json.dumps(value, ensure_ascii=False)
        typer.echo(f"{key:30} {shown:28} {origin}")


# In the order in which they are needed, which is the order of --help.
COMMANDS: tuple[Callable[..., None], ...] = (
    *(
        demo,
        init_command,
        doctor_command,
        references_command,
        train_command,
        calendar_command,
        render_command,
        review_command,
        approve_command,
        reject_command,
        publish_command,
        resolve_command,
        login_command,
        account_command,
    ),
    *(
        daily_command,
        serve_command,
        status_command,
        generate_command,
        grid_command,
        replay_command,
        settings,
        backup_command,
        restore_command,
    ),
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(new_command, name="new")
app.add_typer(embeddings_command, name="embeddings")


def _note(text: str) -> None:
    typer.secho(f"note: {text}", fg=typer.colors.YELLOW, err=True)


def _fail(text: object) -> None:
    typer.secho(f"restage: {text}", fg=typer.colors.RED, err=True)
    sys.exit(1)


def main() -> None:
    """Run a command. What the user can mend is one sentence; anything else is our bug and keeps its traceback."""
    # Threads that wait by spinning starve each other as soon as anything else runs beside them.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    try:
        app()
    except UserError as error:
        _fail(error)
    except SystemExit as stop:
        if stop.code == 130:
            _note("stopped; what is done is kept, and the same command goes on from there")
        raise
