"""The endpoints of the official API that publish, and an S3-compatible store for the pictures that it fetches."""

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
from tasks.publishers.stand_in.state import LIMIT, Account, Container, Medium, State

ToAccount = Callable[[State, Account, Request], Answer]
SIXTY_DAYS = 60 * 24 * 3600
LIFE = 24 * 3600.0  # of a container
PAGE = 50


def error(code: int, message: str, part: int = 0, status: int = 400) -> Answer:
    return as_json(
        status, {"error": {"message": message, "type": "OAuthException", "code": code, "error_subcode": part}}
    )


def for_token(serve: ToAccount) -> Callable[[State, Request], Answer]:
    """Only with a token, which comes in the Authorization header."""

    def checked(state: State, request: Request) -> Answer:
        account = state.by_token(request.headers.get("authorization", "").removeprefix("Bearer "))
        if account is None:
            return error(190, "Invalid OAuth access token - Cannot parse access token")
        if request.parts.get("user", account.user_id) != account.user_id:
            return error(10, "Application does not have permission for this action")
        return serve(state, account, request)

    return checked


def _create(state: State, account: Account, request: Request) -> Answer:
    told = request.form()
    kind = {"CAROUSEL": "album", "STORIES": "story"}.get(told.get("media_type", ""), "photo")
    label = told.get("is_ai_generated") == "true"
    if kind == "album":
        children = [state.containers.get(each) for each in told.get("children", "").split(",")]
        if not 2 <= len(children) <= 10 or not all(each and each.status == "FINISHED" for each in children):
            return error(9004, "Children are not ready", 2207027)
        pictures = [each.pictures[0] for each in children if each]
        alts = [each.alts[0] for each in children if each]
    else:
        pictures = [state.keep(request.fetched)] if request.fetched else []
        alts = [told.get("alt_text", "")]
    made = Container(
        state.number(), account.name, kind, told.get("caption", ""), pictures, alts, label, made_at=state.now()
    )
    if not pictures:
        made.status = "ERROR"
    state.containers[made.id] = made
    return as_json(200, {"id": made.id})


def fetched(address: str) -> bytes | None:
    """The picture at an address of this machine. The stand-in asks nobody else."""
    if not is_local(address):
        return None
    try:
        with open_client((5, 10), address) as client:
            answer = client.get(address)
    except httpx.HTTPError:
        return None
    return answer.content if answer.status_code == 200 and answer.content[:2] == b"\xff\xd8" else None


def _publish(state: State, account: Account, request: Request) -> Answer:
    made = state.containers.get(request.form().get("creation_id", ""))
    if made is None or made.account != account.name:
        return error(24, "The requested resource does not exist", 2207006)
    if made.status == "IN_PROGRESS":
        return error(9007, "Media ID is not available", 2207027)
    if made.status not in ("FINISHED", "PUBLISHED"):
        return error(-2, "The container cannot be published", 2207020)
    if _used(state, account) >= LIMIT:
        return error(9, "Application request limit reached", 2207042)
    medium = state.publish(
        account, made.kind, made.caption, made.pictures, made.alts, made.id, ai_label=made.ai_label, through="graph"
    )
    made.status = "PUBLISHED"
    return as_json(200, {"id": medium.id})


def _limit(state: State, account: Account, request: Request) -> Answer:
    config = {"quota_total": LIMIT, "quota_duration": 86400}
    return as_json(200, {"data": [{"quota_usage": _used(state, account), "config": config}]})


def _used(state: State, account: Account) -> int:
    recent = [each for each in state.published if each.account == account.name and each.taken_at > state.now() - LIFE]
    return state.used + sum(each.through == "graph" for each in recent)


def _list(stories: bool) -> ToAccount:
    def serve(state: State, account: Account, request: Request) -> Answer:
        start = int(request.query.get("after") or 0)
        mine = state.of(account, stories)
        page = [shown(request, each) for each in mine[start : start + PAGE]]
        more = start + PAGE < len(mine)
        paging = {"cursors": {"after": str(start + PAGE)}, "next": f"{request.base}/next"} if more else {}
        return as_json(200, {"data": page, "paging": paging})

    return serve


def shown(request: Request, medium: Medium) -> dict[str, Any]:
    """A post as the official API shows it."""
    links = [f"{request.base}/pictures/{name}.jpg" for name in medium.pictures]
    stamp = datetime.fromtimestamp(medium.taken_at, UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")
    found: dict[str, Any] = {
        "id": medium.id,
        "media_type": "CAROUSEL_ALBUM" if medium.kind == "album" else "IMAGE",
        "media_url": links[0],
        "permalink": f"https://www.instagram.com/p/{medium.code}/",
        "timestamp": stamp,
        "username": medium.account,
        "is_ai_generated": medium.ai_label,
    }
    if medium.caption:
        found["caption"] = medium.caption
    if medium.kind == "album":
        found["children"] = {"data": [{"id": f"{medium.id}{n}", "media_url": link} for n, link in enumerate(links)]}
    return found


def _node(state: State, account: Account, request: Request) -> Answer:
    """A container, a medium or the account itself: the API tells them apart by their number alone."""
    number = request.parts["node"]
    if number == account.user_id:
        return as_json(200, {"id": number, "username": account.name})
    made = state.containers.get(number)
    if made is not None and made.account == account.name:
        made.polls += 1
        if made.status == "IN_PROGRESS" and made.polls > 1:
            made.status = "FINISHED"
        if made.status == "FINISHED" and state.now() - made.made_at > LIFE:
            made.status = "EXPIRED"
        return as_json(200, {"id": number, "status_code": made.status})
    medium = next((each for each in state.of(account) + state.of(account, True) if each.id == number), None)
    if medium is None:
        return error(100, "Unsupported get request. Object with this ID does not exist", 33)
    return as_json(200, shown(request, medium))


def _refresh(state: State, request: Request) -> Answer:
    account = state.by_token(request.query.get("access_token", ""))
    if account is None or request.query.get("grant_type") != "ig_refresh_token":
        return error(190, "Invalid OAuth access token")
    renewed = "IGAA" + secrets.token_hex(20)
    state.renewed[renewed] = account.name
    return as_json(200, {"access_token": renewed, "token_type": "bearer", "expires_in": SIXTY_DAYS})


def _put(state: State, request: Request) -> Answer:
    told = request.headers.get("x-amz-content-sha256", "")
    if told != hashlib.sha256(request.body).hexdigest() or "Signature=" not in request.headers.get("authorization", ""):
        return Answer(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>", kind="application/xml")
    state.files[request.path] = state.keep(request.body)
    return Answer(200, b"", kind="application/xml")


def _read(state: State, request: Request) -> Answer:
    data = state.data(state.files.get(request.path, ""))
    if data is None or "X-Amz-Signature" not in request.query:
        return Answer(403, b"<Error><Code>AccessDenied</Code></Error>", kind="application/xml")
    return Answer(200, data, kind="image/jpeg")


USER = r"/v[\d.]+/(?P<user>\d+)"
ENDPOINTS = (
    Endpoint("container", "POST", USER + r"/media", for_token(_create), graph=True),
    Endpoint("publish", "POST", USER + r"/media_publish", for_token(_publish), graph=True),
    Endpoint("limit", "GET", USER + r"/content_publishing_limit", for_token(_limit), graph=True),
    Endpoint("media list", "GET", USER + r"/media", for_token(_list(False)), graph=True),
    Endpoint("story list", "GET", USER + r"/stories", for_token(_list(True)), graph=True),
    Endpoint("node", "GET", r"/v[\d.]+/(?P<node>\d+)", for_token(_node), graph=True),
    Endpoint("refresh", "GET", r"/refresh_access_token", _refresh, graph=True),
    Endpoint("store", "PUT", r"/[\w-]+/[\w./-]+\.jpg", _put, graph=True),
    Endpoint("stored", "GET", r"/[\w-]+/[\w./-]+\.jpg", _read, graph=True),
)
