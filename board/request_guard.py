"""Middleware: check Host, Origin, session and body size before any page.

A page elsewhere may send a browser here with anything it likes. It cannot read our pages, so it does not know the token;
it cannot make its own name ours, so the Host is another one; and its Origin is not this one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from board.sessions import Sessions

COOKIE = "restage"
TOKEN = "x-restage-token"
ANYBODY = "anybody"
"""Whose token it is where nobody has to log in."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
OPEN_PATHS = ("/login", "/static/")
SAFE_METHODS = ("GET", "HEAD")
MAX_BODY_BYTES = 256 * 1024
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; font-src 'self';"
    " frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), interest-cohort=()",
    "cache-control": "no-store",
}
"""Unless a page says otherwise itself."""


class RequestGuard:
    def __init__(self, app: ASGIApp, sessions: Sessions, names: Collection[str]) -> None:
        self._app = app
        self._sessions = sessions
        self._names = {_bare_host(name) for name in (*LOOPBACK, *names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        session = _session_cookie(headers)
        scope.setdefault("state", {})["session"] = session
        answer = self._refuse_request(scope, headers, session)
        if answer is not None:
            await answer(scope, receive, _with_headers(send))
            return
        await self._app(scope, _limit_body(receive), _with_headers(send))

    def _refuse_request(self, scope: Scope, headers: Headers, session: str) -> Response | None:
        """Return the response that refuses this request; None if it is allowed."""
        path, method = scope["path"], scope["method"]
        if not self._is_called_by_name(headers.getlist("host")):
            return _refusal_response(
                path, 421, "this address is not one of this board: open it as it was printed, or see [board] names"
            )
        if int(_decimal_digits(headers.get("content-length"))) > MAX_BODY_BYTES:
            return _refusal_response(path, 413, "that is more than a post can hold: send less")
        if not path.startswith(OPEN_PATHS) and self._sessions.needs_password and not self._sessions.is_open(session):
            if method in SAFE_METHODS and not path.startswith("/api/") and "text/html" in headers.get("accept", ""):
                return RedirectResponse(f"/login?next={quote(path, safe='/')}", 303)
            return _refusal_response(path, 401, "you are not logged in: open the board again")
        if method in SAFE_METHODS:
            return None
        if not _is_from_here(headers):
            return _refusal_response(path, 403, "another page sent this: use the board itself")
        # Forms carry the token inside, where their own routes look for it.
        if path.startswith("/api/") and not self._sessions.is_token(headers.get(TOKEN, ""), self.token_owner(session)):
            return _refusal_response(path, 403, "the page is too old for this change: load it again")
        return None

    def token_owner(self, session: str) -> str:
        return session if self._sessions.needs_password else ANYBODY

    def _is_called_by_name(self, hosts: Iterable[str]) -> bool:
        """Tell whether the Host is ours. Numbers need no list: no name's owner can point them elsewhere."""
        host_list = list(hosts)
        name = _bare_host(host_list[0]) if len(host_list) == 1 else ""
        return name in self._names or _is_number(name)


def _session_cookie(headers: Headers) -> str:
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def _is_from_here(headers: Headers) -> bool:
    """Check the Origin, which browsers send with every change; other programs have no cookies to misuse."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
    try:
        return urlsplit(origin).netloc.lower() == headers.get("host", "").lower() != ""
    except ValueError:
        return False


def _bare_host(host: str) -> str:
    """Return a host in lower case, without its port and brackets."""
    host = host.strip().lower().rstrip(".")
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host if host.count(":") > 1 else host.partition(":")[0]


def _is_number(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _decimal_digits(text: str | None) -> str:
    return text if text and text.isascii() and text.isdecimal() and len(text) < 16 else "0"


def _refusal_response(path: str, status: int, reason: str) -> Response:
    return (
        JSONResponse({"problem": reason}, status)
        if path.startswith("/api/")
        else PlainTextResponse(reason + "\n", status)
    )


def _limit_body(receive: Receive) -> Receive:
    """Limit the body to the largest size that anything here needs, whatever its header says."""
    got = 0

    async def receive_limited() -> Message:
        nonlocal got
        message = await receive()
        got += len(message.get("body", b""))
        return {"type": "http.disconnect"} if got > MAX_BODY_BYTES else message

    return receive_limited


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers
