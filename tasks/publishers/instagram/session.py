"""Log in to an Instagram account in person, and keep its session in a file that only the owner can read."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.system.errors import UserError
from models.system.files import write_file
from tasks.publishers.base import DEFAULT_TIMEOUT, PublishError, Timeout
from tasks.publishers.instagram.answers import last_error

if TYPE_CHECKING:
    from tasks.publishers.instagram.client import InstagramClient

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700
DEVICE_KEYS = (
    "uuids",
    "device_settings",
    "user_agent",
    "mid",
    "country",
    "country_code",
    "locale",
    "timezone_offset",
    "usdid",
)


def account_folder(studio: Path, account: str) -> Path:
    """Return the folder for the files of an account."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._]{0,29}", account):
        raise UserError(f"{account!r} is not the name of an Instagram account: write it as in the app, without @")
    return studio / "accounts" / account


def session_file(studio: Path, account: str) -> Path:
    return account_folder(studio, account) / "session.json"


def save_session(file: Path, settings: dict[str, Any]) -> None:
    """Write the session for its owner alone. Restrict the folder first, so that nobody can read the file meanwhile."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.parent.chmod(PRIVATE_FOLDER)
    write_file(file, (json.dumps(settings, indent=1, sort_keys=True) + "\n").encode())
    file.chmod(PRIVATE_FILE)


def load_session(file: Path, account: str) -> dict[str, Any]:
    """Load the saved session; raise if there is none, since a person has to log in then."""
    if not file.exists():
        raise PublishError(f"{account} has no session yet: run restage login {account}", person=True)
    try:
        if os.name == "posix" and stat.S_IMODE(file.stat().st_mode) != PRIVATE_FILE:
            file.chmod(PRIVATE_FILE)
        settings = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(settings, dict) or not settings.get("authorization_data"):
            raise ValueError
    except (OSError, ValueError):  # without the error, which may quote the file's content
        raise PublishError(f"{file} is not a usable session: run restage login {account}", person=True) from None
    return settings


def log_in(
    studio: Path,
    account: str,
    password: str,
    totp: str = "",
    *,
    ask: Callable[[str], str] | None = None,
    address: str = "",
    timeout: Timeout = DEFAULT_TIMEOUT,
    request_pause: float = 1.0,
) -> Path:
    """Log in, with the owner present, and save the session. Reuse the phone that the account knows.

    `totp` is the seed of the two-factor codes; without it `ask` is called with a question and returns the code.
    """
    from tasks.publishers.instagram.client import InstagramClient

    file = session_file(studio, account)
    client = InstagramClient(_load_device(file), timeout, address, request_pause)
    code = _two_factor_code(client, account, totp)
    error = _try_login(client, account, password, code, ask)
    if error is not None:
        raise error
    save_session(file, client.get_settings())
    return file


def _load_device(file: Path) -> dict[str, Any]:
    """Load the phone of an older session, even of one that has ended."""
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
        return {key: settings[key] for key in DEVICE_KEYS if key in settings}
    except (OSError, ValueError, TypeError):
        return {}


def _two_factor_code(client: InstagramClient, account: str, totp: str) -> str:
    if not totp:
        return ""
    try:
        return str(client.totp_generate_code(totp.replace(" ", "")))
    except ValueError:  # without the error, which may quote the seed
        raise UserError(
            f"the two-factor seed of {account} is not one: copy it from where it was shown, letters and 2 to 7"
        ) from None


def _try_login(
    client: InstagramClient, account: str, password: str, code: str, ask: Callable[[str], str] | None
) -> PublishError | None:
    """Log in and return the error instead of raising it, so that it has no traceback of the library, which may hold secrets."""
    from instagrapi.exceptions import TwoFactorRequired

    try:
        if client.login(account, password, verification_code=code):
            return None
    except TwoFactorRequired:
        if ask and not code:
            return _try_login(
                client,
                account,
                password,
                ask(f"the code that Instagram sent to {account}, or that the app shows: "),
                ask,
            )
        return PublishError(
            f"Instagram asks {account} for a two-factor code: set its seed, or be there to type it", person=True
        )
    except Exception:
        hidden = [password, code, *client.list_secrets()]
        error = last_error(client.adapter, account, "logging in", False, hidden) or last_error(
            client.public_adapter, account, "logging in", False, hidden
        )
        if error and (error.person or error.pause or client.adapter.error or client.public_adapter.error):
            return error
    return PublishError(
        f"Instagram did not let {account} in: check name, password and two-factor seed, and that the app lets you in",
        person=True,
    )
