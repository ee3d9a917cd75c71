"""Publish on Instagram through the official Graph API: create a hidden container, wait for it, publish it by one call."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from datetime import datetime
from typing import Any

import httpx

from tasks.publishers.base import (
    DAY,
    DEFAULT_TIMEOUT,
    HOUR,
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
)
from tasks.publishers.evidence import AccountMedium, find_post_among
from tasks.publishers.graph.answers import answer_object, unusable_answer_error
from tasks.publishers.graph.api import API, new_api_client, send_request
from tasks.publishers.graph.picture_hosting import Hosting
from tasks.publishers.http import open_client
from tasks.publishers.instagram_rules import INSTAGRAM_RULES
from tasks.publishers.picture_rules import read_checked_pictures

CONTAINER_STATUSES = ("FINISHED", "IN_PROGRESS", "PUBLISHED", "ERROR", "EXPIRED")
MAX_POLLS = 30
MEDIA_FIELDS = "id,caption,media_type,media_url,permalink,timestamp,children{id,media_url}"
MAX_PAGES = 8
CLOCK_TOLERANCE_SECONDS = DAY  # a clock may be wrong by this much
STORY_SECONDS = 0.8 * DAY


class Graph:
    """One professional account, by its number at the API."""

    name = "graph"
    idempotent = False

    def __init__(
        self,
        account: str,
        user_id: str,
        token: str,
        hosting: Hosting,
        *,
        api: str = API,
        timeout: Timeout = DEFAULT_TIMEOUT,
        poll: float = 3.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.account = account
        self._user, self._token, self._hosting = user_id, token, hosting
        self._api, self._timeout, self._poll = api.rstrip("/"), timeout, poll
        self._now = clock

    def check_health(self) -> Health:
        try:
            name = self._get_object(f"looking up {self.account}", self._user, {"fields": "username"}, "username")[
                "username"
            ]
            used_posts, allowed_posts = self.read_quota()
        except PublishError as error:
            return Health(self.account, False, str(error), error.person)
        if str(name).lower() != self.account.lower():
            status = f"the token of {self.account} belongs to {name}: put the right one into the secrets"
            return Health(self.account, False, status, person=True)
        status = f"{used_posts} of {allowed_posts} posts of the last 24 hours are used"
        return Health(self.account, used_posts < allowed_posts, status)

    def read_quota(self) -> tuple[int, int]:
        """Return how many posts of the last day the API counts, and how many it allows."""
        doing = f"reading the daily limit of {self.account}"
        content = self._get_object(
            doing, f"{self._user}/content_publishing_limit", {"fields": "quota_usage,config"}, "data"
        )
        try:
            limit = content["data"][0]
            return int(limit["quota_usage"]), int(limit["config"]["quota_total"])
        except (LookupError, TypeError, ValueError):
            raise PublishError(f"the Graph API gave no usable answer while {doing}: try again later") from None

    def list_recent_media(self, kind: Kind) -> list[str]:
        return [str(medium["id"]) for medium in next(self._list_media_pages(kind))]

    def prepare(self, parcel: ApprovedPost, upload_id: str, progress: MutableMapping[str, str]) -> PreparedUpload:
        """Create containers and wait until Instagram has read the pictures. Reuse an earlier container if possible."""
        check_account(parcel, self.account)
        pictures = read_checked_pictures(parcel, INSTAGRAM_RULES)
        self._check_quota(parcel)
        parent = progress.get("container", "")
        if parent and self._is_reusable(parcel, parent):
            return PreparedUpload(upload_id, {"container": parent})
        containers = []
        for number, (picture, alt) in enumerate(zip(pictures, parcel.alts, strict=True), start=1):
            address = self._hosting.upload_picture(picture.data, f"{picture.picture.sha256}.jpg")
            containers.append(self._create_container(parcel, _picture_fields(parcel, address, alt)))
            progress[f"picture {number}"] = containers[-1]
        if parcel.kind == "album":
            for container in containers:
                self._wait_until_finished(parcel, container)
            containers.append(self._create_container(parcel, _carousel_fields(parcel, containers)))
        progress["container"] = containers[-1]
        self._wait_until_finished(parcel, containers[-1])
        return PreparedUpload(upload_id, {"container": containers[-1]})

    def commit(self, parcel: ApprovedPost, prepared: PreparedUpload) -> Receipt:
        """Publish the container, by one call."""
        check_account(parcel, self.account)
        doing = f"publishing post {parcel.post_id}"
        fields = {"creation_id": prepared.parts["container"]}
        answer = self._send_request("POST", doing, f"{self._user}/media_publish", data=fields, commit=True)
        media_id = str((answer_object(answer) or {}).get("id") or "")
        if not media_id:
            raise unusable_answer_error(answer, doing, True)
        return Receipt(self.name, media_id, self._read_permalink(media_id))

    def find_published(
        self, parcel: ApprovedPost, prepared: PreparedUpload, before: BeforeCommit
    ) -> FoundOnAccount | Absent:
        """Read from the container whether it was published; if it is gone, compare the account's media."""
        check_account(parcel, self.account)
        container = prepared.parts.get("container", "")
        status = self._container_status(parcel, container) if container else "not known"
        if status == "IN_PROGRESS":  # which may mean that it is being published
            raise PublishError(f"Instagram is still busy with post {parcel.post_id}: look again in a minute")
        if (
            status not in ("PUBLISHED", "FINISHED")
            and parcel.kind == "story"
            and self._now() - before.at > STORY_SECONDS
        ):
            raise PublishError(
                f"post {parcel.post_id} is a story of long ago, which is gone by now either way:"
                f" look into the archive of {self.account} in the app"
            )
        media = [self._to_account_medium(item) for page in self._list_pages_since(parcel.kind, before) for item in page]
        try:
            verdict = find_post_among(parcel, prepared.upload_id, media, before, self._fetch_picture)
        except PublishError:
            if status not in ("PUBLISHED", "FINISHED"):
                raise
            verdict = Absent("nothing that could be compared")
        if status == "PUBLISHED":
            receipt = verdict.receipt if isinstance(verdict, FoundOnAccount) else Receipt(self.name, "")
            return FoundOnAccount(receipt, f"container {container} is PUBLISHED")
        if isinstance(verdict, FoundOnAccount):
            return verdict
        return Absent(f"container {container} is {status}; {verdict.evidence}")

    def _container_status(self, parcel: ApprovedPost, container: str) -> str:
        """Read the container's status, or return "gone": Instagram deletes old containers, published or not."""
        try:
            return self._read_status(f"reading the container of post {parcel.post_id}", container)
        except PublishError as error:
            if not error.permanent:
                raise
            return "gone"

    def _check_quota(self, parcel: ApprovedPost) -> None:
        count, allowed = self.read_quota()
        if count >= allowed:
            raise PublishError(
                f"post {parcel.post_id} has to wait, since {self.account} used {count} of {allowed} posts of the last 24"
                " hours: try again later",
                pause=HOUR,
            )

    def _is_reusable(self, parcel: ApprovedPost, container: str) -> bool:
        """Tell whether a container of an earlier try can be used. Raise if it is published: a second post must not follow."""
        status = self._read_status(f"reading the container of post {parcel.post_id}", container)
        if status == "PUBLISHED":
            raise PublishError(
                f"post {parcel.post_id} is out already, says container {container}: look at the account", ambiguous=True
            )
        if status == "IN_PROGRESS":
            self._wait_until_finished(parcel, container)
        return status in ("FINISHED", "IN_PROGRESS")

    def _create_container(self, parcel: ApprovedPost, fields: Mapping[str, str]) -> str:
        doing = f"preparing post {parcel.post_id}"
        answer = self._send_request("POST", doing, f"{self._user}/media", data=fields)
        container = str((answer_object(answer) or {}).get("id") or "")
        if not container:
            raise unusable_answer_error(answer, doing, False)
        return container

    def _wait_until_finished(self, parcel: ApprovedPost, container: str) -> None:
        for _ in range(MAX_POLLS):
            status = self._read_status(f"preparing post {parcel.post_id}", container)
            if status == "FINISHED":
                return
            if status != "IN_PROGRESS":
                raise PublishError(
                    f"Instagram could not read a picture of post {parcel.post_id} ({status}): check that its address is public"
                )
            time.sleep(self._poll)
        raise PublishError(
            f"Instagram has not finished reading the pictures of post {parcel.post_id}: try again in a minute"
        )

    def _read_status(self, doing: str, container: str) -> str:
        status = str(self._get_object(doing, container, {"fields": "status_code"}, "status_code")["status_code"])
        if status not in CONTAINER_STATUSES:
            raise PublishError(f"the Graph API named a status that is not known while {doing}: update restage")
        return status

    def _read_permalink(self, media_id: str) -> str:
        """Read the permalink; empty if that fails, since the post is published all the same."""
        try:
            return str(
                self._get_object("reading the permalink", media_id, {"fields": "permalink"}, "permalink")["permalink"]
            )
        except PublishError:
            return ""

    def _list_pages_since(self, kind: Kind, before: BeforeCommit) -> Iterator[list[dict[str, Any]]]:
        known_ids = set(before.media)
        for number, page in enumerate(self._list_media_pages(kind)):
            if number == MAX_PAGES:
                raise PublishError(
                    f"{self.account} has published much since then: see on the account whether the post is there"
                )
            yield page
            if page and (
                str(page[-1]["id"]) in known_ids or _published_at(page[-1]) < before.at - CLOCK_TOLERANCE_SECONDS
            ):
                return

    def _list_media_pages(self, kind: Kind) -> Iterator[list[dict[str, Any]]]:
        """List the account's media by pages, newest first; at least one page, which may be empty."""
        edge, after = ("stories" if kind == "story" else "media"), ""
        while True:
            params = {"fields": MEDIA_FIELDS, "limit": "50"} | ({"after": after} if after else {})
            doing = f"reading the {'stories' if kind == 'story' else 'posts'} of {self.account}"
            content = self._get_object(doing, f"{self._user}/{edge}", params, "data")
            page = content["data"]
            if not isinstance(page, list) or not all(isinstance(medium, dict) and medium.get("id") for medium in page):
                raise PublishError(f"the Graph API gave no usable answer while {doing}: try again later")
            yield page
            paging = content.get("paging") or {}
            after = str((paging.get("cursors") or {}).get("after") or "") if paging.get("next") else ""
            if not after:
                return

    def _to_account_medium(self, medium: Mapping[str, Any]) -> AccountMedium:
        children = (medium.get("children") or {}).get("data") or []
        first = children[0] if children else medium
        receipt = Receipt(self.name, str(medium["id"]), str(medium.get("permalink") or ""))
        address = str(first.get("media_url") or medium.get("media_url") or "")
        return AccountMedium(receipt, str(medium.get("caption") or ""), max(1, len(children)), frozenset(), address)

    def _fetch_picture(self, address: str) -> bytes:
        """Fetch a picture from Instagram's storage, without the token."""
        try:
            with open_client(self._timeout, self._api) as http_client:
                answer = http_client.get(address)
                if answer.status_code == 200:
                    return answer.content
        except (httpx.HTTPError, httpx.InvalidURL):
            pass
        raise PublishError("the picture cannot be fetched: look again later")

    def _get_object(self, doing: str, path: str, params: Mapping[str, str], needed: str) -> dict[str, Any]:
        answer = self._send_request("GET", doing, path, params=params)
        content = answer_object(answer)
        if not content or content.get(needed) is None:
            raise unusable_answer_error(answer, doing, False)
        return content

    def _send_request(self, method: str, doing: str, path: str, commit: bool = False, **options: Any) -> httpx.Response:
        return send_request(
            new_api_client(self._token, self._timeout, self._api),
            method,
            f"{self._api}/{path}",
            self.account,
            doing,
            commit,
            self._token,
            **options,
        )


def _picture_fields(parcel: ApprovedPost, address: str, alt: str) -> dict[str, str]:
    fields = {"image_url": address}
    if parcel.kind == "story":
        fields["media_type"] = "STORIES"
    elif alt:  # the API takes no alt text for stories
        fields["alt_text"] = alt
    if parcel.kind == "album":
        return fields | {"is_carousel_item": "true"}
    return fields | _post_fields(parcel)


def _carousel_fields(parcel: ApprovedPost, children: list[str]) -> dict[str, str]:
    return {"media_type": "CAROUSEL", "children": ",".join(children)} | _post_fields(parcel)


def _post_fields(parcel: ApprovedPost) -> dict[str, str]:
    """Return the fields of the whole post."""
    fields = {"caption": parcel.caption} if parcel.kind != "story" else {}
    return fields | ({"is_ai_generated": "true"} if parcel.ai_label else {})


def _published_at(medium: Mapping[str, Any]) -> float:
    try:
        return datetime.fromisoformat(str(medium.get("timestamp"))).timestamp()
    except ValueError:
        return float("inf")
