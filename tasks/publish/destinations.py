"""Open publishers from the settings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from pydantic import SecretStr

from models.system.errors import UserError
from models.system.files import expand_path
from tasks.publish.claimed_account import PublishingRules
from tasks.publish.pacing import PacingRules, quiet_hours
from tasks.publishers.base import Publisher
from tasks.publishers.disclosure import DisclosureRules
from tasks.publishers.folder import Folder
from tasks.publishers.graph.picture_hosting import Bucket, FolderHosting, Hosting, S3Credentials
from tasks.settings.settings import LoadedSettings

PUBLISHERS = ("folder", "instagram", "graph")
STAND_IN = "stand-in"
"""The name that rehearses instead of publishing."""


@dataclass(frozen=True)
class ConfiguredDestinations:
    """Destinations from the settings; with `dry`, every post goes to the folder."""

    loaded: LoadedSettings
    dry: bool = False

    @property
    def name(self) -> str:
        settings = self.loaded.settings.publishing
        return "folder" if self.dry or settings.dry_run else settings.publisher

    def open(self, name: str, account: str) -> Publisher:
        if not account:
            raise UserError("nobody said whose account posts go to: set publishing.account in settings.toml")
        if name == "instagram":
            from tasks.publishers.instagram.publisher import Instagram  # it takes seconds to import

            return Instagram(self.loaded.studio, account)
        if name == "graph":
            return self._graph_publisher(account)
        return Folder(self.loaded.studio, account)

    def _graph_publisher(self, account: str) -> Publisher:
        from tasks.publishers.graph.publisher import Graph

        settings, secrets = self.loaded.settings.publishing, self.loaded.settings.secrets
        if not settings.graph_user:
            raise UserError("the Graph API knows accounts by number: set publishing.graph_user in settings.toml")
        token = _secret_value(secrets.graph_token, "GRAPH_TOKEN")
        return Graph(account, settings.graph_user, token, self._picture_hosting())

    def _picture_hosting(self) -> Hosting:
        settings, secrets = self.loaded.settings.publishing, self.loaded.settings.secrets
        if settings.bucket_endpoint and settings.bucket:
            access = _secret_value(secrets.storage_access, "STORAGE_ACCESS")
            keys = S3Credentials(access, _secret_value(secrets.storage_secret, "STORAGE_SECRET"))
            return Bucket(
                settings.bucket_endpoint, settings.bucket, keys, settings.bucket_region, settings.picture_address
            )
        if settings.picture_address and settings.picture_folder:
            return FolderHosting(settings.picture_address, self.loaded.folder / expand_path(settings.picture_folder))
        raise UserError(
            "the Graph API fetches pictures from a public address: set publishing.picture_address and picture_folder, or"
            " bucket_endpoint and bucket"
        )


def rules(loaded: LoadedSettings, publisher: str, at_once: bool = False) -> PublishingRules:
    """Return the publishing rules for a publisher. A folder is no feed, so only lateness counts for it."""
    settings = loaded.settings.publishing
    late = timedelta(days=settings.late_days)
    pace = PacingRules(late=late)
    if publisher != "folder":
        spacing = timedelta(minutes=settings.spacing_minutes)
        pace = PacingRules(settings.daily_cap, spacing, quiet_hours(settings.quiet_hours), late)
    disclosure = DisclosureRules(settings.require_disclosure, settings.disclosure)
    return PublishingRules(
        pace.at_once if at_once else pace, disclosure, settings.tries, settings.looks, settings.resend
    )


def with_publisher(loaded: LoadedSettings, to: str) -> LoadedSettings:
    """Return the settings with another publisher, for one run."""
    if to in ("", STAND_IN):
        return loaded
    if to not in PUBLISHERS:
        raise UserError(f"{to!r} is no publisher: the known ones are {', '.join((*PUBLISHERS, STAND_IN))}")
    if to != "folder" and loaded.settings.publishing.dry_run:
        raise UserError(
            f"publishing.dry_run is on, so nothing goes to {to}: set it to false in settings.toml once you mean it"
        )
    return loaded.with_publisher(to)


def _secret_value(value: SecretStr | None, name: str) -> str:
    text = value.get_secret_value() if value else ""
    if not text:
        raise UserError(f"a secret is missing: set RESTAGE_SECRETS__{name} in the environment or in .env")
    return text
