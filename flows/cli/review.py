"""The commands that decide about posts: `restage review`, `approve` and `reject`."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.system.errors import UserError

if TYPE_CHECKING:
    from tasks.posts.post import Post
    from tasks.settings.settings import LoadedSettings
    from tasks.store.store import Store

SettingsOption = Annotated[
    Path | None,
    typer.Option("--settings", help="The settings file; ./settings.toml where it is not given.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]


def show_posts(
    post: Annotated[str, typer.Argument(help="The id of a post or its beginning, or its occurrence.")] = "",
    settings: SettingsOption = None,
    as_json: AsJson = False,
    serve: Annotated[bool, typer.Option("--open", help="Serve the review page here and open it.")] = False,
) -> None:
    """List the posts that wait for a person, or show one with its history.

    Example: restage review

    Example: restage review 19ecbf

    Example: restage review --open
    """
    from tasks.posts import post_store
    from tasks.settings.settings import load_settings

    loaded = load_settings(settings)
    if serve:
        _serve_board(loaded)
        return
    with closing(_open_store(loaded)) as store:
        if post:
            _show_post(store, post_store.get_post(store, post), as_json)
        else:
            _list_waiting(store, loaded, as_json)


def approve_posts(
    wanted: Annotated[list[str] | None, typer.Argument(metavar="POST...", help="Their ids or beginnings.")] = None,
    settings: SettingsOption = None,
    everything: Annotated[bool, typer.Option("--all", help="All posts that await review.")] = False,
) -> None:
    """Let posts go out exactly as they are now.

    Ends with 1 where one of them could not be approved, and says why.

    Example: restage approve 19ecbf 7f3a01

    Example: restage approve --all
    """
    from tasks.posts import post_store
    from tasks.posts import review as step
    from tasks.settings.settings import load_settings

    if bool(wanted) == everything:
        raise UserError("name the posts to approve, or all of them with --all: see restage review")
    with closing(_open_store(load_settings(settings))) as store:
        posts = (
            post_store.find(store, ("awaiting review",))
            if everything
            else [post_store.get_post(store, e) for e in wanted or ()]
        )
        approved, problems = step.approve_all(store, posts, step.user())
    for post in approved:
        typer.echo(_as_line(post))
    if not posts:
        typer.echo("nothing awaits review")
    for problem in problems:
        typer.secho(f"restage: {problem}", fg=typer.colors.RED, err=True)
    if problems:
        raise typer.Exit(1)


def reject_post(
    post: Annotated[str, typer.Argument(help="The id of a post or its beginning.")],
    why: Annotated[str, typer.Option(help="A reason, for the history.")] = "",
    settings: SettingsOption = None,
) -> None:
    """Keep a post from going out.

    Example: restage reject 19ecbf --why "the ears are wrong"
    """
    from tasks.posts import post_store
    from tasks.posts import review as step
    from tasks.settings.settings import load_settings

    with closing(_open_store(load_settings(settings))) as store:
        rejected = step.reject(store, post_store.get_post(store, post), step.user(), why)
    typer.echo(_as_line(rejected))


def _open_store(loaded: LoadedSettings) -> Store:
    from tasks.store.store import Store

    return Store.open(loaded.database, loaded.studio, clock=loaded.clock)


def _serve_board(loaded: LoadedSettings) -> None:
    import threading
    import webbrowser

    from board.serve import board_address, serve_board

    url = board_address(loaded.settings.board.host, loaded.settings.board.port)
    typer.echo(f"{url} (Ctrl-C ends it)")
    # A moment later, since the page has to be there first; where nothing can open it, the line above says enough.
    opening = threading.Timer(1.5, webbrowser.open, [url])
    opening.daemon = True
    opening.start()
    try:
        serve_board(loaded)
    finally:
        opening.cancel()


def _list_waiting(store: Store, loaded: LoadedSettings, as_json: bool) -> None:
    from board.serve import board_address
    from tasks.posts import post_store

    posts = post_store.find(store, ("needs a person", "unknown", "failed", "awaiting review", "draft"))
    url = board_address(loaded.settings.board.host, loaded.settings.board.port)
    if as_json:
        typer.echo(
            json.dumps({"board": url, "posts": [_as_json(post) for post in posts]}, indent=1, ensure_ascii=False)
        )
        return
    for post in posts:
        typer.echo(_as_line(post))
        if post.problem:
            typer.echo(f"  {post.problem}")
    count = sum(post.state == "awaiting review" for post in posts)
    typer.echo(f"{count} {'post awaits' if count == 1 else 'posts await'} review" if count else "nothing awaits review")
    typer.echo(f"the review page is at {url} while restage serve runs; restage review --open serves it alone")


def _show_post(store: Store, post: Post, as_json: bool) -> None:
    from tasks.posts import post_store

    events, candidates = post_store.history(store, post.id), post_store.candidates(store, post.id)
    if as_json:
        values = _as_json(post) | {"history": [vars(event) for event in events]}
        values |= {"candidates": [vars(candidate) | {"scores": dict(candidate.scores)} for candidate in candidates]}
        typer.echo(json.dumps(values, indent=1, ensure_ascii=False))
        return
    typer.echo(_as_line(post))
    for line in filter(None, (post.problem, *post.content.text.splitlines())):
        typer.echo(f"  {line}")
    for picture in post.content.pictures:
        typer.echo(f"  {picture.file}: {picture.alt}")
    picture_ids = {picture.picture for picture in post.content.pictures}
    for candidate in candidates:
        mark = "*" if candidate.picture in picture_ids else " "
        typer.echo(f"{mark} candidate {candidate.number} {candidate.picture}: {candidate.reason}")
    for event in events:
        typer.echo(f"  {event.at[:16].replace('T', ' ')} {event.by}: {event.state}, {event.why or '–'}")


def _as_line(post: Post) -> str:
    return f"{post.id}  {post.state:15}  {post.content.when:%Y-%m-%d %H:%M}  {post.persona} · {post.shot}"


def _as_json(post: Post) -> dict[str, Any]:
    values = vars(post) | {"content": post.content.as_dict() | {"hash": post.content.hash}}
    return dict(values)
