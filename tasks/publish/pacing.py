"""When a post may go out: not before it is due, not long after, not at night, not soon after another, not too many a day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from tasks.posts.post import Post

DAY = timedelta(days=1)


@dataclass(frozen=True)
class PacingRules:
    """The settings for pacing."""

    daily_cap: int = 0
    """Maximum posts of an account within 24 hours; 0 is no limit."""
    spacing: timedelta = timedelta(0)
    """Minimum time between two posts of an account."""
    quiet: tuple[time, time] | None = None
    """Start and end of the quiet hours in the calendar's time zone; may span midnight."""
    late: timedelta = timedelta(days=7)
    """A post that is overdue for longer is not sent, since nobody wants Monday's picture weeks later; 0 is no limit."""

    @property
    def at_once(self) -> PacingRules:
        """Return the rules for a person who publishes now: only the daily cap stays."""
        return PacingRules(self.daily_cap, timedelta(0), None, timedelta(0))

    def too_late(self, post: Post, now: datetime) -> bool:
        return bool(self.late) and now - post.content.when > self.late

    def wait(self, post: Post, now: datetime, sent: Sequence[datetime]) -> tuple[datetime, str] | None:
        """Return until when the post has to wait, and why. `sent` lists when the account posted lately, the oldest first."""
        if post.content.when > now:
            return post.content.when, "it is not due yet"
        awake = self._quiet_until(now.astimezone(post.content.when.tzinfo))
        if awake > now:
            return awake, "these are quiet hours"
        if sent and self.spacing and sent[-1] + self.spacing > now:
            return sent[-1] + self.spacing, f"the account posted at {_format_time(sent[-1], post)}"
        return self.full(now, sent)

    def full(self, now: datetime, sent: Sequence[datetime]) -> tuple[datetime, str] | None:
        """Return until when the daily cap is reached. It holds for everybody: more posts look like a machine out of control."""
        today = [moment for moment in sent if moment > now - DAY]
        if self.daily_cap and len(today) >= self.daily_cap:
            return today[-self.daily_cap] + DAY, f"{len(today)} posts went out within 24 hours"
        return None

    def _quiet_until(self, now: datetime) -> datetime:
        """Return now, or the end of the current quiet hours."""
        if not self.quiet:
            return now
        start, end = self.quiet
        clock = now.time().replace(tzinfo=None)
        inside = start <= clock < end if start < end else clock >= start or clock < end
        if not inside:
            return now
        day = now.date() + (DAY if clock >= end else timedelta(0))
        return datetime.combine(day, end, now.tzinfo)


def _format_time(moment: datetime, post: Post) -> str:
    return f"{moment.astimezone(post.content.when.tzinfo):%H:%M}"


def quiet_hours(text: str) -> tuple[time, time] | None:
    """Parse `22:00-07:00` to two times; an empty text is None. Raise `ValueError` for anything else."""
    if not text.strip():
        return None
    start, _, end = text.partition("-")
    times = time.fromisoformat(start.strip()), time.fromisoformat(end.strip())
    if times[0] == times[1] or any(clock_time.tzinfo for clock_time in times):
        raise ValueError(text)
    return times
