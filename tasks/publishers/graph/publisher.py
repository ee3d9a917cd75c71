"""Instagram through the official Graph API: a container that nobody sees, its status, and one call that publishes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from datetime import datetime
from typing import Any

import httpx

from tasks.publishers.base import (
    DAY,
    HOUR,
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
)
from tasks.publishers.evidence import Seen, judge
from tasks.publishers.graph.answers import body, unusable
from tasks.publishers.graph.api import API, client, send
from tasks.publishers.graph.picture_hosting import Hosting
from tasks.publishers.http import open_client
from tasks.publishers.instagram_picture_rules import read_exact

STATUSES = ("FINISHED", "IN_PROGRESS", "PUBLISHED", "ERROR", "EXPIRED")
POLLS = 30
FIELDS = "id,caption,media_type,media_url,permalink,timestamp,children{id,media_url}"
PAGES = 8
SLACK = DAY  # by so much a clock may be wrong
STORY_LIFE = 0.8 * DAY


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
        timeout: Timeout = PATIENCE,
        poll: float = 3.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.account = account
        self._user, self._token, self._hosting = user_id, token, hosting
        self._api, self._timeout, self._poll = api.rstrip("/"), timeout, poll
        self._now = clock

    def check(self) -> Health:
        try:
            name = self._get(f"looking up {self.account}", self._user, {"fields": "username"}, "username")["username"]
            used, allowed = self.quota()
        except PublishError as error:
            return Health(self.account, False, str(error), error.person)
        if str(name).lower() != self.account.lower():
            says = f"the token of {self.account} belongs to {name}: put the right one into the secrets"
            return Health(self.account, False, says, person=True)
        says = f"{used} of {allowed} posts of the last 24 hours are used"
        return Health(self.account, used < allowed, says)

    def quota(self) -> tuple[int, int]:
        """How many posts of the last day the API counts, and how many it allows."""
        doing = f"reading the daily limit of {self.account}"
        found = self._get(doing, f"{self._user}/content_publishing_limit", {"fields": "quota_usage,config"}, "data")
        try:
            limit = found["data"][0]
            return int(limit["quota_usage"]), int(limit["config"]["quota_total"])
        except (LookupError, TypeError, ValueError):
            raise PublishError(f"the Graph API gave no usable answer while {doing}: try again later") from None

    def snapshot(self, kind: Kind) -> list[str]:
        return [str(each["id"]) for each in next(self._media(kind))]

    def prepare(self, parcel: Parcel, upload_id: str, progress: MutableMapping[str, str]) -> Prepared:
        """Have the pictures fetched into containers and wait until they are read. A container that is good is kept."""
        check_account(parcel, self.account)
        pictures = read_exact(parcel)
        self._check_quota(parcel)
        parent = progress.get("container", "")
        if parent and self._good(parcel, parent):
            return Prepared(upload_id, {"container": parent})
        containers = []
        for number, (picture, alt) in enumerate(zip(pictures, parcel.alts, strict=True), start=1):
            address = self._hosting.put(picture.data, f"{picture.picture.sha256}.jpg")
            containers.append(self._create(parcel, _single(parcel, address, alt)))
            progress[f"picture {number}"] = containers[-1]
        if parcel.kind == "album":
            for each in containers:
                self._wait(parcel, each)
            containers.append(self._create(parcel, _carousel(parcel, containers)))
        progress["container"] = containers[-1]
        self._wait(parcel, containers[-1])
        return Prepared(upload_id, {"container": containers[-1]})

    def commit(self, parcel: Parcel, prepared: Prepared) -> Receipt:
        """The one call that publishes the container."""
        check_account(parcel, self.account)
        doing = f"publishing post {parcel.post_id}"
        fields = {"creation_id": prepared.parts["container"]}
        answer = self._send("POST", doing, f"{self._user}/media_publish", data=fields, commit=True)
        media_id = str((body(answer) or {}).get("id") or "")
        if not media_id:
            raise unusable(answer, doing, True)
        return Receipt(self.name, media_id, self._permalink(media_id))

    def look(self, parcel: Parcel, prepared: Prepared, before: Before) -> Found | Absent:
        """The container says whether it was published; where it is gone, the account's media are compared."""
        check_account(parcel, self.account)
        container = prepared.parts.get("container", "")
        status = self._container(parcel, container) if container else "not known"
        if status == "IN_PROGRESS":  # which may mean: on its way out
            raise PublishError(f"Instagram is still busy with post {parcel.post_id}: look again in a minute")
        if status not in ("PUBLISHED", "FINISHED") and parcel.kind == "story" and self._now() - before.at > STORY_LIFE:
            raise PublishError(
                f"post {parcel.post_id} is a story of long ago, which is gone by now either way:"
                f" look into the archive of {self.account} in the app"
            )
        seen = [self._seen(each) for page in self._since(parcel.kind, before) for each in page]
        try:
            verdict = judge(parcel, prepared.upload_id, seen, before, self._fetch)
        except PublishError:
            if status not in ("PUBLISHED", "FINISHED"):
                raise
            verdict = Absent("nothing that could be compared")
        if status == "PUBLISHED":
            receipt = verdict.receipt if isinstance(verdict, Found) else Receipt(self.name, "")
            return Found(receipt, f"container {container} is PUBLISHED")
        if isinstance(verdict, Found):
            return verdict
        return Absent(f"container {container} is {status}; {verdict.evidence}")

    def _container(self, parcel: Parcel, container: str) -> str:
        """The container's status. Old ones are taken away, which tells nothing."""
        try:
            return self._status(f"reading the container of post {parcel.post_id}", container)
        except PublishError as error:
            if not error.permanent:
                raise
            return "gone"

    def _check_quota(self, parcel: Parcel) -> None:
        used, allowed = self.quota()
        if used >= allowed:
            raise PublishError(
                f"post {parcel.post_id} has to wait, since {self.account} used {used} of {allowed} posts of the last 24"
                " hours: try again later",
                pause=HOUR,
            )

    def _good(self, parcel: Parcel, container: str) -> bool:
        """Whether a container of an earlier try can be used. One that is published must not get a twin."""
        status = self._status(f"reading the container of post {parcel.post_id}", container)
        if status == "PUBLISHED":
            raise PublishError(
                f"post {parcel.post_id} is out already, says container {container}: look at the account", ambiguous=True
            )
        if status == "IN_PROGRESS":
            self._wait(parcel, container)
        return status in ("FINISHED", "IN_PROGRESS")

    def _create(self, parcel: Parcel, fields: Mapping[str, str]) -> str:
        doing = f"preparing post {parcel.post_id}"
        answer = self._send("POST", doing, f"{self._user}/media", data=fields)
        found = str((body(answer) or {}).get("id") or "")
        if not found:
            raise unusable(answer, doing, False)
        return found

    def _wait(self, parcel: Parcel, container: str) -> None:
        for _ in range(POLLS):
            status = self._status(f"preparing post {parcel.post_id}", container)
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

    def _status(self, doing: str, container: str) -> str:
        status = str(self._get(doing, container, {"fields": "status_code"}, "status_code")["status_code"])
        if status not in STATUSES:
            raise PublishError(f"the Graph API named a status that is not known while {doing}: update restage")
        return status

    def _permalink(self, media_id: str) -> str:
        """Nice to have: where it cannot be had, the post is out nevertheless."""
        try:
            return str(self._get("reading the permalink", media_id, {"fields": "permalink"}, "permalink")["permalink"])
        except PublishError:
            return ""

    def _since(self, kind: Kind, before: Before) -> Iterator[list[dict[str, Any]]]:
        known = set(before.media)
        for number, page in enumerate(self._media(kind)):
            if number == PAGES:
                raise PublishError(
                    f"{self.account} has published much since then: see on the account whether the post is there"
                )
            yield page
            if page and (str(page[-1]["id"]) in known or _stamped(page[-1]) < before.at - SLACK):
                return

    def _media(self, kind: Kind) -> Iterator[list[dict[str, Any]]]:
        """The account's media, newest first, by pages; at least one page, which may be empty."""
        edge, after = ("stories" if kind == "story" else "media"), ""
        while True:
            asked = {"fields": FIELDS, "limit": "50"} | ({"after": after} if after else {})
            doing = f"reading the {'stories' if kind == 'story' else 'posts'} of {self.account}"
            found = self._get(doing, f"{self._user}/{edge}", asked, "data")
            page = found["data"]
            if not isinstance(page, list) or not all(isinstance(each, dict) and each.get("id") for each in page):
                raise PublishError(f"the Graph API gave no usable answer while {doing}: try again later")
            yield page
            paging = found.get("paging") or {}
            after = str((paging.get("cursors") or {}).get("after") or "") if paging.get("next") else ""
            if not after:
                return

    def _seen(self, medium: Mapping[str, Any]) -> Seen:
        children = (medium.get("children") or {}).get("data") or []
        first = children[0] if children else medium
        receipt = Receipt(self.name, str(medium["id"]), str(medium.get("permalink") or ""))
        address = str(first.get("media_url") or medium.get("media_url") or "")
        return Seen(receipt, str(medium.get("caption") or ""), max(1, len(children)), frozenset(), address)

    def _fetch(self, address: str) -> bytes:
        """A picture from Instagram's store, without the token."""
        try:
            with open_client(self._timeout, self._api) as client:
                answer = client.get(address)
                if answer.status_code == 200:
                    return answer.content
        except (httpx.HTTPError, httpx.InvalidURL):
            pass
        raise PublishError("the picture cannot be fetched: look again later")

    def _get(self, doing: str, path: str, params: Mapping[str, str], needed: str) -> dict[str, Any]:
        answer = self._send("GET", doing, path, params=params)
        found = body(answer)
        if not found or found.get(needed) is None:
            raise unusable(answer, doing, False)
        return found

    def _send(self, method: str, doing: str, path: str, commit: bool = False, **what: Any) -> httpx.Response:
        return send(
            client(self._token, self._timeout, self._api),
            method,
            f"{self._api}/{path}",
            self.account,
            doing,
            commit,
            self._token,
            **what,
        )


def _single(parcel: Parcel, address: str, alt: str) -> dict[str, str]:
    fields = {"image_url": address}
    if parcel.kind == "story":
        fields["media_type"] = "STORIES"
    elif alt:  # the API takes no alt text for stories
        fields["alt_text"] = alt
    if parcel.kind == "album":
        return fields | {"is_carousel_item": "true"}
    return fields | _shared(parcel)


def _carousel(parcel: Parcel, children: list[str]) -> dict[str, str]:
    return {"media_type": "CAROUSEL", "children": ",".join(children)} | _shared(parcel)


def _shared(parcel: Parcel) -> dict[str, str]:
    """What belongs to the whole post."""
    fields = {"caption": parcel.caption} if parcel.kind != "story" else {}
    return fields | ({"is_ai_generated": "true"} if parcel.ai_label else {})


def _stamped(medium: Mapping[str, Any]) -> float:
    try:
        return datetime.fromisoformat(str(medium.get("timestamp"))).timestamp()
    except ValueError:
        return float("inf")
