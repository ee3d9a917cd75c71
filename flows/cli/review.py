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
    from tasks.settings.settings import Loaded
    from tasks.store.store import Store

Where = Annotated[
    Path | None,
    typer.Option("--settings", help="The settings file; ./settings.toml where it is not given.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]


def review(
    post: Annotated[str, typer.Argument(help="The id of a post or its beginning, or its occurrence.")] = "",
    settings: Where = None,
    as_json: AsJson = False,
    serve: Annotated[bool, typer.Option("--open", help="Serve the review page here and open it.")] = False,
) -> None:
    """List the posts that wait for a person, or show one with its history.

    Example: restage review

    Example: restage review 19ecbf

    Example: restage review --open
    """
    from tasks.posts import post_store
    from tasks.settings.settings import load

    loaded = load(settings)
    if serve:
        _serve(loaded)
        return
    with closing(_store(loaded)) as store:
        if post:
            _one(store, post_store.get(store, post), as_json)
        else:
            _waiting(store, loaded, as_json)


def approve(
    wanted: Annotated[list[str] | None, typer.Argument(metavar="POST...", help="Their ids or beginnings.")] = None,
    settings: Where = None,
    everything: Annotated[bool, typer.Option("--all", help="All posts that await review.")] = False,
) -> None:
    """Let posts go out exactly as they are now.

    Ends with 1 where one of them could not be approved, and says why.

    Example: restage approve 19ecbf 7f3a01

    Example: restage approve --all
    """
    from tasks.posts import post_store
    from tasks.posts import review as step
    from tasks.settings.settings import load

    if bool(wanted) == everything:
        raise UserError("name the posts to approve, or all of them with --all: see restage review")
    with closing(_store(load(settings))) as store:
        found = (
            post_store.find(store, ("awaiting review",))
            if everything
            else [post_store.get(store, e) for e in wanted or ()]
        )
        done, problems = step.approve_all(store, found, step.user())
    for each in done:
        typer.echo(_line(each))
    if not found:
        typer.echo("nothing awaits review")
    for problem in problems:
        typer.secho(f"restage: {problem}", fg=typer.colors.RED, err=True)
    if problems:
        raise typer.Exit(1)


def reject(
    post: Annotated[str, typer.Argument(help="The id of a post or its beginning.")],
    why: Annotated[str, typer.Option(help="A reason, for the history.")] = "",
    settings: Where = None,
) -> None:
    """Keep a post from going out.

    Example: restage reject 19ecbf --why "the ears are wrong"
    """
    from tasks.posts import post_store
    from tasks.posts import review as step
    from tasks.settings.settings import load

    with closing(_store(load(settings))) as store:
        made = step.reject(store, post_store.get(store, post), step.user(), why)
    typer.echo(_line(made))


def _store(loaded: Loaded) -> Store:
    from tasks.store.store import Store

    return Store.open(loaded.database, loaded.studio, clock=loaded.clock)


def _serve(loaded: Loaded) -> None:
    import threading
    import webbrowser

    from board.serve import address, run

    where = address(loaded.settings.board.host, loaded.settings.board.port)
    typer.echo(f"{where} (Ctrl-C ends it)")
    # A moment later, since the page has to be there first; where nothing can open it, the line above says enough.
    opening = threading.Timer(1.5, webbrowser.open, [where])
    opening.daemon = True
    opening.start()
    try:
        run(loaded)
    finally:
        opening.cancel()


def _waiting(store: Store, loaded: Loaded, as_json: bool) -> None:
    from board.serve import address
    from tasks.posts import post_store

    found = post_store.find(store, ("needs a person", "unknown", "failed", "awaiting review", "draft"))
    where = address(loaded.settings.board.host, loaded.settings.board.port)
    if as_json:
        typer.echo(
            json.dumps({"board": where, "posts": [_plain(each) for each in found]}, indent=1, ensure_ascii=False)
        )
        return
    for each in found:
        typer.echo(_line(each))
        if each.problem:
            typer.echo(f"  {each.problem}")
    count = sum(each.state == "awaiting review" for each in found)
    typer.echo(f"{count} {'post awaits' if count == 1 else 'posts await'} review" if count else "nothing awaits review")
    typer.echo(f"the review page is at {where} while restage serve runs; restage review --open serves it alone")


def _one(store: Store, post: Post, as_json: bool) -> None:
    from tasks.posts import post_store

    events, made = post_store.history(store, post.id), post_store.candidates(store, post.id)
    if as_json:
        told = _plain(post) | {"history": [vars(each) for each in events]}
        told |= {"candidates": [vars(each) | {"scores": dict(each.scores)} for each in made]}
        typer.echo(json.dumps(told, indent=1, ensure_ascii=False))
        return
    typer.echo(_line(post))
    for line in filter(None, (post.problem, *post.content.text.splitlines())):
        typer.echo(f"  {line}")
    for shown in post.content.pictures:
        typer.echo(f"  {shown.file}: {shown.alt}")
    shown_ids = {shown.picture for shown in post.content.pictures}
    for each in made:
        mark = "*" if each.picture in shown_ids else " "
        typer.echo(f"{mark} candidate {each.number} {each.picture}: {each.reason}")
    for event in events:
        typer.echo(f"  {event.at[:16].replace('T', ' ')} {event.by}: {event.state}, {event.why or '–'}")


def _line(post: Post) -> str:
    return f"{post.id}  {post.state:15}  {post.content.when:%Y-%m-%d %H:%M}  {post.persona} · {post.shot}"


def _plain(post: Post) -> dict[str, Any]:
    told = vars(post) | {"content": post.content.as_dict() | {"hash": post.content.hash}}
    return dict(told)
