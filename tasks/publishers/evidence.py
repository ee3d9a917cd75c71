"""Decide whether a post is among the media of an account: by upload id, then, for new media, by caption and picture."""

import io
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image

from models.picture.quality import perceptual_hash
from models.picture.reading import DAMAGE_ERRORS
from tasks.publishers.base import Absent, ApprovedPost, BeforeCommit, FoundOnAccount, PublishError, Receipt
from tasks.publishers.picture_rules import read_approved

MAX_DIFFERENT_BITS = 10  # of 64; so many may differ after the service has resized the same picture
Fetch = Callable[[str], bytes]


@dataclass(frozen=True)
class AccountMedium:
    """A medium as the account shows it."""

    receipt: Receipt
    caption: str
    pictures: int
    echoes: frozenset[str] = frozenset()
    """Upload ids that it was made with, if the service shows them."""
    address: str = ""
    """The address of its first picture."""


def find_post_among(
    parcel: ApprovedPost, upload_id: str, seen: Sequence[AccountMedium], before: BeforeCommit, fetch: Fetch
) -> FoundOnAccount | Absent:
    """Find the post among the media. Raise if a new medium can neither be matched with the post nor ruled out."""
    for medium in seen:
        if upload_id in medium.echoes:
            return FoundOnAccount(medium.receipt, f"medium {medium.receipt.media_id} carries upload id {upload_id}")
    known_ids = {*before.media, *before.others}
    new_media = [
        medium
        for medium in seen
        if medium.receipt.media_id not in known_ids and medium.pictures == len(parcel.pictures)
    ]
    for medium in new_media:
        evidence = _describe_match(parcel, medium, fetch, before.unsent)
        if evidence:
            sure = "caption" in evidence
            return FoundOnAccount(
                medium.receipt, f"medium {medium.receipt.media_id} was not there before, with {evidence}", sure
            )
    return Absent(
        f"{len(seen)} media seen, {len(new_media)} of them new, none with the upload id, caption or picture of the post"
    )


def _describe_match(parcel: ApprovedPost, medium: AccountMedium, fetch: Fetch, unsent: bool) -> str:
    """Describe what the medium shares with the post; empty if it is another one. Pictures decide if they can be fetched."""
    has_caption = (
        bool(_normalize_caption(parcel.caption)) and parcel.kind != "story"
    )  # stories come back without their caption
    same_caption = has_caption and _normalize_caption(medium.caption) == _normalize_caption(parcel.caption)
    distance = _measure_distance(parcel, medium, fetch)
    if distance is None and same_caption:
        return "the same caption"
    if distance is None and unsent:
        return ""
    if distance is None:
        raise PublishError(
            f"medium {medium.receipt.media_id} of {parcel.account} is new and cannot be compared with post"
            f" {parcel.post_id}: see on the account which it is"
        )
    if distance > MAX_DIFFERENT_BITS:
        return ""
    return f"the same {'caption and ' if same_caption else ''}picture ({distance} of 64 bits differ)"


def _measure_distance(parcel: ApprovedPost, medium: AccountMedium, fetch: Fetch) -> int | None:
    """Measure how many bits the first pictures differ by; None if the account's picture cannot be fetched."""
    try:
        with Image.open(io.BytesIO(fetch(medium.address))) as their_image:
            their_hash = perceptual_hash(their_image)
    except (PublishError, *DAMAGE_ERRORS):
        return None
    with Image.open(io.BytesIO(read_approved(parcel.pictures[0]))) as our_image:
        return (perceptual_hash(our_image) ^ their_hash).bit_count()


def _normalize_caption(text: str) -> str:
    """Normalize a caption: services change its line ends and the composition of its letters."""
    return " ".join(unicodedata.normalize("NFC", text).split())
