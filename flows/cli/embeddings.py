"""`restage embeddings`: list, show, import, export and choose the versions of embeddings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from models.sdxl.embedding import Embedding, EmbeddingMetadata
    from tasks.settings.settings import LoadedSettings
    from tasks.store.store import Store
    from tasks.training.versions import Version

# Heavy libraries are imported inside the commands, so that --help and mistakes answer at once.

embeddings = typer.Typer(
    help="The versions of learned words: see, take in, give out, choose.", no_args_is_help=True, rich_markup_mode=None
)
SettingsOption = Annotated[
    Path | None,
    typer.Option("--settings", help="The settings file; ./settings.toml where it is not given.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]
VersionArgument = Annotated[str, typer.Argument(help="A version, such as pip@2, or pip for the current one.")]


@embeddings.command("list")
def list_versions(
    persona: Annotated[str, typer.Argument(help="Of this persona only.", show_default=False)] = "",
    settings: SettingsOption = None,
    as_json: AsJson = False,
) -> None:
    """List the versions of learned words; * marks the current one of each persona.

    Example: restage embeddings list pip
    """
    from tasks.training import versions

    with _open_store(settings) as (store, _):
        stored_versions = versions.list_versions(store, persona)
    if as_json:
        typer.echo(
            json.dumps([_describe_version(version) for version in stored_versions], indent=1, ensure_ascii=False)
        )
        return
    for version in stored_versions:
        mark, score = "*" if version.current else " ", "" if version.score is None else f"score {version.score:.3f}"
        created, count = (
            version.created_at[:16].replace("T", " "),
            f"{version.vectors} vector{'s' * (version.vectors > 1)}",
        )
        typer.echo(f"{mark} {version.name:20} {created}  {count:10}  {score:12}  {version.note}".rstrip())
    if not stored_versions:
        typer.secho(f"note: no embeddings{f' of {persona}' if persona else ''} yet", fg=typer.colors.YELLOW, err=True)


@embeddings.command("show")
def show_version(
    which: Annotated[str, typer.Argument(help="A version, such as pip@2 or pip for the current one, or a file.")],
    settings: SettingsOption = None,
    token: Annotated[str | None, typer.Option(help="What the word of a file is called, if it does not say.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what is known of a version, or of a file in any known format.

    Example: restage embeddings show pip@2

    Example: restage embeddings show learned_embeds.safetensors
    """
    from models.system.files import expand_path
    from tasks.training import versions
    from tasks.training.import_export import parse_version as read_which

    if expand_path(which).exists() and (expand_path(which).is_file() or "/" in which):
        record = _describe_file(expand_path(which), token)
    else:
        name, number = read_which(which)
        with _open_store(settings) as (store, loaded):
            version = versions.find_version(store, name, number)
            changes = [change.__dict__ for change in versions.list_changes(store, name)]
        word, about = versions.load_version(loaded.studio, version)
        record = _describe_embedding(word, about) | _describe_version(version) | {"was_current": changes}
    if as_json:
        typer.echo(json.dumps(record, indent=1, ensure_ascii=False))
        return
    for key, value in record.items():
        if value not in ("", None, [], {}):
            typer.echo(f"{key:16} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")


@embeddings.command("import")
def import_file(
    files: Annotated[
        list[Path], typer.Argument(help="The file of a word, the two files of a pair, or a folder.", show_default=False)
    ],
    persona: Annotated[str, typer.Option(help="Whose word it is, such as pip.")],
    settings: SettingsOption = None,
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
    from models.system.files import expand_path
    from tasks.training import versions
    from tasks.training.import_export import import_embedding

    with _open_store(settings) as (store, loaded):
        version = import_embedding([expand_path(file) for file in files], persona, store, loaded, token, model)
        if use:
            version = versions.make_current(
                store, version.persona, version.number, "chosen when it was imported", _user_name()
            )
    hint = (
        "the current version" if version.current else f"current with: restage embeddings use {persona} {version.number}"
    )
    typer.echo(f"{version.name}: {version.token}, {version.vectors} vectors; {hint}")


@embeddings.command("export")
def export_version(
    which: VersionArgument,
    file: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
    settings: SettingsOption = None,
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
    from models.system.files import expand_path
    from tasks.training import versions
    from tasks.training.import_export import export_embedding
    from tasks.training.import_export import parse_version as read_which

    target_format, (name, number) = format_of(format), read_which(which)
    with _open_store(settings) as (store, loaded):
        version = versions.find_version(store, name, number)
    for path in export_embedding(version, expand_path(file), loaded.studio, target_format, half, force):
        typer.echo(path)


@embeddings.command("use")
def use_version(
    persona: Annotated[str, typer.Argument(help="Such as pip.")],
    version: Annotated[int, typer.Argument(help="The number of the version.")],
    settings: SettingsOption = None,
    why: Annotated[str, typer.Option(help="Why, for the history.")] = "",
) -> None:
    """Make a version the current one, which pictures are made with. Going back is the same command.

    Example: restage embeddings use pip 1 --why "version 2 forgot the stripe"
    """
    from tasks.training import versions

    with _open_store(settings) as (store, _):
        before = versions.current_version(store, persona)
        selected = versions.make_current(store, persona, version, why, _user_name())
    was = f" (before: {before.name})" if before and before != selected else ""
    typer.echo(f"{selected.name} is the current version{was}")


@contextmanager
def _open_store(settings: Path | None) -> Iterator[tuple[Store, LoadedSettings]]:
    from tasks.settings.settings import load_settings
    from tasks.store.store import Store

    loaded = load_settings(settings)
    store = Store.open(loaded.database, loaded.studio, clock=loaded.clock)
    try:
        yield store, loaded
    finally:
        store.close()


def _user_name() -> str:
    """Return the name of the user who chose, which a container may lack."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "somebody at the command line"


def _describe_file(path: Path, token: str | None) -> dict[str, Any]:
    from models.sdxl import embedding_formats

    foreign = embedding_formats.read_foreign([path], token)
    return {"file": str(path), "format": foreign.format} | _describe_embedding(foreign.embedding, foreign.about)


def _describe_embedding(embedding: Embedding, about: EmbeddingMetadata) -> dict[str, Any]:
    from dataclasses import asdict

    widths = [table.shape[1] for table in embedding.vectors]
    return {
        "token": embedding.token,
        "vectors": embedding.vector_count,
        "widths": widths,
        "id": embedding.hash,
        **asdict(about),
    }


def _describe_version(version: Version) -> dict[str, Any]:
    from dataclasses import asdict

    return {"name": version.name, **asdict(version)}
