"""Payments: no way back from an end, whole cents, Fridays."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from mercato.market.payment import (
    CENT,
    ENDED,
    NEXT,
    PAYOUT_MIN,
    State,
    payday,
    payout_of,
    retry_after_s,
    whole_cents,
)

WEEK_MS = 7 * 86_400_000


def test_every_state_is_reached_and_an_end_is_for_good() -> None:
    assert set(NEXT) == set(State)
    assert set().union(*NEXT.values()) | {State.WANTED} == set(State)
    assert {State.SUCCEEDED, State.FAILED} == ENDED


@given(st.integers(0, 10**15))
def test_a_payout_is_whole_cents_of_what_was_earned(earned: int) -> None:
    amount = payout_of(earned)
    assert (amount is None) == (whole_cents(earned) < PAYOUT_MIN)
    if amount is not None:
        assert amount % CENT == 0
        assert 0 <= earned - amount < CENT


@given(st.integers(0, 4 * 10**12))
def test_it_is_announced_on_the_last_friday_and_paid_on_the_next(at_ms: int) -> None:
    announced_ms, pays_ms = payday(at_ms)
    assert announced_ms <= at_ms < announced_ms + WEEK_MS == pays_ms
    assert datetime.fromtimestamp(announced_ms / 1_000, tz=UTC).strftime("%A %H:%M") == (
        "Friday 00:00"
    )


@given(st.integers(0, 1_000))
def test_waiting_grows_and_never_ends(attempts: int) -> None:
    assert 0 < retry_after_s(attempts) <= retry_after_s(attempts + 1) <= 3_600
