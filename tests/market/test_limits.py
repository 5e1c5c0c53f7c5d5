"""Spending limits: windows of the calendar, what a grant needs, and when what runs must stop."""

from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mercato.market.ids import AccountId
from mercato.market.limits import (
    MS_PER_DAY,
    Action,
    Care,
    Limit,
    Period,
    Scope,
    Spending,
    acts_at_ms,
    needs,
    reached_at_ms,
    window,
)
from mercato.market.money import MS_PER_HOUR, NANO, NanoUsd, NanoUsdPerHour, accrued

CARE = Care(horizon_ms=MS_PER_HOUR, deletion_buffer_ms=24 * MS_PER_HOUR)
MOMENTS = st.integers(0, 4_000_000_000_000)
PERIODS = st.sampled_from(Period)


def limit(
    amount: int, period: Period, *, action: Action = Action.STOP, set_at_ms: int = 0
) -> Limit:
    return Limit(
        id=1,
        account_id=AccountId(1),
        scope=Scope.ACCOUNT,
        scope_id=1,
        period=period,
        amount=NanoUsd(amount),
        action=action,
        set_at_ms=set_at_ms,
    )


def spending(spent: int, gpu: int, storage: int, promised: int = 0) -> Spending:
    return Spending(
        spent=NanoUsd(spent),
        burn=NanoUsdPerHour(gpu + storage),
        storage_burn=NanoUsdPerHour(storage),
        promised=NanoUsdPerHour(promised),
    )


SPENDING = st.builds(
    spending,
    st.integers(0, 10 * NANO),
    st.integers(0, 5 * NANO),
    st.integers(0, NANO // 10),
    st.integers(0, 5 * NANO),
)


@given(PERIODS, MOMENTS, MOMENTS)
def test_every_moment_has_one_window_and_windows_adjoin(
    period: Period, set_at_ms: int, at_ms: int
) -> None:
    within = window(period, set_at_ms, at_ms)
    if period is Period.TOTAL:
        assert (within.from_ms, within.to_ms) == (set_at_ms, None)
        return
    assert within.to_ms is not None
    assert within.from_ms <= at_ms < within.to_ms
    assert window(period, set_at_ms, within.from_ms) == within
    assert window(period, set_at_ms, within.to_ms).from_ms == within.to_ms


def test_months_are_those_of_the_calendar() -> None:
    at = datetime(2024, 2, 29, 23, 59, tzinfo=UTC)
    within = window(Period.MONTH, 0, int(at.timestamp() * 1_000))
    assert within.from_ms == datetime(2024, 2, 1, tzinfo=UTC).timestamp() * 1_000
    assert within.to_ms == datetime(2024, 3, 1, tzinfo=UTC).timestamp() * 1_000
    december = window(Period.MONTH, 0, int(datetime(2024, 12, 31, tzinfo=UTC).timestamp() * 1_000))
    assert december.to_ms == datetime(2025, 1, 1, tzinfo=UTC).timestamp() * 1_000


@given(PERIODS, MOMENTS, SPENDING, st.integers(0, 3 * NANO), st.integers(0, NANO))
def test_what_is_granted_fits_at_least_until_the_horizon(
    period: Period, at_ms: int, now: Spending, gpu: int, storage: int
) -> None:
    asked = limit(0, period)
    needed = needs(asked, now, gpu, storage, at_ms, CARE)
    within = window(period, 0, at_ms)
    ends_ms = (
        at_ms + MS_PER_HOUR if within.to_ms is None else min(at_ms + MS_PER_HOUR, within.to_ms)
    )
    burn = NanoUsdPerHour(now.burn + now.promised + gpu + storage)
    assert needed >= now.spent + accrued(burn, ends_ms - at_ms)
    if within.to_ms is not None:
        all_disks = NanoUsdPerHour(now.storage_burn + storage)
        assert needed >= accrued(all_disks, within.to_ms - within.from_ms)


@given(PERIODS, MOMENTS, SPENDING, st.integers(1, 100 * NANO))
def test_stopped_at_its_moment_a_limit_holds_until_its_window_ends(
    period: Period, at_ms: int, now: Spending, amount: int
) -> None:
    asked = limit(amount, period)
    reached_ms = reached_at_ms(asked, now, at_ms, CARE)
    within = window(period, 0, at_ms)
    if reached_ms is None or reached_ms < at_ms or now.burn == now.storage_burn:
        return
    spent = now.spent + accrued(now.burn, reached_ms - at_ms)
    ends_ms = reached_ms + CARE.deletion_buffer_ms if within.to_ms is None else within.to_ms
    kept = accrued(now.storage_burn, ends_ms - reached_ms)
    assert spent + kept <= amount + 1, "the rounding of two meters"


@given(PERIODS, MOMENTS, SPENDING, st.integers(1, 100 * NANO))
def test_a_limit_is_not_reached_before_it_has_to_be(
    period: Period, at_ms: int, now: Spending, amount: int
) -> None:
    asked = limit(amount, period, action=Action.NOTIFY)
    reached_ms = reached_at_ms(asked, now, at_ms, CARE)
    if reached_ms is not None and reached_ms >= at_ms:
        later_ms = reached_ms + 2 * MS_PER_HOUR // now.burn + 1
        assert now.spent + accrued(now.burn, later_ms - at_ms) >= amount
    acts_ms = acts_at_ms(asked, now, at_ms, CARE)
    assert (acts_ms is None) == (now.burn == 0 or (period is Period.TOTAL and reached_ms is None))


@pytest.mark.parametrize(
    ("period", "gpu", "storage", "amount", "hours"),
    [
        (Period.DAY, NANO, 0, 5 * NANO, 5.0),
        (Period.DAY, NANO, NANO // 10, 5 * NANO, 2.6),  # (5 - 24 x 0.1) / 1
        (Period.TOTAL, NANO, 0, 5 * NANO, 5.0),
        (Period.TOTAL, NANO, NANO // 10, 5 * NANO, 2.6 / 1.1),  # (5 - 24 x 0.1) / 1.1
    ],
)
def test_when_a_limit_stops_what_runs(
    period: Period, gpu: int, storage: int, amount: int, hours: float
) -> None:
    at_ms = 20_000 * MS_PER_DAY
    asked = limit(amount, period, set_at_ms=at_ms)
    reached_ms = reached_at_ms(asked, spending(0, gpu, storage), at_ms, CARE)
    assert reached_ms == pytest.approx(at_ms + hours * MS_PER_HOUR, abs=1)


def test_256_spenders_at_once_never_pass_a_dollar_in_1_000_rounds() -> None:
    luck = Random(5)
    for _ in range(1_000):
        rates = [luck.randrange(NANO // 100, NANO // 3) for _ in range(256)]
        granted = everybody_at_once(luck, limit(NANO, Period.TOTAL), rates)
        assert granted, "the first fits"
        burn = sum(granted)
        now = spending(0, burn, 0)
        reached_ms = reached_at_ms(limit(NANO, Period.TOTAL), now, 0, CARE)
        assert reached_ms is not None
        assert reached_ms >= CARE.horizon_ms - 1, "all have the hour that they were promised"
        meters = [accrued(NanoUsdPerHour(rate), reached_ms) for rate in granted]
        assert sum(meters) <= NANO, "overspent"


def everybody_at_once(luck: Random, asked: Limit, rates: list[int]) -> list[int]:
    """Whose wishes are granted when all ask at once, in the database's way.

    Each decides on what it saw when it began, which others may have changed since: then its commit
    is refused and it begins anew, as a serializable transaction does.
    """
    waiting = list(range(len(rates)))
    seen: dict[int, int] = {}
    granted: list[int] = []
    while waiting:
        place = luck.randrange(len(waiting))
        who = waiting[place]
        if who not in seen:
            seen[who] = len(granted)
            continue
        promised = sum(granted[: seen[who]])
        fits = needs(asked, spending(0, 0, 0, promised), rates[who], 0, 0, CARE) <= asked.amount
        if fits and seen.pop(who) != len(granted):
            continue
        if fits:
            granted.append(rates[who])
        waiting[place] = waiting[-1]
        waiting.pop()
    return granted
