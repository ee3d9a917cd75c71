"""What counts as a post being there, and what does not."""

import io
from collections.abc import Callable

import pytest
from PIL import Image

from tasks.publishers.base import Absent, ApprovedPost, BeforeCommit, FoundOnAccount, PublishError, Receipt
from tasks.publishers.evidence import AccountMedium, find_post_among

BEFORE = BeforeCommit(0.0, ("old",))
UPLOAD_ID = "1795000000000"


def fetch_from(pictures: list[bytes]) -> Callable[[str], bytes]:
    def fetch(address: str) -> bytes:
        if address == "gone":
            raise PublishError("not there")
        return pictures[int(address)]

    return fetch


def seen(
    media_id: str = "new", caption: str = "", pictures: int = 1, echo: str = "", address: str = "0"
) -> AccountMedium:
    return AccountMedium(Receipt("x", media_id), caption, pictures, frozenset({echo} if echo else ()), address)


CAPTION = "Pip in the rain\n#ai"


@pytest.mark.parametrize(
    ("medium", "evidence"),
    [
        (seen(echo=UPLOAD_ID, caption="edited", address="gone"), "carries upload id"),
        (seen(media_id="old", echo=UPLOAD_ID), "carries upload id"),
        (seen(caption=CAPTION), "the same caption and picture"),
        (seen(caption="Pip in the  rain #ai"), "the same caption and picture"),
        (seen(caption="Pip in the ra…"), "the same picture"),
        (seen(caption=CAPTION, address="gone"), "the same caption"),
    ],
)
def test_found(
    medium: AccountMedium, evidence: str, parcel: Callable[..., ApprovedPost], pictures: list[bytes]
) -> None:
    found = find_post_among(parcel(caption=CAPTION), UPLOAD_ID, [medium], BEFORE, fetch_from(pictures))
    assert isinstance(found, FoundOnAccount)
    assert evidence in found.evidence
    assert found.receipt == medium.receipt


@pytest.mark.parametrize(
    "medium",
    [
        seen(media_id="old", caption=CAPTION),
        seen(caption=CAPTION, address="1"),
        seen(caption=CAPTION, pictures=3),
        seen(caption="another", address="2"),
        seen(echo="1795000000001", caption="another", address="1"),
    ],
)
def test_absent(medium: AccountMedium, parcel: Callable[..., ApprovedPost], pictures: list[bytes]) -> None:
    assert isinstance(
        find_post_among(parcel(caption=CAPTION), UPLOAD_ID, [medium], BEFORE, fetch_from(pictures)), Absent
    )


def test_nothing_there_is_absent(parcel: Callable[..., ApprovedPost], pictures: list[bytes]) -> None:
    assert isinstance(find_post_among(parcel(), UPLOAD_ID, [], BEFORE, fetch_from(pictures)), Absent)


@pytest.mark.parametrize("caption", ["another", ""])
def test_what_cannot_be_told_is_an_error(
    caption: str, parcel: Callable[..., ApprovedPost], pictures: list[bytes]
) -> None:
    with pytest.raises(PublishError, match="cannot be compared"):
        find_post_among(
            parcel(caption=CAPTION), UPLOAD_ID, [seen(caption=caption, address="gone")], BEFORE, fetch_from(pictures)
        )


def test_pictures_are_told_apart_after_another_encoding(
    parcel: Callable[..., ApprovedPost], pictures: list[bytes]
) -> None:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(pictures[0])) as image:
        image.resize((320, 400)).save(buffer, "JPEG", quality=60)
    found = find_post_among(parcel("story"), UPLOAD_ID, [seen(address="0")], BEFORE, lambda _: buffer.getvalue())
    assert isinstance(found, FoundOnAccount)
