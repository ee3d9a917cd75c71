"""The commands `restage new persona`, `references` and `train`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

SettingsOption = Annotated[
    Path | None,
    typer.Option("--settings", help="The settings file; ./settings.toml where it is not given.", show_default=False),
]

new = typer.Typer(help="Write a good file to start from.", no_args_is_help=True, rich_markup_mode=None)


@new.command("persona")
def new_persona(
    name: Annotated[str, typer.Argument(help="Lowercase letters, digits, - and _, such as pip.")],
    settings: SettingsOption = None,
) -> None:
    """Write prompts/NAME.toml, with a comment for every key.

    Example: restage new persona mara
    """
    from tasks.persona.starter_file import starter_subject_for, write_starter_file
    from tasks.settings.settings import load_settings

    loaded = load_settings(settings)
    path = write_starter_file(name, loaded.folder, starter_subject_for(loaded.settings.models.name))
    typer.echo(f"{path}: say who it is, then run: restage references {name}")


def choose_references(
    persona: Annotated[str, typer.Argument(help="The name of a file in prompts/, such as pip, or its path.")],
    settings: SettingsOption = None,
    fill: Annotated[
        bool, typer.Option("--fill", help="Also make the shots that are missing, and choose again.")
    ] = False,
    keep: Annotated[list[str] | None, typer.Option(help="The id of a candidate to take, whatever its scores.")] = None,
    drop: Annotated[list[str] | None, typer.Option(help="The id of a candidate to leave out.")] = None,
    forget: Annotated[
        list[str] | None, typer.Option(help="The id of a candidate to judge by its scores again.")
    ] = None,
    word: Annotated[
        Path | None, typer.Option(help="A learned embedding to make candidates with: the next round.")
    ] = None,
    round: Annotated[int, typer.Option(min=1, help="Which round this is, for the report.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Make candidates, filter them by CLIP similarity, and choose the reference set, each with a reason.

    Example: restage references pip --fill

    Example: restage references pip --drop 3f2a91c0 --keep 88d1e2ab
    """
    from flows.references import make_references as run
    from tasks.references.report import summary_values
    from tasks.settings.settings import load_settings

    outcome = run(persona, load_settings(settings), fill, keep or [], drop or [], forget or [], word, round)
    values = summary_values(outcome.reference_set)
    if as_json:
        typer.echo(json.dumps({**values, "report": str(outcome.page)}, indent=1, ensure_ascii=False))
        return
    typer.echo(f"{len(values['chosen'])} of {values['candidates']} candidates chosen for {values['persona']}")
    for code, count in values["dropped"].items():
        typer.echo(f"  {count:4} dropped: {code}")
    for finding in values["findings"]:
        typer.secho(f"note: {finding}", fg=typer.colors.YELLOW, err=True)
    typer.echo(outcome.page)


def train_persona(
    persona: Annotated[str, typer.Argument(help="The name of a file in prompts/, such as pip, or its path.")],
    settings: SettingsOption = None,
    steps: Annotated[int, typer.Option(min=0, help="How many steps at most; 0: what the settings say.")] = 0,
    vectors: Annotated[int, typer.Option(min=0, max=64, help="How many vectors; 0: what the settings say.")] = 0,
    rounds: Annotated[
        int, typer.Option(min=0, max=20, help="Make references again with what was learned, so often in all.")
    ] = 0,
    use: Annotated[
        bool, typer.Option("--use", help="Make the version the current one, even where it is worse.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Teach the model the persona's word from its references. A training that was stopped goes on where it was.

    Example: restage train pip

    Example: restage train mara --vectors 8 --steps 2000
    """
    from flows.train import train_persona as run
    from tasks.settings.settings import load_settings
    from tasks.training.report import summary_lines, summary_values

    loaded = load_settings(settings).with_training(steps=steps, vectors=vectors)
    outcome = run(persona, loaded, use, rounds)
    if as_json:
        values = {**summary_values(outcome.training), "report": str(outcome.page)}
        typer.echo(json.dumps(values, indent=1, ensure_ascii=False))
        return
    for line in summary_lines(outcome.training):
        typer.echo(line)
    typer.echo(outcome.page)
