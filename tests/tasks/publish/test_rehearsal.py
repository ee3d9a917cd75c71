"""A rehearsal leaves everything as it is, and writes into its own folder alone."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import pytest

from models.system.errors import UserError
from tasks.publish import publish
from tasks.publish.publish import PublishRun
from tasks.publish.rehearsal import StandInDestinations
from tasks.store.store import Store
from tests.support import approved

Through = Literal["instagram", "graph"]
NAMES = ["../../../escaped", "..", "", "a/b", "a\\b", "/escaped", "a\0b", "a b", "x" * 65]


@pytest.mark.parametrize("through", ["instagram", "graph"])
@pytest.mark.parametrize("name", NAMES)
def test_no_name_of_an_account_leads_out_of_the_rehearsal(tmp_path: Path, name: str, through: Through) -> None:
    place = tmp_path / "a" / "b" / "studio"
    with ExitStack() as stack, pytest.raises(UserError, match="is no name of an account: use letters"):
        StandInDestinations(place, through, stack).open(through, name)
    assert list(tmp_path.iterdir()) == []


def test_what_an_old_store_holds_is_told_and_the_other_accounts_go_on(store: Store, tmp_path: Path) -> None:
    studio = tmp_path / "a" / "b" / "studio"
    escaped = approved.approved(store, studio, 1, account="../../../escaped")
    good = approved.approved(store, studio, 2)
    with ExitStack() as stack:
        report = publish.publish(PublishRun(store, studio, StandInDestinations(studio, "graph", stack)))
    assert {each.post.id: each.post.state for each in report.last} == {good.id: "published"}
    assert ["'../../../escaped' is no name of an account" in each.why for each in report.waiting] == [True]
    assert escaped.id not in [each.post.id for each in report.outcomes]
    assert not list(tmp_path.rglob("escaped*"))
