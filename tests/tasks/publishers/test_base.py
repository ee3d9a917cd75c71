"""What every publisher has in common."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.system.errors import UserError
from tasks.publishers.base import MAX_QUOTED_CHARACTERS, ApprovedPost, PublishError, check_account, redact, upload_id_at


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kind": "album"}, "is an album of 1 pictures: an album has 2 to 10"),
        ({"alts": ()}, "has 1 pictures and 0 alt texts: write one for each"),
    ],
)
def test_a_parcel_that_cannot_be_posted_is_refused(
    changes: dict[str, object], sentence: str, parcel: Callable[..., ApprovedPost]
) -> None:
    with pytest.raises(UserError, match=sentence):
        parcel(**changes) if "kind" not in changes else _as_album(parcel())


def _as_album(post: ApprovedPost) -> ApprovedPost:
    return replace(post, kind="album")


def test_a_time_needs_a_zone(parcel: Callable[..., ApprovedPost]) -> None:
    with pytest.raises(UserError, match="without a time zone"):
        parcel(when=datetime(2026, 11, 21))


def test_a_post_goes_to_its_own_account_only(parcel: Callable[..., ApprovedPost]) -> None:
    check_account(parcel(), "pip_daily")
    with pytest.raises(PublishError, match="was approved for pip_daily and not for other") as caught:
        check_account(parcel(), "other")
    assert caught.value.permanent


def test_upload_ids_leave_room_for_an_album() -> None:
    assert upload_id_at(1_800_000_000.0125) == "1800000000012"
    assert int(upload_id_at(1.8e9 + 0.011)) - int(upload_id_at(1.8e9)) == 11


@given(st.text(min_size=4), st.text(), st.text())
def test_what_a_server_repeats_of_a_secret_is_not_passed_on(secret: str, before: str, after: str) -> None:
    if secret.split() == [secret] and secret not in before and secret not in after:
        told = redact(f"{before}  {secret}\n{after}", [secret])
        assert secret not in told.replace("•••", "") or secret in "•••…"
        assert "\n" not in told and len(told) <= MAX_QUOTED_CHARACTERS


def test_what_looks_like_a_token_is_not_passed_on_either() -> None:
    assert redact("bad token IGAA" + "x1" * 30) == "bad token •••"
    assert redact("The caption is too long.") == "The caption is too long."
