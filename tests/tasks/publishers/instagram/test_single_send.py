"""Every request of the app's client has a timeout, leaves through one door, and is never sent again by itself."""

from collections.abc import Callable
from typing import Any

import pytest
import requests
from curl_cffi.requests.exceptions import ConnectionError as CurlConnectionError
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from tasks.publishers.instagram.client import InstagramClient
from tasks.publishers.instagram.single_send import SingleSendAdapter, was_never_sent
from tasks.publishers.stand_in.server import StandIn
from tests.tasks.publishers.conftest import PATIENT, Ready


class Recorder(HTTPAdapter):
    """Answers everything with an empty object, and remembers what it was given."""

    timeouts: list[Any]

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        self.timeouts.append(args[1])
        answer = Response()
        answer.status_code, answer._content, answer.request, answer.url = 200, b'{"status": "ok"}', request, ""
        return answer


def test_every_session_of_the_client_has_a_timeout() -> None:
    """Without an address, and after the library has put its own adapters in, as it does whenever it reads settings."""
    phone = InstagramClient({"uuids": {}}, (3.0, 7.0), request_pause=0)
    Recorder.timeouts = []
    for wire in (phone.adapter, phone.public_adapter):
        wire._inner = Recorder()
    phone.private_request("accounts/current_user/")
    phone.public.get("https://i.instagram.com/api/v1/qe/sync/")
    phone.graphql.get("https://www.instagram.com/api/graphql")
    assert Recorder.timeouts == [(3.0, 7.0)] * 3
    for session in (phone.private, phone.public, phone.graphql):
        assert set(session.adapters.values()) <= {phone.adapter, phone.public_adapter}


def test_to_instagram_it_goes_as_the_library_means_it() -> None:
    phone = InstagramClient({}, PATIENT)
    assert type(phone.adapter._inner).__name__ == "_CurlH2Adapter"
    before = phone.adapter._inner
    phone.adapter.reconnect()
    assert phone.adapter._inner is not before
    assert phone.request_timeout == 1.0


def test_a_redirect_is_not_followed(server: StandIn, ready: Callable[..., Ready]) -> None:
    """A 307 would send the body once more, to wherever it says."""

    class Redirecting(HTTPAdapter):
        count = 0

        def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
            type(self).count += 1
            answer = Response()
            answer.status_code, answer._content, answer.request, answer.url = 307, b"", request, str(request.url)
            answer.headers["Location"] = "https://i.instagram.com/elsewhere"
            return answer

    post = ready("instagram")
    wire = post.publisher._client.adapter  # type: ignore[attr-defined]
    wire._new_adapter = Redirecting
    with pytest.raises(Exception, match="status 307") as caught:
        post.publisher.commit(post.parcel, post.prepared)
    assert caught.value.ambiguous  # type: ignore[attr-defined]
    assert Redirecting.count == 1


def test_only_what_certainly_never_left_counts_as_not_sent() -> None:
    session = requests.Session()
    wire = SingleSendAdapter(HTTPAdapter, (2.0, 2.0))
    wire.mount_on(session)
    with pytest.raises(requests.ConnectionError):
        session.get("http://127.0.0.1:1/")
    assert was_never_sent(wire.error)
    assert not was_never_sent(requests.ConnectionError("reset by peer"))
    assert not was_never_sent(requests.ReadTimeout())
    assert not was_never_sent(None)
    for code, certain in ((7, True), (6, True), (52, False), (28, False), (56, False)):
        error = requests.ConnectionError("curl")
        error.__cause__ = CurlConnectionError("trouble", code)
        assert was_never_sent(error) == certain
