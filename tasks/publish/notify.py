"""Notify people through Apprise: by e-mail, a webhook or a messenger. The addresses are secrets."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.publish.claimed_account import PublishOutcome
from tasks.settings.settings import LoadedSettings

Kind = Literal["waiting", "published", "failed", "needs a person"]
LOG = logging.getLogger("restage.notify")


@dataclass(frozen=True)
class Notification:
    kind: Kind
    title: str
    text: str


def news(outcomes: Sequence[PublishOutcome]) -> list[Notification]:
    """Build the notifications about the results of a run."""
    notifications = []
    for outcome in outcomes:
        post, name = outcome.post, f"{outcome.post.shot} of {outcome.post.persona}"
        if post.state == "published":
            notifications.append(
                Notification("published", f"{name} is published", f"{post.content.text}\n\n{outcome.says}")
            )
        elif post.state == "failed":
            notifications.append(Notification("failed", f"{name} failed", f"post {post.id}: {outcome.says}"))
        elif post.state == "needs a person" or outcome.person:
            notifications.append(Notification("needs a person", f"{name} needs you", f"post {post.id}: {outcome.says}"))
    return notifications


def waiting(count: int, persona: str) -> Notification:
    """Build the notification that posts await review."""
    return Notification("waiting", f"{count} post{'s' * (count != 1)} of {persona} to review", "See restage review.")


def notify(loaded: LoadedSettings, notifications: Sequence[Notification]) -> int:
    """Send the notifications the settings ask for; return how many arrived. A failure stops nothing."""
    secret = loaded.settings.secrets.notify
    addresses = [address.strip() for address in secret.get_secret_value().split(",")] if secret else []
    selected = [notification for notification in notifications if notification.kind in loaded.settings.notify.events]
    for notification in selected:
        LOG.info("%s: %s", notification.kind, notification.title)
    if not selected or not any(addresses):
        return 0
    return sum(_send_one(notification, addresses) for notification in selected)


def _send_one(notification: Notification, addresses: Sequence[str]) -> bool:
    """Send one notification. Apprise's log and errors may quote addresses, so neither is logged."""
    try:
        import apprise

        logging.getLogger("apprise").disabled = True
        client = apprise.Apprise()
        understood = [client.add(address) for address in addresses if address]
        delivered = bool(client.notify(body=notification.text, title=notification.title))
    except Exception as error:
        LOG.warning("a notification could not be sent (%s)", type(error).__name__)
        return False
    if not all(understood):
        LOG.warning("an address in secrets.notify is none that Apprise understands: check how it is written")
    elif not delivered:
        LOG.warning("a notification could not be delivered to every address in secrets.notify: check them")
    return delivered and all(understood)
