"""instagrapi's client as we use it: every request once, with a timeout, past no log, and pictures byte for byte."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import FunctionType, MethodType
from typing import Any

from instagrapi import Client
from instagrapi.exceptions import ChallengeRequired, ClientGraphqlError
from instagrapi.mixins import photo
from instagrapi.transports import create_curl_h2_adapter
from requests.adapters import HTTPAdapter

from tasks.publishers.base import Timeout
from tasks.publishers.instagram.single_send import Wire
from tasks.publishers.instagram_picture_rules import Exact

# The library logs whole answers, some of which hold a session. What is worth knowing is in our errors.
SILENT = logging.Logger("instagrapi, silenced")
SILENT.disabled = True


def _nobody_to_ask(*_: object) -> str:
    raise ChallengeRequired("nobody is here to answer")


class Phone(Client):
    """The app on its phone. What the library would send again on its own is sent once and told."""

    private_request_logger = SILENT
    public_request_logger = SILENT
    request_logger = SILENT

    def __init__(self, settings: Mapping[str, Any], timeout: Timeout, address: str = "", breath: float = 1.0) -> None:
        """`address` is a stand-in's; `breath` is the pause, in seconds, that the library makes before a request."""
        transport = "requests" if address else "curl"
        known = {**settings, "private_transport": transport, "public_transport": "requests", "request_timeout": breath}
        super().__init__(settings=known, logger=SILENT, with_challenge_flow=False, private_transport=transport)
        self.challenge_code_handler = self.change_password_handler = _nobody_to_ask
        self.wire = Wire(HTTPAdapter if address else create_curl_h2_adapter, timeout, address)
        self.wire.carry(self.private)
        # The library asks for the key that encrypts passwords on this session; Instagram's web hosts take HTTP/1.1 there.
        self.public_wire = Wire(HTTPAdapter, timeout, address)
        self.public_wire.carry(self.public, self.graphql)
        self._exact: Exact | None = None
        self._rupload = MethodType(_with(photo.UploadPhotoMixin.photo_rupload, prepare_image=self._as_it_is), self)

    def private_request(
        self,
        endpoint: str,
        data: Any = None,
        params: Any = None,
        login: bool = False,
        with_signature: bool = True,
        headers: Mapping[str, str] | None = None,
        extra_sig: Any = None,
        domain: str | None = None,
    ) -> dict[str, Any]:
        """Once. The library's own sends again after a 408, after a torn answer and after a challenge."""
        told = dict(headers or {})
        if self.authorization and "authorization" not in {name.lower() for name in told}:
            told["Authorization"] = self.authorization
        self.private_requests_count += 1
        return dict(
            self._send_private_request(endpoint, data, params, login, with_signature, told or None, extra_sig, domain)
        )

    def private_graphql_request(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The library takes an empty answer for a good one."""
        found = super().private_graphql_request(*args, **kwargs)
        if not isinstance(found, dict) or not found.get("data"):
            raise ClientGraphqlError("an answer without data")
        return found

    def upload(self, picture: Exact, upload_id: str, album: bool, story: bool) -> None:
        """Send the bytes of a picture, which nobody sees until a post is made of them."""
        self._exact = picture
        self._rupload(picture.picture.path, upload_id, to_album=album, for_story=story)

    def _as_it_is(self, path: str, **_: object) -> tuple[bytes, tuple[int, int]]:
        """Where the library would crop, shrink and encode again."""
        assert self._exact and str(self._exact.picture.path) == path
        return self._exact.data, (self._exact.width, self._exact.height)

    def secrets(self) -> list[str]:
        """What must not be repeated anywhere."""
        found = [self.password, self.authorization, self.sessionid, self.token, *self.cookie_dict.values()]
        found += [str(value) for value in (self.authorization_data or {}).values()]
        return [each for each in found if each and len(each) > 3]


def _with(function: Callable[..., Any], **names: object) -> Callable[..., Any]:
    """A copy of a function that finds other things under these names; the function itself stays as it is."""
    assert isinstance(function, FunctionType)
    assert set(names) <= set(function.__code__.co_names), f"instagrapi no longer uses {set(names)}"
    copy = FunctionType(
        function.__code__,
        {**function.__globals__, **names},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy
