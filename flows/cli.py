"""The command `restage`. Each command loads the settings, runs one step and says what came of it."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.cli_backup import backup, restore
from flows.cli_calendar import calendar
from flows.cli_embeddings import embeddings
from flows.cli_grid import grid
from flows.cli_publish import account, login, publish, resolve
from flows.cli_render import render
from flows.cli_review import approve, reject, review
from flows.cli_run import daily, doctor, init, serve, status
from models.errors import UserError

# Heavy libraries are imported inside the commands, so that --help and mistakes answer at once.

app = typer.Typer(
    name="restage",
    help="One character, a new scene every day.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help comes twice as fast
    pretty_exceptions_enable=False,  # a traceback must never print the values of variables: some are secrets
)
OTHER_ENVIRONMENT = 3
Where = Annotated[
    Path | None,
    typer.Option("--settings", help="The settings file; ./settings.toml where it is not given.", show_default=False),
]


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help='What the picture shows, such as "a teal fox, (portrait:1.2)".')],
    settings: Where = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=1000, help="How many, by seeds in a row.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the first picture.")] = 0,
    size: Annotated[str, typer.Option(help="Such as 1024x1024; the model's own where it is not given.")] = "",
    negative: Annotated[str | None, typer.Option(help="What the picture should not show.")] = None,
    sampler: Annotated[str | None, typer.Option(help="Such as euler or 'dpm++ 2m karras'.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="How strictly the prompt is followed.")] = None,
    init: Annotated[Path | None, typer.Option(help="A picture to start from.")] = None,
    strength: Annotated[float | None, typer.Option(help="How far to go from that picture, 0 to 1.")] = None,
    lora: Annotated[
        list[str] | None, typer.Option(help="A LoRA file, as FILE or FILE:WEIGHT; may be repeated.")
    ] = None,
    embedding: Annotated[list[Path] | None, typer.Option(help="The file of a learned word; may be repeated.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Also lay the pictures out on this PNG.")] = None,
) -> None:
    """Make pictures of a prompt.

    Example: restage generate "a teal fox in the forest" -n 4 --sheet foxes.png
    """
    from models.embeddings import read
    from models.emphasis import lint
    from models.files import write
    from tasks import generate as step
    from tasks.artifacts import Artifacts
    from tasks.settings import load

    if strength is not None and init is None:
        raise UserError("--strength says how far to go from a picture: give that picture with --init")
    if sheet:
        _can_be_written(sheet)
    loaded = load(settings)
    machine = step.machine(loaded)
    width, height = _size(size)
    changes = {"negative": negative, "sampler": sampler, "steps": steps, "guidance": guidance, "strength": strength}
    changes |= {"width": width, "height": height}
    words = embedding or []
    shots = step.shots(loaded, machine, prompt, seed, count, init, words, _weighted(lora or []), **changes)
    known = [read(path).token for path in words]
    for warning in lint(prompt, known) + lint(shots[0].negative, known):
        _note(f"prompt: {warning}")
    paths = step.generate(shots, machine, Artifacts(loaded.studio))
    for path in paths:
        typer.echo(path)
    if sheet:
        write(sheet, step.sheet(paths, prompt))
        typer.echo(sheet)


@app.command()
def replay(
    picture: Annotated[Path, typer.Argument(help="A PNG made by restage.")],
    settings: Where = None,
    save: Annotated[Path | None, typer.Option(help="Also write the picture made now to this PNG.")] = None,
) -> None:
    """Make a picture again from what its file says, and compare.

    Ends with 0 where the pixels are identical, with 3 where the environment is another one, and with 1 on any error,
    which different pixels in the same environment are.
    """
    from tasks import replay as step
    from tasks.settings import load

    if save:
        _can_be_written(save)
    result = step.replay(picture, load(settings))
    if save:
        step.save(result, save)
    if result.verdict == "different":
        raise UserError(f"{picture}: {result}")
    typer.echo(f"{picture}: {result}")
    if result.verdict == "other environment":
        raise typer.Exit(OTHER_ENVIRONMENT)


@app.command()
def settings(
    settings: Where = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Show every setting in force and where it came from. Secrets are never shown."""
    from tasks.settings import load

    rows = list(load(settings).rows())
    if as_json:
        typer.echo(json.dumps({key: {"value": value, "from": origin} for key, value, origin in rows}, indent=1))
        return
    for key, value, origin in rows:
        shown = value if key.startswith("secrets.") else json.dumps(value, ensure_ascii=False)
        typer.echo(f"{key:30} {shown:28} {origin}")


@app.command()
def references(
    persona: Annotated[str, typer.Argument(help="The name of a file in prompts/, such as pip, or its path.")],
    settings: Where = None,
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
    from flows.references import references as run
    from tasks.report_references import summary
    from tasks.settings import load

    outcome = run(persona, load(settings), fill, keep or [], drop or [], forget or [], word, round)
    found = summary(outcome.made)
    if as_json:
        typer.echo(json.dumps({**found, "report": str(outcome.page)}, indent=1, ensure_ascii=False))
        return
    typer.echo(f"{len(found['chosen'])} of {found['candidates']} candidates chosen for {found['persona']}")
    for code, count in found["dropped"].items():
        typer.echo(f"  {count:4} dropped: {code}")
    for what in found["findings"]:
        _note(what)
    typer.echo(outcome.page)


@app.command()
def train(
    persona: Annotated[str, typer.Argument(help="The name of a file in prompts/, such as pip, or its path.")],
    settings: Where = None,
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
    from flows.train import train as run
    from tasks.report_training import lines, summary
    from tasks.settings import load

    loaded = load(settings).with_training(steps=steps, vectors=vectors)
    outcome = run(persona, loaded, use, rounds)
    if as_json:
        found = {**summary(outcome.training), "report": str(outcome.page)}
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    for line in lines(outcome.training):
        typer.echo(line)
    typer.echo(outcome.page)


new = typer.Typer(help="Write a good file to start from.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(new, name="new")
app.add_typer(embeddings, name="embeddings")
app.command()(calendar)
app.command()(grid)
app.command()(review)
app.command()(approve)
app.command()(reject)
app.command()(render)
app.command()(publish)
app.command()(resolve)
app.command()(login)
app.command()(account)
app.command()(init)
app.command()(daily)
app.command()(status)
app.command()(serve)
app.command()(doctor)
app.command()(backup)
app.command()(restore)


@new.command("persona")
def new_persona(
    name: Annotated[str, typer.Argument(help="Lowercase letters, digits, - and _, such as pip.")],
    settings: Where = None,
) -> None:
    """Write prompts/NAME.toml, with a comment for every key.

    Example: restage new persona mara
    """
    from tasks.persona import write_new
    from tasks.settings import load

    path = write_new(name, load(settings).folder)
    typer.echo(f"{path}: say who it is, then run: restage references {name}")


@app.command()
def demo(settings: Where = None) -> None:
    """Show everything, offline: references, a learned word, a week of posts, approved and published to folders."""
    from flows.demo import demo as run
    from tasks.settings import load

    for line in run(load(settings)):
        typer.echo(line)


def _size(text: str) -> tuple[int | None, int | None]:
    if not text:
        return None, None
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()) or len(text) > 11:
        raise UserError(f"size {text!r} is not a size: write it as 1024x1024")
    return int(width), int(height)


def _weighted(loras: list[str]) -> dict[Path, float]:
    """`ink.safetensors:0.8` and `ink.safetensors`, which weighs 1."""
    found = {}
    for each in loras:
        path, colon, weight = each.rpartition(":")
        try:
            found[Path(path if colon else weight)] = float(weight) if colon else 1.0
        except ValueError:
            found[Path(each)] = 1.0  # the colon belongs to the path
    return found


def _can_be_written(path: Path) -> None:
    """Said before the work, not after it."""
    if path.is_dir() or path.suffix.lower() != ".png":
        raise UserError(f"{str(path)!r} is not the name of a picture: end it in .png")


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


if __name__ == "__main__":
    main()
