"""Adapt instagrapi's client: send every request once, with a timeout, log nothing, and send pictures byte for byte."""

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
from tasks.publishers.instagram.single_send import SingleSendAdapter
from tasks.publishers.picture_rules import CheckedPicture

# The library logs whole answers, some of which hold a session. Our errors say what matters.
SILENT_LOGGER = logging.Logger("instagrapi, silenced")
SILENT_LOGGER.disabled = True


def _refuse_to_answer(*_: object) -> str:
    raise ChallengeRequired("nobody is here to answer")


class InstagramClient(Client):
    """Acts as the app on a phone. Requests that the library would repeat by itself are sent once, and their failure raises."""

    private_request_logger = SILENT_LOGGER
    public_request_logger = SILENT_LOGGER
    request_logger = SILENT_LOGGER

    def __init__(
        self, settings: Mapping[str, Any], timeout: Timeout, address: str = "", request_pause: float = 1.0
    ) -> None:
        """`address` is a stand-in's; `request_pause` is the pause, in seconds, that the library makes before a request."""
        transport = "requests" if address else "curl"
        all_settings = {
            **settings,
            "private_transport": transport,
            "public_transport": "requests",
            "request_timeout": request_pause,
        }
        super().__init__(
            settings=all_settings, logger=SILENT_LOGGER, with_challenge_flow=False, private_transport=transport
        )
        self.challenge_code_handler = self.change_password_handler = _refuse_to_answer
        self.adapter = SingleSendAdapter(HTTPAdapter if address else create_curl_h2_adapter, timeout, address)
        self.adapter.mount_on(self.private)
        # The library asks for the key that encrypts passwords on this session; Instagram's web hosts take HTTP/1.1 there.
        self.public_adapter = SingleSendAdapter(HTTPAdapter, timeout, address)
        self.public_adapter.mount_on(self.public, self.graphql)
        self._picture: CheckedPicture | None = None
        self._send_picture = MethodType(
            _copy_with_globals(photo.UploadPhotoMixin.photo_rupload, prepare_image=self._unchanged_picture), self
        )

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
        """Send a request once. The library's own method repeats it after a 408, a torn answer or a challenge."""
        all_headers = dict(headers or {})
        if self.authorization and "authorization" not in {name.lower() for name in all_headers}:
            all_headers["Authorization"] = self.authorization
        self.private_requests_count += 1
        return dict(
            self._send_private_request(
                endpoint, data, params, login, with_signature, all_headers or None, extra_sig, domain
            )
        )

    def private_graphql_request(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Raise for an empty answer, which the library accepts."""
        content = super().private_graphql_request(*args, **kwargs)
        if not isinstance(content, dict) or not content.get("data"):
            raise ClientGraphqlError("an answer without data")
        return content

    def upload_picture(self, picture: CheckedPicture, upload_id: str, album: bool, story: bool) -> None:
        """Send the bytes of a picture, which nobody sees until a post is made of them."""
        self._picture = picture
        self._send_picture(picture.picture.path, upload_id, to_album=album, for_story=story)

    def _unchanged_picture(self, path: str, **_: object) -> tuple[bytes, tuple[int, int]]:
        """Return the picture unchanged, where the library would crop, shrink and encode it again."""
        assert self._picture and str(self._picture.picture.path) == path
        return self._picture.data, (self._picture.width, self._picture.height)

    def list_secrets(self) -> list[str]:
        """List the texts that no message may repeat."""
        values = [self.password, self.authorization, self.sessionid, self.token, *self.cookie_dict.values()]
        values += [str(value) for value in (self.authorization_data or {}).values()]
        return [text for text in values if text and len(text) > 3]


def _copy_with_globals(function: Callable[..., Any], **names: object) -> Callable[..., Any]:
    """Copy a function and replace these globals in the copy; the function itself stays unchanged."""
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
