"""When the daily runs start: as the persona says, else as the settings do."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from models.system.errors import UserError
from tasks.persona import persona as personas
from tasks.settings.settings import LoadedSettings


class CronSchedule(NamedTuple):
    """A cron expression with its time zone."""

    cron: str
    timezone: str

    def next_start(self, when: datetime) -> datetime | None:
        """Return the next start after a moment."""
        from cronsim import CronSim

        return next(CronSim(self.cron, when.astimezone(ZoneInfo(self.timezone))), None)

    def is_superseded(self, scheduled: datetime, now: datetime) -> bool:
        """Tell whether the start after this one is due as well: after an outage only the newest run is made."""
        following = self.next_start(scheduled)
        return following is not None and following <= now


def daily_schedule(name: str, loaded: LoadedSettings) -> CronSchedule:
    """Return a persona's schedule. If its file cannot be read, use the settings' schedule: the run will report the mistake."""
    usual = loaded.settings.schedule
    try:
        schedule = personas.find_persona(name, loaded.folder).schedule
    except UserError:
        return CronSchedule(usual.cron, usual.timezone)
    return CronSchedule(schedule.cron or usual.cron, schedule.timezone or usual.timezone)


def next_runs(loaded: LoadedSettings, now: datetime) -> Mapping[str, datetime]:
    """Return the next daily run of each persona, the earliest first."""
    starts = {name: daily_schedule(name, loaded).next_start(now) for name in personas.persona_names(loaded.folder)}
    return dict(sorted(((name, start) for name, start in starts.items() if start), key=lambda item: item[1]))
