"""Send the requests of a client that uses requests: each with a timeout, none twice, the last answer kept."""

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

NOT_SENT_CURL_CODES = (5, 6, 7)  # no proxy found, no host found, no connection made


class SingleSendAdapter(HTTPAdapter):
    """Wraps another adapter. With an address, every request goes there instead of to its own address."""

    def __init__(self, new_adapter: Callable[[], HTTPAdapter], timeout: Timeout, address: str = "") -> None:
        super().__init__(max_retries=0)
        self.answer: Response | None = None
        self.error: BaseException | None = None
        self._new_adapter = new_adapter
        self._inner = new_adapter()
        self._timeout = timeout
        self._address = check_loopback(address) if address else ""

    def mount_on(self, *sessions: Session) -> None:
        """Become the only adapter of these sessions."""
        for session in sessions:
            session.adapters.clear()
            session.mount("https://", self)
            session.mount("http://", self)
            session.max_redirects = 0  # a redirect would send a commit a second time
            session.trust_env = session.trust_env and not self._address

    def reconnect(self) -> None:
        """Open a new connection. On an old one that is closed, some libraries send again."""
        old, self._inner = self._inner, self._new_adapter()
        old.close()

    def reset(self) -> None:
        self.answer = self.error = None

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> Response:
        self.reset()
        try:
            answer = self._inner.send(
                self._redirect_request(request),
                stream,
                timeout or self._timeout,
                verify,
                cert,
                {} if self._address else proxies,
            )
            if not stream:
                _ = answer.content  # read here, so that a torn answer counts as no answer
        except Exception as error:
            self.error = error
            raise
        self.answer = answer
        return answer

    def close(self) -> None:
        self._inner.close()
        super().close()

    def _redirect_request(self, request: PreparedRequest) -> PreparedRequest:
        if not self._address:
            return request
        redirected = request.copy()
        target, original = urlsplit(self._address), urlsplit(str(request.url))
        redirected.url = urlunsplit((target.scheme, target.netloc, original.path, original.query, ""))
        return redirected


def was_never_sent(error: BaseException | None) -> bool:
    """Tell whether certainly no byte of the request was sent: only then may a failed commit count as not made."""
    return any(
        isinstance(cause, (ConnectTimeout, NewConnectionError)) or getattr(cause, "code", None) in NOT_SENT_CURL_CODES
        for cause in _error_causes(error)
    )


def _error_causes(error: BaseException | None, depth: int = 8) -> Iterator[BaseException]:
    """List the error and its causes: requests wraps urllib3's errors in its arguments, curl's are chained."""
    if error is None or depth == 0:
        return
    yield error
    for inner in (getattr(error, "reason", None), *error.args[:1]):
        if isinstance(inner, BaseException):
            yield from _error_causes(inner, depth - 1)
    yield from _error_causes(error.__cause__, depth - 1)
