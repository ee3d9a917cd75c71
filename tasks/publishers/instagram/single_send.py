"""The one way out for a client built on requests: a timeout on every request, one answer kept, nothing sent twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectTimeout
from urllib3.exceptions import NewConnectionError

from tasks.publishers.base import Timeout
from tasks.publishers.loopback import check_loopback

NOT_SENT = (5, 6, 7)  # curl: no proxy found, no host found, no connection made


class Wire(HTTPAdapter):
    """Stands before another adapter. With an address, every request goes there, whatever its own address says."""

    def __init__(self, make: Callable[[], HTTPAdapter], timeout: Timeout, address: str = "") -> None:
        super().__init__(max_retries=0)
        self.answer: Response | None = None
        self.trouble: BaseException | None = None
        self._make = make
        self._inner = make()
        self._timeout = timeout
        self._address = check_loopback(address) if address else ""

    def carry(self, *sessions: Session) -> None:
        """Be the only way out of these sessions, whatever they were given before."""
        for session in sessions:
            session.adapters.clear()
            session.mount("https://", self)
            session.mount("http://", self)
            session.max_redirects = 0  # a redirect would send a commit a second time
            session.trust_env = session.trust_env and not self._address

    def renew(self) -> None:
        """Start with a new connection. An old one that turns out to be closed is a reason for some to send again."""
        old, self._inner = self._inner, self._make()
        old.close()

    def forget(self) -> None:
        self.answer = self.trouble = None

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> Response:
        self.forget()
        try:
            answer = self._inner.send(
                self._addressed(request),
                stream,
                timeout or self._timeout,
                verify,
                cert,
                {} if self._address else proxies,
            )
            if not stream:
                _ = answer.content  # read here, so that an answer that is torn counts as none
        except Exception as error:
            self.trouble = error
            raise
        self.answer = answer
        return answer

    def close(self) -> None:
        self._inner.close()
        super().close()

    def _addressed(self, request: PreparedRequest) -> PreparedRequest:
        if not self._address:
            return request
        moved = request.copy()
        there, asked = urlsplit(self._address), urlsplit(str(request.url))
        moved.url = urlunsplit((there.scheme, there.netloc, asked.path, asked.query, ""))
        return moved


def never_sent(error: BaseException | None) -> bool:
    """Whether it is certain that no byte of the request left: only then may a commit that failed count as not made."""
    return any(
        isinstance(each, (ConnectTimeout, NewConnectionError)) or getattr(each, "code", None) in NOT_SENT
        for each in _causes(error)
    )


def _causes(error: BaseException | None, depth: int = 8) -> Iterator[BaseException]:
    """The error and what it stands for: requests wraps urllib3's in its arguments, curl's are chained."""
    if error is None or depth == 0:
        return
    yield error
    for each in (getattr(error, "reason", None), *error.args[:1]):
        if isinstance(each, BaseException):
            yield from _causes(each, depth - 1)
    yield from _causes(error.__cause__, depth - 1)
