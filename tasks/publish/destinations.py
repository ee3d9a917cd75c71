"""Open publishers from the settings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from models.system.errors import UserError
from tasks.publish.claimed_account import PublishingRules
from tasks.publish.pacing import PacingRules, quiet_hours
from tasks.publishers import configured_kind, find_kind
from tasks.publishers.base import Publisher
from tasks.publishers.disclosure import DisclosureRules
from tasks.settings.settings import LoadedSettings


@dataclass(frozen=True)
class ConfiguredDestinations:
    """Destinations from the settings; with `dry`, every post is written to disk."""

    loaded: LoadedSettings
    dry: bool = False

    @property
    def name(self) -> str:
        return configured_kind(self.loaded, self.dry).name

    def open(self, name: str, account: str) -> Publisher:
        if not account:
            raise UserError("nobody said whose account posts go to: set publishing.account in settings.toml")
        return find_kind(name).open(self.loaded, account)


def rules(loaded: LoadedSettings, publisher: str, at_once: bool = False) -> PublishingRules:
    """Return the publishing rules for a publisher. Where it is no feed, only lateness counts."""
    settings = loaded.settings.publishing
    late = timedelta(days=settings.late_days)
    pace = PacingRules(late=late)
    if find_kind(publisher).is_feed:
        spacing = timedelta(minutes=settings.spacing_minutes)
        pace = PacingRules(settings.daily_cap, spacing, quiet_hours(settings.quiet_hours), late)
    disclosure = DisclosureRules(settings.require_disclosure, settings.disclosure)
    return PublishingRules(
        pace.at_once if at_once else pace, disclosure, settings.tries, settings.looks, settings.resend
    )
