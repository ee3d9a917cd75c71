"""Publish photos, albums and stories on Instagram through instagrapi, with the session of a login in person."""

from __future__ import annotations

import functools
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from models.system.errors import UserError
from tasks.publishers.base import (
    DAY,
    DEFAULT_TIMEOUT,
    Absent,
    ApprovedPost,
    BeforeCommit,
    FoundOnAccount,
    Health,
    Kind,
    PreparedUpload,
    PublishError,
    Receipt,
    Timeout,
    check_account,
    write_or_raise,
)
from tasks.publishers.evidence import AccountMedium, find_post_among
from tasks.publishers.instagram.answers import answer_object, last_error, unusable_answer_error
from tasks.publishers.instagram.session import account_folder, load_session, session_file
from tasks.publishers.instagram_rules import INSTAGRAM_RULES
from tasks.publishers.picture_rules import CheckedPicture, picture_sizes, read_checked_pictures

if TYPE_CHECKING:
    from tasks.publishers.instagram.client import InstagramClient

MAX_PAGES = 8  # of the feed, some dozens of posts each; beyond them a person has to decide
CLOCK_TOLERANCE_SECONDS = DAY  # a clock may be wrong by this much
STORY_SECONDS = 0.8 * DAY  # stories disappear after a day
SITE_URL = "https://www.instagram.com"
T = TypeVar("T")


class Instagram:
    """Publishes to one account. It never logs in: when the session has ended, a person has to."""

    name = "instagram"
    idempotent = False

    def __init__(
        self,
        studio: Path,
        account: str,
        *,
        timeout: Timeout = DEFAULT_TIMEOUT,
        address: str = "",
        request_pause: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`address` is that of a stand-in on this machine; without it, requests go to Instagram."""
        self.account = account
        self._folder = account_folder(studio, account)
        self._session = session_file(studio, account)
        self._timeout, self._address, self._request_pause = timeout, address, request_pause
        self._now = clock

    def check_health(self) -> Health:
        try:
            user = self._get_object(f"looking up {self.account}", "accounts/current_user/?edit=true").get("user")
            name = user.get("username") if isinstance(user, Mapping) else None
            if not name:
                raise unusable_answer_error(self._client.adapter, f"looking up {self.account}", False)
        except PublishError as error:
            return Health(self.account, False, str(error), error.person)
        if str(name).lower() != self.account.lower():
            status = f"the session of {self.account} belongs to {name}: run restage login {self.account}"
            return Health(self.account, False, status, person=True)
        return Health(self.account, True, f"{self.account} is logged in")

    def list_recent_media(self, kind: Kind) -> list[str]:
        return [_media_id(item) for item in (self._list_stories() if kind == "story" else self._read_feed_page("")[0])]

    def prepare(self, parcel: ApprovedPost, upload_id: str, progress: MutableMapping[str, str]) -> PreparedUpload:
        """Send the pictures. Each keeps its own upload id, so that doing it again changes nothing."""
        assert upload_id.isdecimal(), upload_id
        check_account(parcel, self.account)
        pictures = read_checked_pictures(parcel, INSTAGRAM_RULES)
        if parcel.ai_label:
            self._set_ai_label()
        for number, picture in enumerate(pictures, start=1):
            picture_id = _picture_upload_id(upload_id, number, len(pictures))
            self._upload_picture(parcel, picture, picture_id)
            progress[f"picture {number}"] = picture_id
        return PreparedUpload(upload_id, picture_sizes(pictures))

    def commit(self, parcel: ApprovedPost, prepared: PreparedUpload) -> Receipt:
        """Publish the post by one call, on a new connection, since a request on a closed one may be repeated."""
        check_account(parcel, self.account)
        doing = f"publishing post {parcel.post_id}"
        self._client.adapter.reconnect()
        self._client.adapter.reset()
        answer = self._run_request(doing, lambda: self._create_post(parcel, prepared), commit=True)
        media = answer.get("media")
        if answer.get("status") != "ok" or not isinstance(media, Mapping) or not _media_id(media):
            raise unusable_answer_error(self._client.adapter, doing, True)
        return self._receipt_for(media, parcel.kind)

    def find_published(
        self, parcel: ApprovedPost, prepared: PreparedUpload, before: BeforeCommit
    ) -> FoundOnAccount | Absent:
        check_account(parcel, self.account)
        if parcel.kind == "story":
            if self._now() - before.at > STORY_SECONDS:
                raise PublishError(
                    f"post {parcel.post_id} is a story of long ago, which is gone by now either way:"
                    f" look into the archive of {self.account} in the app"
                )
            items = self._list_stories()
        else:
            items = list(self._list_posts_since(before))
        media = [self._to_account_medium(item, parcel.kind) for item in items]
        return find_post_among(parcel, prepared.upload_id, media, before, self._fetch_picture)

    @functools.cached_property
    def _client(self) -> InstagramClient:
        from tasks.publishers.instagram.client import InstagramClient

        settings = load_session(self._session, self.account)
        try:
            return InstagramClient(settings, self._timeout, self._address, self._request_pause)
        except UserError:
            raise
        except Exception:  # the library's error may quote the file's content
            damaged = PublishError(f"{self._session} is damaged: run restage login {self.account}", person=True)
        raise damaged

    def _upload_picture(self, parcel: ApprovedPost, picture: CheckedPicture, picture_id: str) -> None:
        doing = f"sending {picture.picture.path.name} of post {parcel.post_id}"
        is_album, is_story = len(parcel.pictures) > 1, parcel.kind == "story"
        self._run_request(doing, lambda: self._client.upload_picture(picture, picture_id, is_album, is_story))
        if (answer_object(self._client.adapter.answer) or {}).get("status") != "ok":  # which the library does not check
            raise unusable_answer_error(self._client.adapter, doing, False)

    def _create_post(self, parcel: ApprovedPost, prepared: PreparedUpload) -> dict[str, Any]:
        client, sizes = (
            self._client,
            [_prepared_size(prepared, number) for number in range(1, len(parcel.pictures) + 1)],
        )
        if parcel.kind == "story":
            return dict(client.photo_configure_to_story(prepared.upload_id, *sizes[0], ""))
        if parcel.kind == "photo":
            alt = {"custom_accessibility_caption": parcel.alts[0]} if parcel.alts[0] else {}
            return dict(client.photo_configure(prepared.upload_id, *sizes[0], parcel.caption, extra_data=alt))
        children = [
            _album_child(_picture_upload_id(prepared.upload_id, number, len(sizes)), size, alt)
            for number, (size, alt) in enumerate(zip(sizes, parcel.alts, strict=True), start=1)
        ]
        ids = {"client_sidecar_id": prepared.upload_id, "upload_id": prepared.upload_id}
        return dict(client.album_configure(children, parcel.caption, extra_data=ids))

    def _set_ai_label(self) -> None:
        """Set Instagram's AI label, which holds for the whole account: once, then remember it."""
        marker = self._folder / "ai_label.json"
        if not marker.exists():
            self._run_request(f"labelling {self.account} as AI", lambda: self._client.account_set_ai_info(True))
            write_or_raise(marker, (json.dumps({"account": self.account, "ai_label": True}) + "\n").encode())

    def _list_posts_since(self, before: BeforeCommit) -> Iterator[Mapping[str, Any]]:
        """List the newest posts, back to one that was there before the commit."""
        after, known_ids = "", set(before.media)
        for _ in range(MAX_PAGES):
            items, after = self._read_feed_page(after)
            yield from items
            # Compare the last one: pinned posts come first, however old they are.
            if (
                not after
                or not items
                or _media_id(items[-1]) in known_ids
                or _published_at(items[-1]) < before.at - CLOCK_TOLERANCE_SECONDS
            ):
                return
        raise PublishError(
            f"{self.account} has published much since then: see on the account whether the post is there"
        )

    def _read_feed_page(self, after: str) -> tuple[list[Mapping[str, Any]], str]:
        doing = f"reading the posts of {self.account}"
        content = self._get_object(doing, f"feed/user/{self._client.user_id}/", {"max_id": after} if after else None)
        items = content.get("items")
        if (
            content.get("status") != "ok"
            or not isinstance(items, list)
            or not all(_has_media_id(item) for item in items)
        ):
            raise unusable_answer_error(self._client.adapter, doing, False)
        return items, str(content.get("next_max_id") or "") if content.get("more_available") else ""

    def _list_stories(self) -> list[Mapping[str, Any]]:
        doing = f"reading the stories of {self.account}"
        content = self._get_object(doing, f"feed/user/{self._client.user_id}/story/")
        reel = content.get("reel")
        items = [] if reel is None else reel.get("items") if isinstance(reel, Mapping) else None
        has_reel = content.get("status") == "ok" and "reel" in content
        if not has_reel or not isinstance(items, list) or not all(_has_media_id(item) for item in items):
            raise unusable_answer_error(self._client.adapter, doing, False)
        return items

    def _to_account_medium(self, item: Mapping[str, Any], kind: Kind) -> AccountMedium:
        caption, children = item.get("caption"), item.get("carousel_media")
        pictures = len(children) if isinstance(children, list) else 1
        echoes = {str(item[key]) for key in ("upload_id", "device_timestamp", "client_sidecar_id") if item.get(key)}
        text = str(caption.get("text") or "") if isinstance(caption, Mapping) else ""
        first = children[0] if isinstance(children, list) and children else item
        return AccountMedium(
            self._receipt_for(item, kind), text, pictures, frozenset(echoes), _smallest_picture_url(first)
        )

    def _receipt_for(self, media: Mapping[str, Any], kind: Kind) -> Receipt:
        media_id, code = _media_id(media), str(media.get("code") or "")
        if kind == "story":
            return Receipt(self.name, media_id, f"{SITE_URL}/stories/{self.account}/{media_id}/")
        return Receipt(self.name, media_id, f"{SITE_URL}/p/{code}/" if re.fullmatch(r"[\w-]+", code) else "")

    def _fetch_picture(self, address: str) -> bytes:
        """Fetch a picture from Instagram's storage, without the session, which the storage must not get."""
        client = self._client
        client.public_adapter.reset()
        try:
            answer = client.public.get(address, allow_redirects=False)
            if answer.status_code == 200:
                return bytes(answer.content)
        except (OSError, ValueError):
            pass  # requests' errors are OSErrors
        raise PublishError("the picture cannot be fetched: look again later")

    def _get_object(self, doing: str, endpoint: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        return self._run_request(doing, lambda: self._client.private_request(endpoint, params=params))

    def _run_request(self, doing: str, request: Callable[[], T], commit: bool = False) -> T:
        """Run a request. Raise our own error without the library's traceback, which may hold secrets."""
        client = self._client
        client.adapter.reset()
        try:
            return request()
        except Exception as error:
            publish_error = last_error(client.adapter, self.account, doing, commit, client.list_secrets())
            if publish_error is None:  # it did not come from the network
                raise
            del error
        raise publish_error


def _picture_upload_id(upload_id: str, number: int, count: int) -> str:
    """Return the upload id of one picture: the post's own, or in an album the next numbers after it."""
    return upload_id if count == 1 else str(int(upload_id) + number)


def _album_child(upload_id: str, size: tuple[int, int], alt: str) -> dict[str, Any]:
    """Return the fields of one picture of an album, as the library writes them, with its alt text."""
    width, height = size
    edits = {"crop_original_size": [width, height], "crop_center": [0.0, -0.0], "crop_zoom": 1.0}
    child: dict[str, Any] = {
        "upload_id": upload_id,
        "edits": json.dumps(edits, separators=(",", ":")),
        "extra": json.dumps({"source_width": width, "source_height": height}, separators=(",", ":")),
        "scene_capture_type": "",
        "scene_type": None,
    }
    return child | ({"custom_accessibility_caption": alt} if alt else {})


def _prepared_size(prepared: PreparedUpload, number: int) -> tuple[int, int]:
    width, height = prepared.parts[f"size {number}"].split("x")
    return int(width), int(height)


def _has_media_id(item: object) -> bool:
    return isinstance(item, Mapping) and bool(_media_id(item))


def _media_id(item: Mapping[str, Any]) -> str:
    """Return the number of a medium, without its owner's."""
    return str(item.get("pk") or item.get("id") or "").partition("_")[0]


def _published_at(item: Mapping[str, Any]) -> float:
    try:
        return float(item.get("taken_at") or "inf")
    except (TypeError, ValueError):
        return float("inf")


def _smallest_picture_url(item: object) -> str:
    """Return the address of the smallest version, which is enough to compare; empty if there is none."""
    image_versions = item.get("image_versions2") if isinstance(item, Mapping) else None
    candidates = image_versions.get("candidates") if isinstance(image_versions, Mapping) else None
    usable = [candidate for candidate in candidates or [] if isinstance(candidate, Mapping) and candidate.get("url")]
    return str(min(usable, key=lambda candidate: candidate.get("width") or 0)["url"]) if usable else ""
