"""Publish posts: one file or package for each kind of publisher, one protocol for all, and a stand-in for rehearsals.

A new kind is a file or a folder, one line in `PUBLISHERS`, its name among the settings, and its tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.publishers import folder
from tasks.publishers.graph import kind as graph
from tasks.publishers.instagram import kind as instagram
from tasks.publishers.kind import PlaceRules, PublisherKind

if TYPE_CHECKING:
    from tasks.settings.settings import LoadedSettings

PUBLISHERS: tuple[PublisherKind, ...] = (folder.KIND, instagram.KIND, graph.KIND)
PUBLISHER_NAMES = tuple(kind.name for kind in PUBLISHERS)
DRY_RUN_PUBLISHER = folder.KIND.name
ACCOUNT_PUBLISHER = instagram.KIND.name
"""The publisher of new settings that name an account."""


def find_kind(name: str) -> PublisherKind:
    """Return the kind of publisher of this name."""
    return next(kind for kind in PUBLISHERS if kind.name == name)


def configured_kind(loaded: LoadedSettings, dry: bool = False) -> PublisherKind:
    """Return the kind that posts go to by the settings; in a dry run it writes them to disk."""
    settings = loaded.settings.publishing
    return find_kind(DRY_RUN_PUBLISHER if dry or settings.dry_run else settings.publisher)


def place_rules(loaded: LoadedSettings) -> PlaceRules:
    """Return the limits of the place that posts are made for; a dry run does not change them."""
    return find_kind(loaded.settings.publishing.publisher).rules
