"""Credit as a function of time: what is left, when it is used up, and what draws on it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mercato.market.credit import position
from mercato.market.ids import AccountId, ContractId, SegmentId
from mercato.market.meter import Segment, last_covered_ms
from mercato.market.money import MS_PER_HOUR, NANO, NanoUsd, NanoUsdPerHour, accrued

T0 = 1_700_000_000_000


def meter(**given: Any) -> Segment:
    rate = given.pop("rate", NANO)
    facts: dict[str, Any] = {
        "id": SegmentId(1),
        "contract_id": ContractId(1),
        "renter_id": AccountId(1),
        "kind": "gpu",
        "rate": NanoUsdPerHour(rate),
        "list_rate": NanoUsdPerHour(rate),
        "prepaid": False,
        "from_ms": T0,
        "to_ms": None,
        "posted": NanoUsd(0),
    }
    return Segment(**(facts | given))


METERS = st.builds(
    meter,
    contract_id=st.integers(1, 3).map(ContractId),
    kind=st.sampled_from(["gpu", "disk"]),
    rate=st.integers(0, 5 * NANO),
    from_ms=st.integers(T0 - 10 * MS_PER_HOUR, T0),
)


@given(st.lists(METERS, min_size=1, max_size=4), st.integers(0, 1_000 * NANO))
def test_what_is_covered_is_covered_and_a_millisecond_later_is_not(
    meters: list[Segment], amount: int
) -> None:
    last_ms = last_covered_ms(amount, meters)
    if last_ms is None:
        return
    began_ms = max(one.from_ms for one in meters if one.rate)
    owed = sum(one.unposted(last_ms) for one in meters)
    assert owed <= amount or last_ms == began_ms
    assert sum(one.unposted(last_ms + 1) for one in meters) > amount


def test_a_meter_that_was_charged_ahead_is_free_until_time_has_caught_up() -> None:
    ahead = meter(posted=NanoUsd(NANO))
    assert ahead.unposted(T0) == ahead.unposted(T0 + MS_PER_HOUR) == 0
    assert ahead.unposted(T0 + 2 * MS_PER_HOUR) == NANO


@given(st.lists(METERS, max_size=5), st.integers(0, 1_000 * NANO), st.integers(0, 100 * NANO))
def test_credit_does_not_fall_to_a_level_before_it_is_said_to(
    meters: list[Segment], purse: int, level: int
) -> None:
    now = position(purse, meters, {}, T0)
    falls_ms = now.falls_to_ms(level)
    if falls_ms is None:
        assert now.burn == 0
        return
    then = position(purse, meters, {}, falls_ms)
    if now.spendable > level:
        assert then.spendable >= level - len(meters)
    # A millisecond later it has, but for what each meter rounds down.
    later = position(purse, meters, {}, falls_ms + 1)
    assert later.spendable <= level + len(meters)


@given(
    st.integers(1, 5 * NANO),
    st.integers(0, 50 * NANO),
    st.integers(0, 200 * MS_PER_HOUR),
    st.integers(50, 99),
)
def test_a_deposit_is_drawn_on_first_and_then_the_full_price_from_credit(
    full: int, deposit: int, elapsed_ms: int, percent: int
) -> None:
    rate = full * percent // 100
    one = meter(rate=rate, list_rate=NanoUsdPerHour(full), prepaid=True)
    now = position(1_000 * NANO, [one], {ContractId(1): deposit}, T0 + elapsed_ms)
    ends_ms = last_covered_ms(deposit, [one])
    if ends_ms is None or ends_ms >= T0 + elapsed_ms:
        assert now.spendable == 1_000 * NANO
        assert (now.burn, now.prepaid_burn) == (0, rate)
    else:
        late_ms = T0 + elapsed_ms - ends_ms
        assert now.spendable == 1_000 * NANO - accrued(NanoUsdPerHour(full), late_ms)
        assert (now.burn, now.prepaid_burn) == (full, 0)


def test_a_deposit_that_ends_within_the_horizon_counts_as_burn() -> None:
    prepaid = meter(rate=NANO, list_rate=NanoUsdPerHour(2 * NANO), prepaid=True)
    lasts = position(0, [prepaid], {ContractId(1): 2 * NANO}, T0)
    assert lasts.burn_within(MS_PER_HOUR) == 0
    assert lasts.burn_within(3 * MS_PER_HOUR) == 2 * NANO
