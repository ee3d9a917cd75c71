"""`restage embeddings`: the versions of learned words, seen, taken in, given out and chosen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from models.sdxl.embedding import About, Embedding
    from tasks.settings.settings import Loaded
    from tasks.store.store import Store
    from tasks.training.versions import Version

# Heavy libraries are imported inside the commands, so that --help and mistakes answer at once.

embeddings = typer.Typer(
    help="The versions of learned words: see, take in, give out, choose.", no_args_is_help=True, rich_markup_mode=None
)
Where = Annotated[
    Path | None,
    typer.Option("--settings", help="The settings file; ./settings.toml where it is not given.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]
Named = Annotated[str, typer.Argument(help="A version, such as pip@2, or pip for the current one.")]


@embeddings.command("list")
def list_versions(
    persona: Annotated[str, typer.Argument(help="Of this persona only.", show_default=False)] = "",
    settings: Where = None,
    as_json: AsJson = False,
) -> None:
    """List the versions of learned words; * marks the current one of each persona.

    Example: restage embeddings list pip
    """
    from tasks.training import versions

    with _opened(settings) as (store, _):
        found = versions.versions(store, persona)
    if as_json:
        typer.echo(json.dumps([_values(each) for each in found], indent=1, ensure_ascii=False))
        return
    for each in found:
        mark, score = "*" if each.current else " ", "" if each.score is None else f"score {each.score:.3f}"
        when, count = each.created_at[:16].replace("T", " "), f"{each.vectors} vector{'s' * (each.vectors > 1)}"
        typer.echo(f"{mark} {each.name:20} {when}  {count:10}  {score:12}  {each.note}".rstrip())
    if not found:
        typer.secho(f"note: no embeddings{f' of {persona}' if persona else ''} yet", fg=typer.colors.YELLOW, err=True)


@embeddings.command()
def show(
    which: Annotated[str, typer.Argument(help="A version, such as pip@2 or pip for the current one, or a file.")],
    settings: Where = None,
    token: Annotated[str | None, typer.Option(help="What the word of a file is called, if it does not say.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what is known of a version, or of a file in any known format.

    Example: restage embeddings show pip@2

    Example: restage embeddings show learned_embeds.safetensors
    """
    from models.system.files import path_of
    from tasks.training import versions
    from tasks.training.import_export import which as read_which

    if path_of(which).exists() and (path_of(which).is_file() or "/" in which):
        found = _of_file(path_of(which), token)
    else:
        name, number = read_which(which)
        with _opened(settings) as (store, loaded):
            version = versions.version(store, name, number)
            changes = [change.__dict__ for change in versions.history(store, name)]
        word, about = versions.load(loaded.studio, version)
        found = _record(word, about) | _values(version) | {"was_current": changes}
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    for key, value in found.items():
        if value not in ("", None, [], {}):
            typer.echo(f"{key:16} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")


@embeddings.command("import")
def import_file(
    files: Annotated[
        list[Path], typer.Argument(help="The file of a word, the two files of a pair, or a folder.", show_default=False)
    ],
    persona: Annotated[str, typer.Option(help="Whose word it is, such as pip.")],
    settings: Where = None,
    token: Annotated[
        str | None, typer.Option(help="What the word is called, such as '<pip>'; what the file says where not given.")
    ] = None,
    model: Annotated[str, typer.Option(help="The model it was learned on, where that is known.")] = "",
    use: Annotated[bool, typer.Option("--use", help="Make it the current version.")] = False,
) -> None:
    """Take in a word that another program learned: A1111, Forge, ComfyUI, kohya, diffusers, cog-sdxl.

    The file is copied into the studio and stays where it is. Pickles are read as plain tensors; no code in them is run.

    Example: restage embeddings import pip.pt --persona pip --use
    """
    from models.system.files import path_of
    from tasks.training import versions
    from tasks.training.import_export import take_in

    with _opened(settings) as (store, loaded):
        made = take_in([path_of(each) for each in files], persona, store, loaded, token, model)
        if use:
            made = versions.use(store, made.persona, made.number, "chosen when it was imported", _who())
    where = "the current version" if made.current else f"current with: restage embeddings use {persona} {made.number}"
    typer.echo(f"{made.name}: {made.token}, {made.vectors} vectors; {where}")


@embeddings.command()
def export(
    which: Named,
    file: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
    settings: Where = None,
    format: Annotated[
        str, typer.Option(help="restage (A1111 reads it too), a1111, or diffusers: a file for each text encoder.")
    ] = "restage",
    half: Annotated[bool, typer.Option("--half", help="In half precision.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Write a version as a file for another program.

    A1111, Forge and ComfyUI call a word by the name of its file.

    Example: restage embeddings export pip pip.safetensors --half
    """
    from models.sdxl.embedding_formats import format_of
    from models.system.files import path_of
    from tasks.training import versions
    from tasks.training.import_export import give_out
    from tasks.training.import_export import which as read_which

    asked, (name, number) = format_of(format), read_which(which)
    with _opened(settings) as (store, loaded):
        version = versions.version(store, name, number)
    for path in give_out(version, path_of(file), loaded.studio, asked, half, force):
        typer.echo(path)


@embeddings.command()
def use(
    persona: Annotated[str, typer.Argument(help="Such as pip.")],
    version: Annotated[int, typer.Argument(help="The number of the version.")],
    settings: Where = None,
    why: Annotated[str, typer.Option(help="Why, for the history.")] = "",
) -> None:
    """Make a version the current one, which pictures are made with. Going back is the same command.

    Example: restage embeddings use pip 1 --why "version 2 forgot the stripe"
    """
    from tasks.training import versions

    with _opened(settings) as (store, _):
        before = versions.current(store, persona)
        chosen = versions.use(store, persona, version, why, _who())
    was = f" (before: {before.name})" if before and before != chosen else ""
    typer.echo(f"{chosen.name} is the current version{was}")


@contextmanager
def _opened(settings: Path | None) -> Iterator[tuple[Store, Loaded]]:
    from tasks.settings.settings import load
    from tasks.store.store import Store

    loaded = load(settings)
    store = Store.open(loaded.database, loaded.studio, clock=loaded.clock)
    try:
        yield store, loaded
    finally:
        store.close()


def _who() -> str:
    """Who chose: the name of the account, which a container may lack."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "somebody at the command line"


def _of_file(path: Path, token: str | None) -> dict[str, Any]:
    from models.sdxl import embedding_formats

    found = embedding_formats.read([path], token)
    return {"file": str(path), "format": found.format} | _record(found.embedding, found.about)


def _record(word: Embedding, about: About) -> dict[str, Any]:
    from dataclasses import asdict

    widths = [table.shape[1] for table in word.vectors]
    return {"token": word.token, "vectors": word.count, "widths": widths, "id": word.hash, **asdict(about)}


def _values(version: Version) -> dict[str, Any]:
    from dataclasses import asdict

    return {"name": version.name, **asdict(version)}
