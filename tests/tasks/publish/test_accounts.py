"""One publisher at a time, and accounts that are left alone."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tasks.publish import accounts
from tasks.publish.accounts import COOL_DOWN, COOL_DOWN_MOST, LEASE, AccountLease, LostClaimError
from tasks.store.store import Store

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
AFTER = NOW + timedelta(seconds=LEASE)


def take(store: Store, now: datetime = NOW, account: str = "pip") -> AccountLease | None:
    with store.writing() as connection:
        return accounts.claim(connection, "folder", account, now)


def standing(store: Store) -> accounts.AccountStatus:
    with store.reading() as connection:
        return accounts.standing(connection, "folder", "pip")


def test_an_account_is_claimed_once_until_it_is_let_go(store: Store) -> None:
    held = take(store)
    assert held is not None
    assert take(store) is None
    assert take(store, account="mara") is not None
    with store.writing() as connection:
        accounts.release(connection, held)
    assert take(store) is not None


def test_of_many_at_once_one_gets_it(store: Store) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: take(store), range(8)))
    assert sum(each is not None for each in found) == 1


def test_a_claim_runs_out_and_its_holder_writes_no_more(store: Store) -> None:
    old, early = take(store), NOW + timedelta(seconds=LEASE - 1)
    assert old and take(store, early) is None
    new = take(store, AFTER)
    assert new
    with pytest.raises(LostClaimError, match="another run"), store.writing() as connection:
        accounts.renew_or_raise(connection, old, AFTER)
    with store.writing() as connection:
        accounts.release(connection, old)  # changes nothing
        accounts.renew_or_raise(connection, new, AFTER, "post1")
    assert standing(store).post == "post1"


def test_work_that_goes_on_renews_the_claim(store: Store) -> None:
    held, later = take(store), NOW + timedelta(seconds=LEASE / 2)
    assert held
    with store.writing() as connection:
        accounts.renew_or_raise(connection, held, later)
    assert take(store, AFTER) is None
    assert take(store, later + timedelta(seconds=LEASE)) is not None


@pytest.mark.parametrize("ahead", [timedelta(days=1), timedelta(days=4000)])
def test_a_claim_of_a_clock_that_was_ahead_is_nobodys(store: Store, ahead: timedelta) -> None:
    old = take(store, NOW + ahead)
    assert old and not standing(store).claimed(NOW)
    new = take(store)
    assert new and standing(store).claimed(NOW)
    with pytest.raises(LostClaimError), store.writing() as connection:
        accounts.renew_or_raise(connection, old, NOW)
    assert take(store) is None


def test_clocks_may_differ_a_little(store: Store) -> None:
    assert take(store, AFTER) is not None
    assert take(store) is None and standing(store).claimed(NOW)


def test_who_lets_the_account_go_on_takes_the_claim_too(store: Store) -> None:
    old = take(store)
    assert old
    with store.writing() as connection:
        accounts.resume(connection, "folder", "pip", NOW)
        accounts.resume(connection, "folder", "never seen", NOW)
    new = take(store)
    assert new
    with pytest.raises(LostClaimError, match="somebody let the account go on"), store.writing() as connection:
        accounts.renew_or_raise(connection, old, NOW)
    with store.writing() as connection:
        accounts.release(connection, old)
        accounts.renew_or_raise(connection, new, NOW)  # raises if it is not held


def test_failures_in_a_row_are_waited_for_longer_and_longer(store: Store) -> None:
    with store.writing() as connection:
        waits = [accounts.failed(connection, "folder", "pip", "no answer", NOW) for _ in range(12)]
    assert waits[:3] == [COOL_DOWN, 2 * COOL_DOWN, 4 * COOL_DOWN]
    assert waits[-1] == COOL_DOWN_MOST == max(waits)
    assert standing(store).paused(NOW + timedelta(seconds=COOL_DOWN_MOST - 1))
    assert not standing(store).paused(NOW + timedelta(seconds=COOL_DOWN_MOST))
    with store.writing() as connection:
        accounts.went_well(connection, "folder", "pip")
        assert accounts.failed(connection, "folder", "pip", "no answer", NOW) == COOL_DOWN


def test_a_person_has_to_act_however_long_it_takes_and_what_to_do_stays_to_be_read(store: Store) -> None:
    with store.writing() as connection:
        accounts.pause(connection, "folder", "pip", "log in", NOW, person=True)
        accounts.pause(connection, "folder", "pip", "wait", NOW, 3600.0)
        accounts.pause(connection, "folder", "pip", "wait less", NOW, 60.0)
    found = standing(store)
    assert found.paused(NOW + timedelta(days=365))
    assert (found.why, found.paused_until) == ("log in", NOW + timedelta(hours=1))
    with store.writing() as connection:
        accounts.resume(connection, "folder", "pip", NOW)
    assert not standing(store).paused(NOW)
    assert [each.account for each in accounts.standings(store)] == ["pip"]
    assert accounts.standings(store, "mara") == []


def test_a_pause_that_a_wrong_clock_wrote_counts_for_nothing(store: Store) -> None:
    year = timedelta(days=365)
    with store.writing() as connection:
        accounts.failed(connection, "folder", "pip", "down", NOW + year)
    assert not standing(store).paused(NOW)
    assert standing(store).paused(NOW + year)
