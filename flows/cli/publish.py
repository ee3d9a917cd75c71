"""The commands `restage publish`, `login`, `account` and `resolve`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.system.errors import UserError

if TYPE_CHECKING:
    from tasks.publish.accounts import AccountStatus
    from tasks.settings.settings import LoadedSettings

# Heavy libraries are imported inside the commands, so that --help and mistakes answer at once.

SettingsOption = Annotated[
    Path | None,
    typer.Option("--settings", help="The settings file; ./settings.toml where it is not given.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]


def publish_posts(
    persona: Annotated[str, typer.Argument(help="Of this persona only.", show_default=False)] = "",
    settings: SettingsOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write the posts to disk, and leave them approved.")
    ] = False,
    to: Annotated[
        str,
        typer.Option(help="folder, instagram or graph; or stand-in, a rehearsal on this machine.", show_default=False),
    ] = "",
    post: Annotated[
        str, typer.Option(help="This post only, even before its time; never past the cap.", show_default=False)
    ] = "",
    now: Annotated[
        bool, typer.Option("--now", help="Past quiet hours and distances, and also what is late; never past the cap.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Publish what is approved and due. Each post is sent once; what nobody answered is looked for, not sent again.

    Ends with 1 where a post failed, or where a post or its account needs a person.

    Example: restage publish --dry-run

    Example: restage publish --to stand-in
    """
    from flows.publish import publish_due as run
    from flows.publish import with_publisher
    from tasks.publish import report as receipts
    from tasks.settings.settings import load_settings

    loaded = with_publisher(load_settings(settings), to)
    report = run(loaded, persona, dry_run=dry_run, to=to, post=post, at_once=now)
    if as_json:
        typer.echo(json.dumps(receipts.summary(report), indent=1, ensure_ascii=False))
    else:
        for line in receipts.lines(report):
            typer.echo(line)
        if not report.last and not report.waiting and (later := _later_message(loaded, persona)):
            typer.echo(later)
    if report.in_need:
        raise typer.Exit(1)


def _later_message(loaded: LoadedSettings, persona: str) -> str:
    """Say how many posts are approved but not due yet."""
    from tasks.posts import post_store
    from tasks.store.store import Store

    with closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store:
        posts = sorted(post_store.find(store, ["approved"], persona=persona), key=lambda post: post.content.when)
    if not posts:
        return ""
    first = posts[0]
    return (
        f"{len(posts)} approved for later, the next for {first.content.when:%a %Y-%m-%d %H:%M}: restage publish --post "
        f"{first.id} sends it before its time"
    )


def log_in_or_renew(
    account: Annotated[str, typer.Argument(help="The name of the account, as in the app, without @.")],
    settings: SettingsOption = None,
    renew: Annotated[
        bool, typer.Option("--renew", help="Instead renew the Graph API's token, which lives 60 days.")
    ] = False,
) -> None:
    """Log in to Instagram, in person, and keep the session. The password is not kept.

    Password and two-factor seed come from the secrets where they are set; otherwise they are asked for.

    Example: restage login pip_daily

    Example: restage login pip_daily --renew
    """
    from tasks.publishers import PUBLISHERS
    from tasks.settings.settings import load_settings

    if renew:
        renew_token = next(kind.renew_token for kind in PUBLISHERS if kind.renew_token)
        place, until = renew_token(load_settings(settings), account)
        typer.echo(f"the token of {account} in {place} is good until {until:%Y-%m-%d}")
        return
    path = log_in(load_settings(settings), account, _ask_text, _ask_secret)
    typer.echo(f"{account} is logged in; the session lies in {path}")


def log_in(
    loaded: LoadedSettings, account: str, ask: Callable[[str], str], ask_unseen: Callable[[str], str], address: str = ""
) -> Path:
    """Log in, and save the session. A person has acted, so a pause that waited for a person ends."""
    from tasks.publish import accounts
    from tasks.publishers import PUBLISHERS
    from tasks.store.store import Store

    publisher, log_in_to = next((kind.name, kind.log_in) for kind in PUBLISHERS if kind.log_in)
    path = log_in_to(loaded, account, ask, ask_unseen, address)
    with (
        closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store,
        store.writing() as connection,
    ):
        if accounts.standing(connection, publisher, account).person:
            accounts.resume(connection, publisher, account, loaded.clock())
    return path


def show_accounts(
    name: Annotated[str, typer.Argument(help="Of this account only.", show_default=False)] = "",
    settings: SettingsOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the account: what it needed is done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show which accounts are left alone for a while, and why.

    Example: restage account pip_daily --resume
    """
    from tasks.publish import accounts
    from tasks.settings.settings import load_settings
    from tasks.store.store import Store

    loaded = load_settings(settings)
    with closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store:
        standings = accounts.standings(store, name)
        if resume and not standings:
            raise UserError("name the account that may go on: see restage account for those there are")
        if resume and not name:
            raise UserError("say which account may go on: restage account NAME --resume")
        if resume:
            with store.writing() as connection:
                for standing in standings:
                    accounts.resume(connection, standing.publisher, standing.account, loaded.clock())
            standings = accounts.standings(store, name)
    if as_json:
        typer.echo(
            json.dumps([_as_json(standing, loaded.clock()) for standing in standings], indent=1, ensure_ascii=False)
        )
        return
    for standing in standings:
        typer.echo(f"{standing.account:20} {standing.publisher:10} {_as_line(standing, loaded.clock())}")
    if not standings:
        typer.secho(f"note: nothing was published to {name or 'any account'} yet", fg=typer.colors.YELLOW, err=True)


def resolve_post(
    post: Annotated[str, typer.Argument(help="The id of a post that needs a person, or the beginning of it.")],
    settings: SettingsOption = None,
    published: Annotated[
        str, typer.Option("--published", metavar="LINK", help="It is out: here.", show_default=False)
    ] = "",
    absent: Annotated[bool, typer.Option("--absent", help="It is not out, and may be sent.")] = False,
) -> None:
    """Say what became of a post that nobody could find out about.

    Example: restage resolve 3f2a91c0 --published https://www.instagram.com/p/abc/

    Example: restage resolve 3f2a91c0 --absent
    """
    from tasks.posts import post_store
    from tasks.publish import resolve as step
    from tasks.settings.settings import load_settings
    from tasks.store.store import Store

    loaded = load_settings(settings)
    with closing(Store.open(loaded.database, loaded.studio, clock=loaded.clock)) as store:
        stored_post = post_store.get_post(store, post)
        resolved = step.resolve(store, stored_post, _user_name(), published, absent)
    typer.echo(f"post {resolved.id} is {resolved.state}")


def _user_name() -> str:
    return os.environ.get("USER") or os.environ.get("USERNAME") or "somebody"


def _ask_text(question: str) -> str:
    return str(typer.prompt(question.rstrip(": "))).strip()


def _ask_secret(question: str) -> str:
    return str(typer.prompt(question.rstrip(": "), hide_input=True))


def _as_json(standing: AccountStatus, now: datetime) -> dict[str, object]:
    return {
        "account": standing.account,
        "publisher": standing.publisher,
        "paused": standing.paused(now),
        "until": standing.paused_until.isoformat() if standing.paused_until else "",
        "person": standing.person,
        "why": standing.why,
        "failures": standing.failures,
    }


def _as_line(standing: AccountStatus, now: datetime) -> str:
    if standing.person:
        return f"waits for a person: {standing.why}; then run restage account {standing.account} --resume"
    if standing.paused(now) and standing.paused_until:
        return f"paused until {standing.paused_until.astimezone():%Y-%m-%d %H:%M}: {standing.why}"
    return "in flight" if standing.claimed(now) else "ready"
