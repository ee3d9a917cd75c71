"""Sessions that live in memory, tokens for every change, and waiting times after wrong passwords."""

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
SESSION_SECONDS = 12 * 3600.0  # seconds without a request after which a session ends
MAX_SESSIONS = 1000
FREE_ATTEMPTS = 10  # wrong passwords before anybody has to wait
MAX_WAIT_SECONDS = 900.0
FORGET_SECONDS = 3600.0  # seconds after which wrong passwords are forgiven
MAX_ADDRESSES = 10_000


@dataclass
class Session:
    seen: float


class Sessions:
    """Open sessions. Only hashes are stored, also of the password, so that a memory dump lets nobody in."""

    def __init__(self, password: str, clock: Clock = monotonic) -> None:
        self._password = _hash_text(password) if password else ""
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = Lock()

    @property
    def needs_password(self) -> bool:
        """Tell whether there is a password at all."""
        return bool(self._password)

    def password_matches(self, password: str) -> bool:
        """Compare the password, in the same time whatever is wrong with it."""
        return hmac.compare_digest(_hash_text(password), self._password)

    def begin_session(self) -> str:
        """Start a session and return its id, which only its cookie knows."""
        name = secrets.token_urlsafe(32)
        with self._lock:
            self._sessions[_hash_text(name)] = Session(self._clock())
            while len(self._sessions) > MAX_SESSIONS:
                self._sessions.popitem(last=False)
        return name

    def is_open(self, name: str) -> bool:
        """Tell whether this session is open; asking keeps it open."""
        with self._lock:
            session = self._sessions.get(_hash_text(name))
            if session is None:
                return False
            if self._clock() - session.seen > SESSION_SECONDS:
                del self._sessions[_hash_text(name)]
                return False
            session.seen = self._clock()
            self._sessions.move_to_end(_hash_text(name))
            return True

    def end_session(self, name: str) -> None:
        with self._lock:
            self._sessions.pop(_hash_text(name), None)

    def csrf_token(self, name: str) -> str:
        """Return the token a page sends with every change. Other sites can send our cookies, but not read this."""
        return hmac.new(self._secret, name.encode(), hashlib.sha256).hexdigest()

    def is_token(self, token: str, name: str) -> bool:
        return hmac.compare_digest(token.encode(), self.csrf_token(name).encode())


class LoginThrottle:
    """The time an address has to wait after wrong passwords: one second after the eleventh, then twice as long."""

    def __init__(self, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._lock = Lock()

    def seconds_to_wait(self, address: str) -> float:
        """Return the seconds until this address may try again."""
        with self._lock:
            count, last = self._wrong.get(_network_of(address), (0, 0.0))
        if count < FREE_ATTEMPTS:
            return 0.0
        return max(0.0, last + min(MAX_WAIT_SECONDS, 2.0 ** min(count - FREE_ATTEMPTS, 20)) - self._clock())

    def record_failure(self, address: str) -> None:
        place, now = _network_of(address), self._clock()
        with self._lock:
            count, last = self._wrong.pop(place, (0, now))
            self._wrong[place] = (1 if now - last > FORGET_SECONDS else count + 1, now)
            while len(self._wrong) > MAX_ADDRESSES:
                self._wrong.popitem(last=False)

    def reset_failures(self, address: str) -> None:
        with self._lock:
            self._wrong.pop(_network_of(address), None)


def _hash_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _network_of(address: str) -> str:
    """Return the network of an address: one household has 2^64 addresses of IPv6."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    return str(int(ip) >> 64) if isinstance(ip, IPv6Address) else str(ip)
