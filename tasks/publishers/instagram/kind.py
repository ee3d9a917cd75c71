"""Describe Instagram as a kind of publisher. instagrapi, which takes seconds to import, is loaded when it is needed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from models.system.errors import UserError
from tasks.publishers.base import Publisher
from tasks.publishers.instagram_rules import INSTAGRAM_RULES
from tasks.publishers.kind import AccountCheck, PublisherKind, read_secret

if TYPE_CHECKING:
    from tasks.settings.settings import LoadedSettings


def open_publisher(loaded: LoadedSettings, account: str) -> Publisher:
    from tasks.publishers.instagram.publisher import Instagram

    return Instagram(loaded.studio, account)


def check_account(loaded: LoadedSettings) -> AccountCheck:
    """Check whether there is a session. Whether Instagram still accepts it, only Instagram knows."""
    from tasks.publishers.instagram.session import account_folder, load_session, session_file

    name = loaded.settings.publishing.account or read_secret(loaded.settings.secrets.instagram_username)
    if not name:
        return AccountCheck(False, "no account is named", "set publishing.account and run restage login ACCOUNT")
    file = session_file(loaded.studio, name)
    if file.exists() and os.name == "posix" and stat.S_IMODE(file.stat().st_mode) & 0o077:
        return AccountCheck(False, f"{file} can be read by others", f"run chmod 600 {file}")
    account_folder(loaded.studio, name)
    load_session(file, name)
    return AccountCheck(True, f"{name} has a session")


def log_in(
    loaded: LoadedSettings, account: str, ask: Callable[[str], str], ask_unseen: Callable[[str], str], address: str = ""
) -> Path:
    """Log in with the secrets that are set, ask for the others, and save the session."""
    from tasks.publishers.instagram import session

    session.account_folder(loaded.studio, account)  # a wrong name is told before anything is asked
    secrets = loaded.settings.secrets
    ours = read_secret(secrets.instagram_username) in ("", account)  # the secrets may be another account's
    password = read_secret(secrets.instagram_password) if ours else ""
    totp = read_secret(secrets.instagram_totp) if ours else ""
    password = password or ask_unseen(f"password of {account}: ")
    if not password:
        raise UserError(f"nobody can log in without a password: type that of {account}")
    request_pause = 0.0 if address else 1.0
    return session.log_in(loaded.studio, account, password, totp, ask=ask, address=address, request_pause=request_pause)


KIND = PublisherKind("instagram", open_publisher, check_account, INSTAGRAM_RULES, log_in=log_in)
