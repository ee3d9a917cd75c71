"""Publishers as the settings name them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from pydantic import SecretStr

from models.system.errors import UserError
from models.system.files import path_of
from tasks.publish.claimed_account import Rules
from tasks.publish.pacing import Pace, quiet_hours
from tasks.publishers.base import Publisher
from tasks.publishers.disclosure import Wanted
from tasks.publishers.folder import Folder
from tasks.publishers.graph.picture_hosting import Bucket, Hosting, Keys, Site
from tasks.settings.settings import Loaded

PUBLISHERS = ("folder", "instagram", "graph")


@dataclass(frozen=True)
class Configured:
    """Of the settings; with `dry`, whatever goes out goes to the folder."""

    loaded: Loaded
    dry: bool = False

    @property
    def name(self) -> str:
        said = self.loaded.settings.publishing
        return "folder" if self.dry or said.dry_run else said.publisher

    def open(self, name: str, account: str) -> Publisher:
        if not account:
            raise UserError("nobody said whose account posts go to: set publishing.account in settings.toml")
        if name == "instagram":
            from tasks.publishers.instagram.publisher import Instagram  # it takes seconds to import

            return Instagram(self.loaded.studio, account)
        if name == "graph":
            return self._graph(account)
        return Folder(self.loaded.studio, account)

    def _graph(self, account: str) -> Publisher:
        from tasks.publishers.graph.publisher import Graph

        said, secrets = self.loaded.settings.publishing, self.loaded.settings.secrets
        if not said.graph_user:
            raise UserError("the Graph API knows accounts by number: set publishing.graph_user in settings.toml")
        token = _secret(secrets.graph_token, "GRAPH_TOKEN")
        return Graph(account, said.graph_user, token, self._hosting())

    def _hosting(self) -> Hosting:
        said, secrets = self.loaded.settings.publishing, self.loaded.settings.secrets
        if said.bucket_endpoint and said.bucket:
            access = _secret(secrets.storage_access, "STORAGE_ACCESS")
            keys = Keys(access, _secret(secrets.storage_secret, "STORAGE_SECRET"))
            return Bucket(said.bucket_endpoint, said.bucket, keys, said.bucket_region, said.picture_address)
        if said.picture_address and said.picture_folder:
            return Site(said.picture_address, self.loaded.folder / path_of(said.picture_folder))
        raise UserError(
            "the Graph API fetches pictures from a public address: set publishing.picture_address and picture_folder, or"
            " bucket_endpoint and bucket"
        )


def rules(loaded: Loaded, publisher: str, at_once: bool = False) -> Rules:
    """What the settings say of publishing there. A folder is nobody's feed, so only lateness counts for it."""
    said = loaded.settings.publishing
    late = timedelta(days=said.late_days)
    pace = Pace(late=late)
    if publisher != "folder":
        spacing = timedelta(minutes=said.spacing_minutes)
        pace = Pace(said.daily_cap, spacing, quiet_hours(said.quiet_hours), late)
    wanted = Wanted(said.require_disclosure, said.disclosure)
    return Rules(pace.at_once if at_once else pace, wanted, said.tries, said.looks, said.resend)


def _secret(value: SecretStr | None, name: str) -> str:
    found = value.get_secret_value() if value else ""
    if not found:
        raise UserError(f"a secret is missing: set RESTAGE_SECRETS__{name} in the environment or in .env")
    return found
