"""Reserved contracts: the documented examples to the cent, and the laws of discount and refund."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mercato.market.money import HOURS_PER_MONTH, NANO, PPM, NanoUsd, NanoUsdPerHour, nano
from mercato.market.reserving import (
    MONTHS_MAX_PPM,
    PPB,
    discount_ppb,
    discounted,
    forfeited,
    months_ppm,
    price_of,
    refund,
)

HOURLY = st.integers(nano("0.001"), nano(500)).map(NanoUsdPerHour)
MAX_PPM = st.integers(1, PPM // 2)
DEPOSITS = st.integers(nano("0.01"), nano(100_000)).map(NanoUsd)
SUMS = st.integers(0, nano(100_000)).map(NanoUsd)


# --- The documented examples ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("most", "months", "saves"),
    [
        ("0.4", 1, 0.20),
        ("0.4", 3, 0.30),
        ("0.1", 1, 0.05),
        ("0.1", 3, 0.075),
        ("0.1", 6, 0.0857),
        ("0.1", 0.546, 0.0353),
    ],
)
def test_months_earn_the_documented_discount(most: str, months: float, saves: float) -> None:
    found = discount_ppb(round(months * PPM), round(float(most) * PPM))
    assert found / PPB == pytest.approx(saves, abs=0.00005)


@pytest.mark.parametrize(("months", "price"), [(1, 504.66), (3, 1474.12), (6, 2914.10)])
def test_the_plans_of_the_documented_dialog_cost_what_it_shows(months: int, price: float) -> None:
    rate = discounted(NanoUsdPerHour(nano("0.714")), discount_ppb(months * PPM, PPM // 10))
    assert round(rate * 744 * months / NANO, 2) == price


def test_the_documented_refunds_at_the_start_in_the_middle_and_at_the_end() -> None:
    hourly, most = NanoUsdPerHour(nano(1)), 400_000
    assert price_of(PPM, hourly, most) == nano(576)
    assert months_ppm(NanoUsd(nano(576)), hourly, most) == PPM
    assert refund(NanoUsd(nano(576)), NanoUsd(0)) == nano(576)
    assert refund(NanoUsd(nano(288)), NanoUsd(nano(72))) == nano("212.4")
    assert refund(NanoUsd(0), NanoUsd(nano(144))) == 0


# --- Laws -----------------------------------------------------------------------------------------


@given(HOURLY, MAX_PPM, st.integers(1, 60 * PPM))
def test_the_price_of_some_months_buys_those_months(
    hourly: NanoUsdPerHour, max_ppm: int, months: int
) -> None:
    found = months_ppm(price_of(months, hourly, max_ppm), hourly, max_ppm)
    # A price is rounded to a nano-dollar, and so are the hours of its rate.
    slack = 2 + 2 * PPM // (hourly * HOURS_PER_MONTH // NANO + 1) // 1_000 + months // 10**6
    assert abs(found - months) <= slack


@given(HOURLY, MAX_PPM, DEPOSITS, DEPOSITS)
def test_more_buys_more_months_and_a_higher_discount(
    hourly: NanoUsdPerHour, max_ppm: int, deposit: NanoUsd, more: NanoUsd
) -> None:
    before = months_ppm(deposit, hourly, max_ppm)
    after = months_ppm(NanoUsd(deposit + more), hourly, max_ppm)
    assert before <= after <= MONTHS_MAX_PPM
    assert discount_ppb(before, max_ppm) <= discount_ppb(after, max_ppm)


@given(HOURLY, MAX_PPM, DEPOSITS)
def test_a_discount_is_below_what_the_host_grants(
    hourly: NanoUsdPerHour, max_ppm: int, deposit: NanoUsd
) -> None:
    found = discount_ppb(months_ppm(deposit, hourly, max_ppm), max_ppm)
    assert 0 <= found < max_ppm * (PPB // PPM)
    assert hourly * (PPM - max_ppm) // PPM <= discounted(hourly, found) <= hourly


@given(SUMS, SUMS)
def test_what_is_refunded_and_what_is_kept_are_all_that_was_left(
    left: NanoUsd, saved: NanoUsd
) -> None:
    assert refund(left, saved) + forfeited(left, saved) == left
    assert 0 <= refund(left, saved) <= left
    assert refund(left, saved) == max(0, left - -(-saved * 105 // 100))
