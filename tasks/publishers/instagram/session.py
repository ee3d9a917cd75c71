"""The session of an Instagram account: a file that only its owner can read, made in person and used ever after."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.system.errors import UserError
from models.system.files import write
from tasks.publishers.base import PATIENCE, PublishError, Timeout
from tasks.publishers.instagram.answers import failure

if TYPE_CHECKING:
    from tasks.publishers.instagram.client import Phone

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700
DEVICE = (
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
    """Where what belongs to an account is kept."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._]{0,29}", account):
        raise UserError(f"{account!r} is not the name of an Instagram account: write it as in the app, without @")
    return studio / "accounts" / account


def session_file(studio: Path, account: str) -> Path:
    return account_folder(studio, account) / "session.json"


def save(file: Path, settings: dict[str, Any]) -> None:
    """Write the session for its owner alone. The folder is closed first: nobody gets at the file while it is written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.parent.chmod(PRIVATE_FOLDER)
    write(file, (json.dumps(settings, indent=1, sort_keys=True) + "\n").encode())
    file.chmod(PRIVATE_FILE)


def load(file: Path, account: str) -> dict[str, Any]:
    """The session as it was saved; where there is none, somebody has to log in."""
    if not file.exists():
        raise PublishError(f"{account} has no session yet: run restage login {account}", person=True)
    try:
        if os.name == "posix" and stat.S_IMODE(file.stat().st_mode) != PRIVATE_FILE:
            file.chmod(PRIVATE_FILE)
        settings = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(settings, dict) or not settings.get("authorization_data"):
            raise ValueError
    except (OSError, ValueError):  # said without the error, which may quote what is in the file
        raise PublishError(f"{file} is not a usable session: run restage login {account}", person=True) from None
    return settings


def login(
    studio: Path,
    account: str,
    password: str,
    totp: str = "",
    *,
    ask: Callable[[str], str] | None = None,
    address: str = "",
    timeout: Timeout = PATIENCE,
    breath: float = 1.0,
) -> Path:
    """Log in, with the owner present, and keep the session. The phone that the account knows stays the same one.

    `totp` is the seed of the two-factor codes; without it `ask` is called with a question and returns the code.
    """
    from tasks.publishers.instagram.client import Phone

    file = session_file(studio, account)
    phone = Phone(_device(file), timeout, address, breath)
    code = _code(phone, account, totp)
    error = _try(phone, account, password, code, ask)
    if error is not None:
        raise error
    save(file, phone.get_settings())
    return file


def _device(file: Path) -> dict[str, Any]:
    """The phone of an older session, even of one that has ended."""
    try:
        old = json.loads(file.read_text(encoding="utf-8"))
        return {key: old[key] for key in DEVICE if key in old}
    except (OSError, ValueError, TypeError):
        return {}


def _code(phone: Phone, account: str, totp: str) -> str:
    if not totp:
        return ""
    try:
        return str(phone.totp_generate_code(totp.replace(" ", "")))
    except ValueError:  # said without the seed
        raise UserError(
            f"the two-factor seed of {account} is not one: copy it from where it was shown, letters and 2 to 7"
        ) from None


def _try(phone: Phone, account: str, password: str, code: str, ask: Callable[[str], str] | None) -> PublishError | None:
    """Log in; the error is handed back and not raised, so that it carries no trace of the library's, which may hold secrets."""
    from instagrapi.exceptions import TwoFactorRequired

    try:
        if phone.login(account, password, verification_code=code):
            return None
    except TwoFactorRequired:
        if ask and not code:
            return _try(
                phone,
                account,
                password,
                ask(f"the code that Instagram sent to {account}, or that the app shows: "),
                ask,
            )
        return PublishError(
            f"Instagram asks {account} for a two-factor code: set its seed, or be there to type it", person=True
        )
    except Exception:
        hidden = [password, code, *phone.secrets()]
        told = failure(phone.wire, account, "logging in", False, hidden) or failure(
            phone.public_wire, account, "logging in", False, hidden
        )
        if told and (told.person or told.pause or phone.wire.trouble or phone.public_wire.trouble):
            return told
    return PublishError(
        f"Instagram did not let {account} in: check name, password and two-factor seed, and that the app lets you in",
        person=True,
    )
