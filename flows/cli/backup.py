"""The commands `restage backup` and `restage restore`."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

SettingsOption = Annotated[
    Path | None,
    typer.Option("--settings", help="The settings file; ./settings.toml where it is not given.", show_default=False),
]


def backup_studio(
    file: Annotated[Path, typer.Argument(help="The file to write, such as restage-2026-11-21.zip.")],
    settings: SettingsOption = None,
) -> None:
    """Put posts, pictures, references, words, personas and settings into one file, while everything goes on.

    Sessions, passwords and caches are not in it: keep it as you keep your pictures.

    Example: restage backup ~/backups/restage-monday.zip
    """
    from tasks.backup import backup as step
    from tasks.settings.settings import load_settings, settings_file
    from tasks.store.store import Store

    loaded = load_settings(settings)
    with closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store:
        summary = step.write_backup(file, store, loaded.studio, loaded.folder, settings_file(settings))
    typer.echo(f"{file}: {summary.files} files and {summary.rows} rows, {summary.size / 1e6:.1f} MB")


def restore_studio(
    file: Annotated[Path, typer.Argument(help="A file that restage backup wrote.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Move what is there and differs to studio/replaced first.")
    ] = False,
    settings: SettingsOption = None,
) -> None:
    """Put a backup back, into an empty studio or, with --replace, over what is there.

    What was published since the backup is looked for on its account before anything is sent again.

    Example: restage restore ~/backups/restage-monday.zip
    """
    from tasks.backup import backup as step
    from tasks.publish.resolve import mark_restored
    from tasks.settings.settings import load_settings
    from tasks.store.store import Store

    loaded = load_settings(settings)
    with closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store:
        summary = step.restore_backup(
            file, store, loaded.studio, loaded.folder, replace, partial(mark_restored, now=store.clock())
        )
    typer.echo(f"{summary.files} files and {summary.rows} rows are back in {loaded.studio}")
    if summary.replaced:
        typer.echo(f"what was there before and differs lies in {summary.replaced}")
