"""Describe Instagram's official Graph API as a kind of publisher."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from models.system.errors import UserError
from models.system.files import expand_path, write_file
from tasks.publishers.base import Publisher
from tasks.publishers.instagram_rules import INSTAGRAM_RULES
from tasks.publishers.kind import AccountCheck, PublisherKind, require_secret

if TYPE_CHECKING:
    from tasks.publishers.graph.picture_hosting import Hosting
    from tasks.settings.settings import LoadedSettings


def open_publisher(loaded: LoadedSettings, account: str) -> Publisher:
    from tasks.publishers.graph.publisher import Graph

    settings, secrets = loaded.settings.publishing, loaded.settings.secrets
    if not settings.graph_user:
        raise UserError("the Graph API knows accounts by number: set publishing.graph_user in settings.toml")
    token = require_secret(secrets.graph_token, "GRAPH_TOKEN")
    return Graph(account, settings.graph_user, token, picture_hosting(loaded))


def picture_hosting(loaded: LoadedSettings) -> Hosting:
    """Return the place of the settings from which the Graph API fetches pictures."""
    from tasks.publishers.graph.picture_hosting import Bucket, FolderHosting, S3Credentials

    settings, secrets = loaded.settings.publishing, loaded.settings.secrets
    if settings.bucket_endpoint and settings.bucket:
        access = require_secret(secrets.storage_access, "STORAGE_ACCESS")
        keys = S3Credentials(access, require_secret(secrets.storage_secret, "STORAGE_SECRET"))
        return Bucket(settings.bucket_endpoint, settings.bucket, keys, settings.bucket_region, settings.picture_address)
    if settings.picture_address and settings.picture_folder:
        return FolderHosting(settings.picture_address, loaded.folder / expand_path(settings.picture_folder))
    raise UserError(
        "the Graph API fetches pictures from a public address: set publishing.picture_address and picture_folder, or"
        " bucket_endpoint and bucket"
    )


def check_account(loaded: LoadedSettings) -> AccountCheck:
    """Check whether a token is set."""
    if loaded.settings.secrets.graph_token:
        return AccountCheck(True, "a Graph token is set")
    remedy = f"set RESTAGE_SECRETS__GRAPH_TOKEN, or write it to {_token_file(loaded)}"
    return AccountCheck(False, "secrets.graph_token is not set", remedy)


def renew_token(loaded: LoadedSettings, account: str, api: str = "") -> tuple[Path, datetime]:
    """Replace the token by a new one, and return its file and until when it is valid. The old one stays valid until it ends."""
    from tasks.publishers.graph.api import API, refresh_token

    place, token = _token_file(loaded), loaded.settings.secrets.graph_token
    if token is None:
        raise UserError(f"there is no token to renew: write the one that Instagram's app page gave you to {place}")
    if not place.is_file() or place.read_text(encoding="utf-8").strip() != token.get_secret_value():
        raise UserError(
            f"the token comes from the environment or from .env, where it cannot be replaced: write it to {place} alone, "
            "and it is renewed there"
        )
    new, seconds = refresh_token(token.get_secret_value(), account, api=api or API)
    mask = os.umask(0o077)  # nobody else reads it, from its first byte
    try:
        write_file(place, new.encode())
    finally:
        os.umask(mask)
    return place, loaded.clock() + timedelta(seconds=seconds)


def _token_file(loaded: LoadedSettings) -> Path:
    from tasks.settings.settings import secrets_dir

    return secrets_dir(loaded.folder) / "graph_token"


KIND = PublisherKind("graph", open_publisher, check_account, INSTAGRAM_RULES, renew_token=renew_token)
