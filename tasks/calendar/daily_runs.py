"""When the daily runs start: as the persona says, else as the settings do."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from models.system.errors import UserError
from tasks.persona import persona as personas
from tasks.settings.settings import Loaded


class Times(NamedTuple):
    """A schedule."""

    cron: str
    timezone: str

    def after(self, when: datetime) -> datetime | None:
        """The next start."""
        from cronsim import CronSim

        return next(CronSim(self.cron, when.astimezone(ZoneInfo(self.timezone))), None)

    def superseded(self, scheduled: datetime, now: datetime) -> bool:
        """Whether the start after this one is due as well: after an outage only the newest is worth making."""
        following = self.after(scheduled)
        return following is not None and following <= now


def daily(name: str, loaded: Loaded) -> Times:
    """Of a persona. One whose file cannot be read starts at the usual time, and its run says what is wrong."""
    usual = loaded.settings.schedule
    try:
        own = personas.find(name, loaded.folder).schedule
    except UserError:
        return Times(usual.cron, usual.timezone)
    return Times(own.cron or usual.cron, own.timezone or usual.timezone)


def upcoming(loaded: Loaded, now: datetime) -> Mapping[str, datetime]:
    """The next daily run of each persona, the earliest first."""
    found = {name: daily(name, loaded).after(now) for name in personas.names(loaded.folder)}
    return dict(sorted(((name, when) for name, when in found.items() if when), key=lambda each: each[1]))
