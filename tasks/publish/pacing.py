"""When a post may go out: not before it is due, not long after, not at night, not on the heels of another, not too many a day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from tasks.posts.post import Post

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Pace:
    """What the settings say of it."""

    daily_cap: int = 0
    """Posts of an account within 24 hours; 0 is any number."""
    spacing: timedelta = timedelta(0)
    """Between two posts of an account."""
    quiet: tuple[time, time] | None = None
    """From and to, by the clock of the calendar; may lie over midnight."""
    late: timedelta = timedelta(days=7)
    """A post that is due for longer stays where it is, since nobody wants Monday's picture weeks later; 0 is any time."""

    @property
    def at_once(self) -> Pace:
        """Whatever is due, and now: for somebody who asks for it in person. The cap stays."""
        return Pace(self.daily_cap, timedelta(0), None, timedelta(0))

    def too_late(self, post: Post, now: datetime) -> bool:
        return bool(self.late) and now - post.content.when > self.late

    def wait(self, post: Post, now: datetime, sent: Sequence[datetime]) -> tuple[datetime, str] | None:
        """Until when it has to wait, and why. `sent` is when the account posted in the last day or so, the oldest first."""
        if post.content.when > now:
            return post.content.when, "it is not due yet"
        awake = self._awake(now.astimezone(post.content.when.tzinfo))
        if awake > now:
            return awake, "these are quiet hours"
        if sent and self.spacing and sent[-1] + self.spacing > now:
            return sent[-1] + self.spacing, f"the account posted at {_clock(sent[-1], post)}"
        return self.full(now, sent)

    def full(self, now: datetime, sent: Sequence[datetime]) -> tuple[datetime, str] | None:
        """Until when the cap holds. It holds for everybody: more than that looks like a machine gone wild."""
        today = [each for each in sent if each > now - DAY]
        if self.daily_cap and len(today) >= self.daily_cap:
            return today[-self.daily_cap] + DAY, f"{len(today)} posts went out within 24 hours"
        return None

    def _awake(self, now: datetime) -> datetime:
        """Now, or the end of the quiet hours that it lies in."""
        if not self.quiet:
            return now
        start, end = self.quiet
        clock = now.time().replace(tzinfo=None)
        inside = start <= clock < end if start < end else clock >= start or clock < end
        if not inside:
            return now
        day = now.date() + (DAY if clock >= end else timedelta(0))
        return datetime.combine(day, end, now.tzinfo)


def _clock(moment: datetime, post: Post) -> str:
    return f"{moment.astimezone(post.content.when.tzinfo):%H:%M}"


def quiet_hours(text: str) -> tuple[time, time] | None:
    """`22:00-07:00` as times; empty is none. `ValueError` where it is neither."""
    if not text.strip():
        return None
    start, _, end = text.partition("-")
    found = time.fromisoformat(start.strip()), time.fromisoformat(end.strip())
    if found[0] == found[1] or any(each.tzinfo for each in found):
        raise ValueError(text)
    return found
