"""Telling people elsewhere, by whatever Apprise knows: e-mail, a webhook, a messenger. The addresses are secrets."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.publish.claimed_account import Outcome
from tasks.settings.settings import Loaded

Kind = Literal["waiting", "published", "failed", "needs a person"]
LOG = logging.getLogger("restage.notify")


@dataclass(frozen=True)
class News:
    kind: Kind
    title: str
    text: str


def news(outcomes: Sequence[Outcome]) -> list[News]:
    """What of a run is worth telling."""
    found = []
    for each in outcomes:
        post, name = each.post, f"{each.post.shot} of {each.post.persona}"
        if post.state == "published":
            found.append(News("published", f"{name} is published", f"{post.content.text}\n\n{each.says}"))
        elif post.state == "failed":
            found.append(News("failed", f"{name} failed", f"post {post.id}: {each.says}"))
        elif post.state == "needs a person" or each.person:
            found.append(News("needs a person", f"{name} needs you", f"post {post.id}: {each.says}"))
    return found


def waiting(count: int, persona: str) -> News:
    """There is something to review."""
    return News("waiting", f"{count} post{'s' * (count != 1)} of {persona} to review", "See restage review.")


def notify(loaded: Loaded, told: Sequence[News]) -> int:
    """Tell what the settings ask for; how many got through. What cannot be told stops nothing."""
    secret = loaded.settings.secrets.notify
    addresses = [each.strip() for each in secret.get_secret_value().split(",")] if secret else []
    wanted = [each for each in told if each.kind in loaded.settings.notify.events]
    for each in wanted:
        LOG.info("%s: %s", each.kind, each.title)
    if not wanted or not any(addresses):
        return 0
    return sum(_send(each, addresses) for each in wanted)


def _send(told: News, addresses: Sequence[str]) -> bool:
    """The library's own log quotes addresses, and so may its errors: neither is repeated."""
    try:
        import apprise

        logging.getLogger("apprise").disabled = True
        asked = apprise.Apprise()
        understood = [asked.add(each) for each in addresses if each]
        gone = bool(asked.notify(body=told.text, title=told.title))
    except Exception as error:
        LOG.warning("a notification could not be sent (%s)", type(error).__name__)
        return False
    if not all(understood):
        LOG.warning("an address in secrets.notify is none that Apprise understands: check how it is written")
    elif not gone:
        LOG.warning("a notification could not be delivered to every address in secrets.notify: check them")
    return gone and all(understood)
