"""Who is let in: sessions that live in memory, tokens for every change, and patience that grows with wrong passwords."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from threading import Lock
from time import monotonic

Clock = Callable[[], float]
LASTS = 12 * 3600.0  # seconds without a request after which a session ends
MOST_SESSIONS = 1000
FREE = 10  # wrong passwords before anybody has to wait
LONGEST_WAIT = 900.0
FORGOTTEN = 3600.0  # seconds after which wrong passwords are forgiven
MOST_ADDRESSES = 10_000


@dataclass
class Session:
    seen: float


class Sessions:
    """Only hashes are kept, of the password too, so that reading this memory lets nobody in. They end with the process."""

    def __init__(self, password: str, clock: Clock = monotonic) -> None:
        self._password = _digest(password) if password else ""
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = Lock()

    @property
    def needed(self) -> bool:
        """Whether there is a password at all."""
        return bool(self._password)

    def fits(self, password: str) -> bool:
        """In the same time whatever is wrong with it."""
        return hmac.compare_digest(_digest(password), self._password)

    def begin(self) -> str:
        """A new session's id, which only its cookie knows."""
        name = secrets.token_urlsafe(32)
        with self._lock:
            self._sessions[_digest(name)] = Session(self._clock())
            while len(self._sessions) > MOST_SESSIONS:
                self._sessions.popitem(last=False)
        return name

    def holds(self, name: str) -> bool:
        """Whether this session is open; asking keeps it open."""
        with self._lock:
            found = self._sessions.get(_digest(name))
            if found is None:
                return False
            if self._clock() - found.seen > LASTS:
                del self._sessions[_digest(name)]
                return False
            found.seen = self._clock()
            self._sessions.move_to_end(_digest(name))
            return True

    def end(self, name: str) -> None:
        with self._lock:
            self._sessions.pop(_digest(name), None)

    def token(self, name: str) -> str:
        """What a page has to show with every change. Other sites can send our cookie's owner here, but not read this."""
        return hmac.new(self._secret, name.encode(), hashlib.sha256).hexdigest()

    def is_token(self, token: str, name: str) -> bool:
        return hmac.compare_digest(token.encode(), self.token(name).encode())


class Patience:
    """How long an address has to wait after wrong passwords: the eleventh for a second, and each one twice as long."""

    def __init__(self, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._lock = Lock()

    def wait(self, address: str) -> float:
        """Seconds until this address may try again."""
        with self._lock:
            count, last = self._wrong.get(_network(address), (0, 0.0))
        if count < FREE:
            return 0.0
        return max(0.0, last + min(LONGEST_WAIT, 2.0 ** min(count - FREE, 20)) - self._clock())

    def wrong(self, address: str) -> None:
        place, now = _network(address), self._clock()
        with self._lock:
            count, last = self._wrong.pop(place, (0, now))
            self._wrong[place] = (1 if now - last > FORGOTTEN else count + 1, now)
            while len(self._wrong) > MOST_ADDRESSES:
                self._wrong.popitem(last=False)

    def right(self, address: str) -> None:
        with self._lock:
            self._wrong.pop(_network(address), None)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _network(address: str) -> str:
    """One household has 2^64 addresses of the new kind."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return str(int(found) >> 64) if isinstance(found, IPv6Address) else str(found)
