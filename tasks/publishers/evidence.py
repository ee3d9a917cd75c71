"""Whether a post is among the media of an account: upload id, what is new, caption, picture, in that order."""

import io
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image

from models.picture.quality import perceptual_hash
from models.picture.reading import DAMAGE
from tasks.publishers.base import Absent, Before, Found, Parcel, PublishError, Receipt
from tasks.publishers.instagram_picture_rules import read_approved

NEAR = 10  # bits of 64 that the same picture may differ by once a place has made it smaller
Fetch = Callable[[str], bytes]


@dataclass(frozen=True)
class Seen:
    """A medium as its place shows it."""

    receipt: Receipt
    caption: str
    pictures: int
    echoes: frozenset[str] = frozenset()
    """Upload ids that it was made with, where the place tells."""
    address: str = ""
    """Where its first picture can be fetched."""


def judge(parcel: Parcel, upload_id: str, seen: Sequence[Seen], before: Before, fetch: Fetch) -> Found | Absent:
    """Found, absent, or, where a new medium can be neither told from the post nor taken for it, an error."""
    for each in seen:
        if upload_id in each.echoes:
            return Found(each.receipt, f"medium {each.receipt.media_id} carries upload id {upload_id}")
    known = {*before.media, *before.others}
    new = [each for each in seen if each.receipt.media_id not in known and each.pictures == len(parcel.pictures)]
    for each in new:
        evidence = _same(parcel, each, fetch, before.unsent)
        if evidence:
            sure = "caption" in evidence
            return Found(each.receipt, f"medium {each.receipt.media_id} was not there before, with {evidence}", sure)
    return Absent(
        f"{len(seen)} media seen, {len(new)} of them new, none with the upload id, caption or picture of the post"
    )


def _same(parcel: Parcel, seen: Seen, fetch: Fetch, unsent: bool) -> str:
    """What the medium shares with the post; empty where it is another one. Pictures decide, where they can be had."""
    tells = bool(_folded(parcel.caption)) and parcel.kind != "story"  # stories come back without their caption
    captioned = tells and _folded(seen.caption) == _folded(parcel.caption)
    distance = _distance(parcel, seen, fetch)
    if distance is None and captioned:
        return "the same caption"
    if distance is None and unsent:
        return ""
    if distance is None:
        raise PublishError(
            f"medium {seen.receipt.media_id} of {parcel.account} is new and cannot be compared with post"
            f" {parcel.post_id}: see on the account which it is"
        )
    if distance > NEAR:
        return ""
    return f"the same {'caption and ' if captioned else ''}picture ({distance} of 64 bits differ)"


def _distance(parcel: Parcel, seen: Seen, fetch: Fetch) -> int | None:
    """How far apart the first pictures are; None where theirs cannot be had."""
    try:
        with Image.open(io.BytesIO(fetch(seen.address))) as theirs:
            other = perceptual_hash(theirs)
    except (PublishError, *DAMAGE):
        return None
    with Image.open(io.BytesIO(read_approved(parcel.pictures[0]))) as ours:
        return (perceptual_hash(ours) ^ other).bit_count()


def _folded(text: str) -> str:
    """Captions come back with other line ends and other compositions of the same letters."""
    return " ".join(unicodedata.normalize("NFC", text).split())
