"""The endpoints of Instagram's app that publish and show what is published, as instagrapi calls them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from tasks.publishers.stand_in.faults import Answer
from tasks.publishers.stand_in.request import Endpoint, Request, as_json
from tasks.publishers.stand_in.state import Account, Medium, State, Upload

PAGE = 12
STORE = "https://scontent.cdninstagram.com"  # where the app thinks pictures are; the stand-in serves them itself
ToAccount = Callable[[State, Account, Request], Answer]


def session_of(request: Request) -> str:
    """The session in the app's Authorization header."""
    _, _, coded = request.headers.get("authorization", "").rpartition(":")
    try:
        found = json.loads(base64.b64decode(coded, validate=False))
        return str(found.get("sessionid") or "")
    except (ValueError, AttributeError):
        return ""


def for_account(serve: ToAccount) -> Callable[[State, Request], Answer]:
    """Only with a session."""

    def checked(state: State, request: Request) -> Answer:
        account = state.whose(session_of(request))
        if account is None:
            return as_json(403, {"message": "login_required", "logout_reason": 3, "status": "fail"})
        return serve(state, account, request)

    return checked


def _account(state: State, account: Account, request: Request) -> Answer:
    return as_json(200, {"user": _user(account), "status": "ok"})


def _user(account: Account) -> dict[str, Any]:
    return {
        "pk": account.user_id,
        "username": account.name,
        "full_name": account.name,
        "is_private": False,
        "is_verified": False,
        "is_business": False,
        "profile_pic_url": f"{STORE}/profile.jpg",
        "biography": "",
    }


def _upload(state: State, account: Account, request: Request) -> Answer:
    told = json.loads(request.headers.get("x-instagram-rupload-params", "{}"))
    if int(request.headers.get("x-entity-length", -1)) != len(request.body):
        return as_json(400, {"message": "Bytes are missing", "status": "fail"})
    state.uploads[str(told["upload_id"])] = Upload(state.keep(request.body), len(request.body), account.name)
    return as_json(200, {"upload_id": told["upload_id"], "xsharing_nonces": {}, "status": "ok"})


def _configure(kind: str) -> ToAccount:
    def serve(state: State, account: Account, request: Request) -> Answer:
        told = request.signed()
        children = told.get("children_metadata") or [told]
        uploads = [state.uploads.get(str(each.get("upload_id"))) for each in children]
        if not all(each and each.account == account.name for each in uploads):
            return as_json(400, {"message": "media_needs_reupload", "error_title": "upload", "status": "fail"})
        pictures = [each.sha256 for each in uploads if each]
        alts = [str(each.get("custom_accessibility_caption") or "") for each in children]
        medium = state.publish(
            account, kind, str(told.get("caption") or ""), pictures, alts, str(told["upload_id"]),
            ai_label=account.name in state.labelled,
        )  # fmt: skip
        return as_json(200, {"media": shown(state, account, medium), "upload_id": medium.upload_id, "status": "ok"})

    return serve


def shown(state: State, account: Account, medium: Medium) -> dict[str, Any]:
    """A post as the app sees it."""
    found: dict[str, Any] = {
        "pk": medium.id,
        "id": f"{medium.id}_{account.user_id}",
        "code": medium.code,
        "taken_at": int(medium.taken_at),
        "media_type": 8 if medium.kind == "album" else 1,
        "product_type": {"album": "carousel_container", "story": "story"}.get(medium.kind, "feed"),
        "user": {"pk": account.user_id, "username": account.name},
        "caption": {"text": medium.caption} if medium.caption and medium.kind != "story" else None,
        "accessibility_caption": medium.alts[0] if medium.alts else "",
    }
    if state.echo:
        found["device_timestamp"] = int(medium.upload_id) if medium.upload_id.isdecimal() else 0
    versions = [{"image_versions2": _versions(name)} for name in medium.pictures]
    if medium.kind == "album":
        return found | {
            "carousel_media": [{"pk": f"{medium.id}{n}", "media_type": 1, **v} for n, v in enumerate(versions)]
        }
    return found | versions[0]


def _versions(name: str) -> dict[str, Any]:
    return {"candidates": [{"url": f"{STORE}/pictures/{name}.jpg", "width": 1080, "height": 1350}]}


def _feed(state: State, account: Account, request: Request) -> Answer:
    if request.parts["user"] != account.user_id:
        return as_json(404, {"message": "User not found", "status": "fail"})
    start = int(request.query.get("max_id") or 0)
    mine = state.of(account)
    page = [shown(state, account, each) for each in mine[start : start + PAGE]]
    more = start + PAGE < len(mine)
    after = {"next_max_id": str(start + PAGE)} if more else {}
    return as_json(200, {"items": page, "num_results": len(page), "more_available": more, **after, "status": "ok"})


def _stories(state: State, account: Account, request: Request) -> Answer:
    items = [shown(state, account, each) for each in state.of(account, stories=True)]
    return as_json(200, {"reel": {"items": items} if items else None, "status": "ok"})


def _medium(state: State, account: Account, request: Request) -> Answer:
    mine = [each for each in state.published if each.id == request.parts["medium"].partition("_")[0]]
    if not mine or mine[0].account != account.name:
        return as_json(404, {"message": "Media not found or unavailable", "status": "fail"})
    return as_json(200, {"items": [shown(state, account, mine[0])], "num_results": 1, "status": "ok"})


def _label(state: State, account: Account, request: Request) -> Answer:
    enabled = json.loads(request.form().get("variables", "{}")).get("is_enabled")
    state.labelled = [each for each in state.labelled if each != account.name] + ([account.name] if enabled else [])
    return as_json(200, {"data": {"ok": True}, "status": "ok"})


def picture(state: State, request: Request) -> Answer:
    data = state.data(request.parts["name"])
    return Answer(200, data, kind="image/jpeg") if data is not None else Answer(404, b"", kind="text/plain")


ENDPOINTS = (
    Endpoint("account", "GET", r"/api/v1/accounts/current_user/", for_account(_account)),
    Endpoint("upload", "POST", r"/rupload_igphoto/[\w]+", for_account(_upload)),
    Endpoint("configure", "POST", r"/api/v1/media/configure/", for_account(_configure("photo"))),
    Endpoint("sidecar", "POST", r"/api/v1/media/configure_sidecar/", for_account(_configure("album"))),
    Endpoint("story", "POST", r"/api/v1/media/configure_to_story/", for_account(_configure("story"))),
    Endpoint("feed", "GET", r"/api/v1/feed/user/(?P<user>\d+)/", for_account(_feed)),
    Endpoint("stories", "GET", r"/api/v1/feed/user/(?P<user>\d+)/story/", for_account(_stories)),
    Endpoint("media", "GET", r"/api/v1/media/(?P<medium>[\d_]+)/info/", for_account(_medium)),
    Endpoint("label", "POST", r"/graphql/query", for_account(_label)),
    Endpoint("picture", "GET", r"/pictures/(?P<name>[0-9a-f]{64})\.jpg", picture),
)
COMMITS = ("configure", "sidecar", "story", "publish")
