"""Serve the official API's endpoints for publishing, and S3-compatible storage for the pictures that it fetches."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx

from tasks.publishers.http import is_local, open_client
from tasks.publishers.stand_in.faults import Answer
from tasks.publishers.stand_in.request import Endpoint, Request, as_json
from tasks.publishers.stand_in.state import MAX_DAILY_POSTS, Account, Container, Medium, State

ToAccount = Callable[[State, Account, Request], Answer]
TOKEN_SECONDS = 60 * 24 * 3600
CONTAINER_SECONDS = 24 * 3600.0  # of a container
PAGE_SIZE = 50


def error_answer(code: int, message: str, part: int = 0, status: int = 400) -> Answer:
    return as_json(
        status, {"error": {"message": message, "type": "OAuthException", "code": code, "error_subcode": part}}
    )


def require_token(serve: ToAccount) -> Callable[[State, Request], Answer]:
    """Wrap an endpoint so that it requires a token in the Authorization header."""

    def serve_account(state: State, request: Request) -> Answer:
        account = state.account_of_token(request.headers.get("authorization", "").removeprefix("Bearer "))
        if account is None:
            return error_answer(190, "Invalid OAuth access token - Cannot parse access token")
        if request.parts.get("user", account.user_id) != account.user_id:
            return error_answer(10, "Application does not have permission for this action")
        return serve(state, account, request)

    return serve_account


def _create_container(state: State, account: Account, request: Request) -> Answer:
    form = request.form_fields()
    kind = {"CAROUSEL": "album", "STORIES": "story"}.get(form.get("media_type", ""), "photo")
    label = form.get("is_ai_generated") == "true"
    if kind == "album":
        children = [state.containers.get(child) for child in form.get("children", "").split(",")]
        if not 2 <= len(children) <= 10 or not all(child and child.status == "FINISHED" for child in children):
            return error_answer(9004, "Children are not ready", 2207027)
        pictures = [child.pictures[0] for child in children if child]
        alts = [child.alts[0] for child in children if child]
    else:
        pictures = [state.store_picture(request.fetched)] if request.fetched else []
        alts = [form.get("alt_text", "")]
    container = Container(
        state.new_number(),
        account.name,
        kind,
        form.get("caption", ""),
        pictures,
        alts,
        label,
        made_at=state.current_time(),
    )
    if not pictures:
        container.status = "ERROR"
    state.containers[container.id] = container
    return as_json(200, {"id": container.id})


def fetch_picture(address: str) -> bytes | None:
    """Fetch the picture at an address of this machine; None for any other address."""
    if not is_local(address):
        return None
    try:
        with open_client((5, 10), address) as client:
            answer = client.get(address)
    except httpx.HTTPError:
        return None
    return answer.content if answer.status_code == 200 and answer.content[:2] == b"\xff\xd8" else None


def _publish_container(state: State, account: Account, request: Request) -> Answer:
    container = state.containers.get(request.form_fields().get("creation_id", ""))
    if container is None or container.account != account.name:
        return error_answer(24, "The requested resource does not exist", 2207006)
    if container.status == "IN_PROGRESS":
        return error_answer(9007, "Media ID is not available", 2207027)
    if container.status not in ("FINISHED", "PUBLISHED"):
        return error_answer(-2, "The container cannot be published", 2207020)
    if _count_recent_posts(state, account) >= MAX_DAILY_POSTS:
        return error_answer(9, "Application request limit reached", 2207042)
    medium = state.add_medium(
        account,
        container.kind,
        container.caption,
        container.pictures,
        container.alts,
        container.id,
        ai_label=container.ai_label,
        through="graph",
    )
    container.status = "PUBLISHED"
    return as_json(200, {"id": medium.id})


def _show_limit(state: State, account: Account, request: Request) -> Answer:
    config = {"quota_total": MAX_DAILY_POSTS, "quota_duration": 86400}
    return as_json(200, {"data": [{"quota_usage": _count_recent_posts(state, account), "config": config}]})


def _count_recent_posts(state: State, account: Account) -> int:
    media = [
        medium
        for medium in state.published
        if medium.account == account.name and medium.taken_at > state.current_time() - CONTAINER_SECONDS
    ]
    return state.used + sum(medium.through == "graph" for medium in media)


def _list_media(stories: bool) -> ToAccount:
    def serve_page(state: State, account: Account, request: Request) -> Answer:
        start = int(request.query.get("after") or 0)
        media = state.list_media(account, stories)
        page = [medium_object(request, medium) for medium in media[start : start + PAGE_SIZE]]
        more = start + PAGE_SIZE < len(media)
        paging = {"cursors": {"after": str(start + PAGE_SIZE)}, "next": f"{request.base}/next"} if more else {}
        return as_json(200, {"data": page, "paging": paging})

    return serve_page


def medium_object(request: Request, medium: Medium) -> dict[str, Any]:
    """Return a post as the official API shows it."""
    links = [f"{request.base}/pictures/{name}.jpg" for name in medium.pictures]
    stamp = datetime.fromtimestamp(medium.taken_at, UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")
    values: dict[str, Any] = {
        "id": medium.id,
        "media_type": "CAROUSEL_ALBUM" if medium.kind == "album" else "IMAGE",
        "media_url": links[0],
        "permalink": f"https://www.instagram.com/p/{medium.code}/",
        "timestamp": stamp,
        "username": medium.account,
        "is_ai_generated": medium.ai_label,
    }
    if medium.caption:
        values["caption"] = medium.caption
    if medium.kind == "album":
        values["children"] = {"data": [{"id": f"{medium.id}{n}", "media_url": link} for n, link in enumerate(links)]}
    return values


def _show_node(state: State, account: Account, request: Request) -> Answer:
    """Show a container, a medium or the account itself, which the API distinguishes by their number alone."""
    number = request.parts["node"]
    if number == account.user_id:
        return as_json(200, {"id": number, "username": account.name})
    container = state.containers.get(number)
    if container is not None and container.account == account.name:
        container.polls += 1
        if container.status == "IN_PROGRESS" and container.polls > 1:
            container.status = "FINISHED"
        if container.status == "FINISHED" and state.current_time() - container.made_at > CONTAINER_SECONDS:
            container.status = "EXPIRED"
        return as_json(200, {"id": number, "status_code": container.status})
    medium = next(
        (item for item in state.list_media(account) + state.list_media(account, True) if item.id == number), None
    )
    if medium is None:
        return error_answer(100, "Unsupported get request. Object with this ID does not exist", 33)
    return as_json(200, medium_object(request, medium))


def _refresh_token(state: State, request: Request) -> Answer:
    account = state.account_of_token(request.query.get("access_token", ""))
    if account is None or request.query.get("grant_type") != "ig_refresh_token":
        return error_answer(190, "Invalid OAuth access token")
    renewed = "IGAA" + secrets.token_hex(20)
    state.renewed[renewed] = account.name
    return as_json(200, {"access_token": renewed, "token_type": "bearer", "expires_in": TOKEN_SECONDS})


def _store_file(state: State, request: Request) -> Answer:
    content_hash = request.headers.get("x-amz-content-sha256", "")
    if content_hash != hashlib.sha256(request.body).hexdigest() or "Signature=" not in request.headers.get(
        "authorization", ""
    ):
        return Answer(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>", kind="application/xml")
    state.files[request.path] = state.store_picture(request.body)
    return Answer(200, b"", kind="application/xml")


def _read_file(state: State, request: Request) -> Answer:
    data = state.load_picture(state.files.get(request.path, ""))
    if data is None or "X-Amz-Signature" not in request.query:
        return Answer(403, b"<Error><Code>AccessDenied</Code></Error>", kind="application/xml")
    return Answer(200, data, kind="image/jpeg")


USER_PATH = r"/v[\d.]+/(?P<user>\d+)"
ENDPOINTS = (
    Endpoint("container", "POST", USER_PATH + r"/media", require_token(_create_container), graph=True),
    Endpoint("publish", "POST", USER_PATH + r"/media_publish", require_token(_publish_container), graph=True),
    Endpoint("limit", "GET", USER_PATH + r"/content_publishing_limit", require_token(_show_limit), graph=True),
    Endpoint("media list", "GET", USER_PATH + r"/media", require_token(_list_media(False)), graph=True),
    Endpoint("story list", "GET", USER_PATH + r"/stories", require_token(_list_media(True)), graph=True),
    Endpoint("node", "GET", r"/v[\d.]+/(?P<node>\d+)", require_token(_show_node), graph=True),
    Endpoint("refresh", "GET", r"/refresh_access_token", _refresh_token, graph=True),
    Endpoint("store", "PUT", r"/[\w-]+/[\w./-]+\.jpg", _store_file, graph=True),
    Endpoint("stored", "GET", r"/[\w-]+/[\w./-]+\.jpg", _read_file, graph=True),
)
