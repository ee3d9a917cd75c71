"""Instagram through instagrapi: photos, albums and stories, with the session that somebody made in person."""

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
    PATIENCE,
    Absent,
    Before,
    Found,
    Health,
    Kind,
    Parcel,
    Prepared,
    PublishError,
    Receipt,
    Timeout,
    check_account,
    keep,
)
from tasks.publishers.evidence import Seen, judge
from tasks.publishers.instagram.answers import body, failure, unusable
from tasks.publishers.instagram.session import account_folder, load, session_file
from tasks.publishers.instagram_picture_rules import Exact, pixels, read_exact

if TYPE_CHECKING:
    from tasks.publishers.instagram.client import Phone

PAGES = 8  # of the feed, which hold some dozens of posts each; a commit further back than that is a person's to judge
SLACK = DAY  # by so much a clock may be wrong
STORY_LIFE = 0.8 * DAY  # after a day a story is gone, whether it was there or not
SITE = "https://www.instagram.com"
T = TypeVar("T")


class Instagram:
    """One account. Nothing here ever logs in: where the session has ended, a person has to."""

    name = "instagram"
    idempotent = False

    def __init__(
        self,
        studio: Path,
        account: str,
        *,
        timeout: Timeout = PATIENCE,
        address: str = "",
        breath: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`address` is that of a stand-in on this machine; without it, requests go to Instagram."""
        self.account = account
        self._folder = account_folder(studio, account)
        self._session = session_file(studio, account)
        self._timeout, self._address, self._breath = timeout, address, breath
        self._now = clock

    def check(self) -> Health:
        try:
            user = self._ask(f"looking up {self.account}", "accounts/current_user/?edit=true").get("user")
            name = user.get("username") if isinstance(user, Mapping) else None
            if not name:
                raise unusable(self._phone.wire, f"looking up {self.account}", False)
        except PublishError as error:
            return Health(self.account, False, str(error), error.person)
        if str(name).lower() != self.account.lower():
            says = f"the session of {self.account} belongs to {name}: run restage login {self.account}"
            return Health(self.account, False, says, person=True)
        return Health(self.account, True, f"{self.account} is logged in")

    def snapshot(self, kind: Kind) -> list[str]:
        return [_id(item) for item in (self._stories() if kind == "story" else self._page("")[0])]

    def prepare(self, parcel: Parcel, upload_id: str, progress: MutableMapping[str, str]) -> Prepared:
        """Send the pictures. Each keeps its own upload id, so that doing it again changes nothing."""
        assert upload_id.isdecimal(), upload_id
        check_account(parcel, self.account)
        pictures = read_exact(parcel)
        if parcel.ai_label:
            self._label()
        for number, picture in enumerate(pictures, start=1):
            part = _part(upload_id, number, len(pictures))
            self._upload(parcel, picture, part)
            progress[f"picture {number}"] = part
        return Prepared(upload_id, pixels(pictures))

    def commit(self, parcel: Parcel, prepared: Prepared) -> Receipt:
        """The one call that makes the post, on a connection of its own, since one that went stale may be tried again."""
        check_account(parcel, self.account)
        doing = f"publishing post {parcel.post_id}"
        self._phone.wire.renew()
        self._phone.wire.forget()
        answer = self._call(doing, lambda: self._configure(parcel, prepared), commit=True)
        media = answer.get("media")
        if answer.get("status") != "ok" or not isinstance(media, Mapping) or not _id(media):
            raise unusable(self._phone.wire, doing, True)
        return self._receipt(media, parcel.kind)

    def look(self, parcel: Parcel, prepared: Prepared, before: Before) -> Found | Absent:
        check_account(parcel, self.account)
        if parcel.kind == "story":
            if self._now() - before.at > STORY_LIFE:
                raise PublishError(
                    f"post {parcel.post_id} is a story of long ago, which is gone by now either way:"
                    f" look into the archive of {self.account} in the app"
                )
            items = self._stories()
        else:
            items = list(self._feed(before))
        seen = [self._seen(item, parcel.kind) for item in items]
        return judge(parcel, prepared.upload_id, seen, before, self._fetch)

    @functools.cached_property
    def _phone(self) -> Phone:
        from tasks.publishers.instagram.client import Phone

        settings = load(self._session, self.account)
        try:
            return Phone(settings, self._timeout, self._address, self._breath)
        except UserError:
            raise
        except Exception:  # the library trips over what is in the file, and its error may quote that
            damaged = PublishError(f"{self._session} is damaged: run restage login {self.account}", person=True)
        raise damaged

    def _upload(self, parcel: Parcel, picture: Exact, part: str) -> None:
        doing = f"sending {picture.picture.path.name} of post {parcel.post_id}"
        many, story = len(parcel.pictures) > 1, parcel.kind == "story"
        self._call(doing, lambda: self._phone.upload(picture, part, many, story))
        if (body(self._phone.wire.answer) or {}).get("status") != "ok":  # at which the library does not look
            raise unusable(self._phone.wire, doing, False)

    def _configure(self, parcel: Parcel, prepared: Prepared) -> dict[str, Any]:
        phone, sizes = self._phone, [_size(prepared, number) for number in range(1, len(parcel.pictures) + 1)]
        if parcel.kind == "story":
            return dict(phone.photo_configure_to_story(prepared.upload_id, *sizes[0], ""))
        if parcel.kind == "photo":
            alt = {"custom_accessibility_caption": parcel.alts[0]} if parcel.alts[0] else {}
            return dict(phone.photo_configure(prepared.upload_id, *sizes[0], parcel.caption, extra_data=alt))
        children = [
            _child(_part(prepared.upload_id, number, len(sizes)), size, alt)
            for number, (size, alt) in enumerate(zip(sizes, parcel.alts, strict=True), start=1)
        ]
        ids = {"client_sidecar_id": prepared.upload_id, "upload_id": prepared.upload_id}
        return dict(phone.album_configure(children, parcel.caption, extra_data=ids))

    def _label(self) -> None:
        """Instagram's AI label is one for the whole account: set once, then remembered."""
        note = self._folder / "ai_label.json"
        if not note.exists():
            self._call(f"labelling {self.account} as AI", lambda: self._phone.account_set_ai_info(True))
            keep(note, (json.dumps({"account": self.account, "ai_label": True}) + "\n").encode())

    def _feed(self, before: Before) -> Iterator[Mapping[str, Any]]:
        """The newest posts, back to one that was there before the commit."""
        after, known = "", set(before.media)
        for _ in range(PAGES):
            items, after = self._page(after)
            yield from items
            # By the last one: pinned posts stand first, however old they are.
            if not after or not items or _id(items[-1]) in known or _taken(items[-1]) < before.at - SLACK:
                return
        raise PublishError(
            f"{self.account} has published much since then: see on the account whether the post is there"
        )

    def _page(self, after: str) -> tuple[list[Mapping[str, Any]], str]:
        doing = f"reading the posts of {self.account}"
        found = self._ask(doing, f"feed/user/{self._phone.user_id}/", {"max_id": after} if after else None)
        items = found.get("items")
        if found.get("status") != "ok" or not isinstance(items, list) or not all(_usable(each) for each in items):
            raise unusable(self._phone.wire, doing, False)
        return items, str(found.get("next_max_id") or "") if found.get("more_available") else ""

    def _stories(self) -> list[Mapping[str, Any]]:
        doing = f"reading the stories of {self.account}"
        found = self._ask(doing, f"feed/user/{self._phone.user_id}/story/")
        reel = found.get("reel")
        items = [] if reel is None else reel.get("items") if isinstance(reel, Mapping) else None
        told = found.get("status") == "ok" and "reel" in found
        if not told or not isinstance(items, list) or not all(_usable(each) for each in items):
            raise unusable(self._phone.wire, doing, False)
        return items

    def _seen(self, item: Mapping[str, Any], kind: Kind) -> Seen:
        caption, children = item.get("caption"), item.get("carousel_media")
        pictures = len(children) if isinstance(children, list) else 1
        echoes = {str(item[key]) for key in ("upload_id", "device_timestamp", "client_sidecar_id") if item.get(key)}
        text = str(caption.get("text") or "") if isinstance(caption, Mapping) else ""
        first = children[0] if isinstance(children, list) and children else item
        return Seen(self._receipt(item, kind), text, pictures, frozenset(echoes), _address(first))

    def _receipt(self, media: Mapping[str, Any], kind: Kind) -> Receipt:
        media_id, code = _id(media), str(media.get("code") or "")
        if kind == "story":
            return Receipt(self.name, media_id, f"{SITE}/stories/{self.account}/{media_id}/")
        return Receipt(self.name, media_id, f"{SITE}/p/{code}/" if re.fullmatch(r"[\w-]+", code) else "")

    def _fetch(self, address: str) -> bytes:
        """A picture from Instagram's own store, without the session, which is none of the store's business."""
        phone = self._phone
        phone.public_wire.forget()
        try:
            answer = phone.public.get(address, allow_redirects=False)
            if answer.status_code == 200:
                return bytes(answer.content)
        except (OSError, ValueError):
            pass  # requests' errors are OSErrors, and what cannot be had is told by the caller
        raise PublishError("the picture cannot be fetched: look again later")

    def _ask(self, doing: str, endpoint: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        return self._call(doing, lambda: self._phone.private_request(endpoint, params=params))

    def _call(self, doing: str, call: Callable[[], T], commit: bool = False) -> T:
        """Run a request; what went wrong is told in our words, with no trace of the library's, which may hold secrets."""
        phone = self._phone
        phone.wire.forget()
        try:
            return call()
        except Exception as error:
            told = failure(phone.wire, self.account, doing, commit, phone.secrets())
            if told is None:  # it did not come from the network
                raise
            del error
        raise told


def _part(upload_id: str, number: int, count: int) -> str:
    """The upload id of one picture: the post's own, or, in an album, counted on from it."""
    return upload_id if count == 1 else str(int(upload_id) + number)


def _child(upload_id: str, size: tuple[int, int], alt: str) -> dict[str, Any]:
    """One picture of an album, as the library writes it, with its alt text."""
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


def _size(prepared: Prepared, number: int) -> tuple[int, int]:
    width, height = prepared.parts[f"size {number}"].split("x")
    return int(width), int(height)


def _usable(item: object) -> bool:
    return isinstance(item, Mapping) and bool(_id(item))


def _id(item: Mapping[str, Any]) -> str:
    """The number of a medium, without its owner's."""
    return str(item.get("pk") or item.get("id") or "").partition("_")[0]


def _taken(item: Mapping[str, Any]) -> float:
    try:
        return float(item.get("taken_at") or "inf")
    except (TypeError, ValueError):
        return float("inf")


def _address(item: object) -> str:
    """Of the smallest rendition, which is enough to compare."""
    versions = item.get("image_versions2") if isinstance(item, Mapping) else None
    found = versions.get("candidates") if isinstance(versions, Mapping) else None
    sized = [each for each in found or [] if isinstance(each, Mapping) and each.get("url")]
    return str(min(sized, key=lambda each: each.get("width") or 0)["url"]) if sized else ""
