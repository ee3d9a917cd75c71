"""Serve the endpoints of Instagram's app that publish posts and show them, as instagrapi calls them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from tasks.publishers.stand_in.faults import Answer
from tasks.publishers.stand_in.request import Endpoint, Request, as_json
from tasks.publishers.stand_in.state import Account, Medium, State, Upload

PAGE_SIZE = 12
PICTURE_HOST = "https://scontent.cdninstagram.com"  # the app expects pictures there; the stand-in serves them itself
ToAccount = Callable[[State, Account, Request], Answer]


def read_session(request: Request) -> str:
    """Read the session from the app's Authorization header; empty if there is none."""
    _, _, coded = request.headers.get("authorization", "").rpartition(":")
    try:
        content = json.loads(base64.b64decode(coded, validate=False))
        return str(content.get("sessionid") or "")
    except (ValueError, AttributeError):
        return ""


def require_session(serve: ToAccount) -> Callable[[State, Request], Answer]:
    """Wrap an endpoint so that it requires a session."""

    def serve_account(state: State, request: Request) -> Answer:
        account = state.account_of_session(read_session(request))
        if account is None:
            return as_json(403, {"message": "login_required", "logout_reason": 3, "status": "fail"})
        return serve(state, account, request)

    return serve_account


def _show_account(state: State, account: Account, request: Request) -> Answer:
    return as_json(200, {"user": _user_object(account), "status": "ok"})


def _user_object(account: Account) -> dict[str, Any]:
    return {
        "pk": account.user_id,
        "username": account.name,
        "full_name": account.name,
        "is_private": False,
        "is_verified": False,
        "is_business": False,
        "profile_pic_url": f"{PICTURE_HOST}/profile.jpg",
        "biography": "",
    }


def _receive_picture(state: State, account: Account, request: Request) -> Answer:
    params = json.loads(request.headers.get("x-instagram-rupload-params", "{}"))
    if int(request.headers.get("x-entity-length", -1)) != len(request.body):
        return as_json(400, {"message": "Bytes are missing", "status": "fail"})
    state.uploads[str(params["upload_id"])] = Upload(state.store_picture(request.body), len(request.body), account.name)
    return as_json(200, {"upload_id": params["upload_id"], "xsharing_nonces": {}, "status": "ok"})


def _publish_upload(kind: str) -> ToAccount:
    def serve_upload(state: State, account: Account, request: Request) -> Answer:
        values = request.signed_object()
        children = values.get("children_metadata") or [values]
        uploads = [state.uploads.get(str(child.get("upload_id"))) for child in children]
        if not all(upload and upload.account == account.name for upload in uploads):
            return as_json(400, {"message": "media_needs_reupload", "error_title": "upload", "status": "fail"})
        pictures = [upload.sha256 for upload in uploads if upload]
        alts = [str(child.get("custom_accessibility_caption") or "") for child in children]
        medium = state.add_medium(
            account, kind, str(values.get("caption") or ""), pictures, alts, str(values["upload_id"]),
            ai_label=account.name in state.labelled,
        )  # fmt: skip
        return as_json(
            200, {"media": medium_object(state, account, medium), "upload_id": medium.upload_id, "status": "ok"}
        )

    return serve_upload


def medium_object(state: State, account: Account, medium: Medium) -> dict[str, Any]:
    """Return a post as the app shows it."""
    values: dict[str, Any] = {
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
        values["device_timestamp"] = int(medium.upload_id) if medium.upload_id.isdecimal() else 0
    versions = [{"image_versions2": _picture_versions(name)} for name in medium.pictures]
    if medium.kind == "album":
        return values | {
            "carousel_media": [{"pk": f"{medium.id}{n}", "media_type": 1, **v} for n, v in enumerate(versions)]
        }
    return values | versions[0]


def _picture_versions(name: str) -> dict[str, Any]:
    return {"candidates": [{"url": f"{PICTURE_HOST}/pictures/{name}.jpg", "width": 1080, "height": 1350}]}


def _show_feed(state: State, account: Account, request: Request) -> Answer:
    if request.parts["user"] != account.user_id:
        return as_json(404, {"message": "User not found", "status": "fail"})
    start = int(request.query.get("max_id") or 0)
    media = state.list_media(account)
    page = [medium_object(state, account, medium) for medium in media[start : start + PAGE_SIZE]]
    more = start + PAGE_SIZE < len(media)
    after = {"next_max_id": str(start + PAGE_SIZE)} if more else {}
    return as_json(200, {"items": page, "num_results": len(page), "more_available": more, **after, "status": "ok"})


def _show_stories(state: State, account: Account, request: Request) -> Answer:
    items = [medium_object(state, account, medium) for medium in state.list_media(account, stories=True)]
    return as_json(200, {"reel": {"items": items} if items else None, "status": "ok"})


def _show_medium(state: State, account: Account, request: Request) -> Answer:
    media = [medium for medium in state.published if medium.id == request.parts["medium"].partition("_")[0]]
    if not media or media[0].account != account.name:
        return as_json(404, {"message": "Media not found or unavailable", "status": "fail"})
    return as_json(200, {"items": [medium_object(state, account, media[0])], "num_results": 1, "status": "ok"})


def _set_ai_label(state: State, account: Account, request: Request) -> Answer:
    enabled = json.loads(request.form_fields().get("variables", "{}")).get("is_enabled")
    state.labelled = [name for name in state.labelled if name != account.name] + ([account.name] if enabled else [])
    return as_json(200, {"data": {"ok": True}, "status": "ok"})


def serve_picture(state: State, request: Request) -> Answer:
    data = state.load_picture(request.parts["name"])
    return Answer(200, data, kind="image/jpeg") if data is not None else Answer(404, b"", kind="text/plain")


ENDPOINTS = (
    Endpoint("account", "GET", r"/api/v1/accounts/current_user/", require_session(_show_account)),
    Endpoint("upload", "POST", r"/rupload_igphoto/[\w]+", require_session(_receive_picture)),
    Endpoint("configure", "POST", r"/api/v1/media/configure/", require_session(_publish_upload("photo"))),
    Endpoint("sidecar", "POST", r"/api/v1/media/configure_sidecar/", require_session(_publish_upload("album"))),
    Endpoint("story", "POST", r"/api/v1/media/configure_to_story/", require_session(_publish_upload("story"))),
    Endpoint("feed", "GET", r"/api/v1/feed/user/(?P<user>\d+)/", require_session(_show_feed)),
    Endpoint("stories", "GET", r"/api/v1/feed/user/(?P<user>\d+)/story/", require_session(_show_stories)),
    Endpoint("media", "GET", r"/api/v1/media/(?P<medium>[\d_]+)/info/", require_session(_show_medium)),
    Endpoint("label", "POST", r"/graphql/query", require_session(_set_ai_label)),
    Endpoint("picture", "GET", r"/pictures/(?P<name>[0-9a-f]{64})\.jpg", serve_picture),
)
COMMIT_ENDPOINTS = ("configure", "sidecar", "story", "publish")
