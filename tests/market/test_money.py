"""The laws of money: one rounding rule, and it never works for the house."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mercato.market.money import (
    BYTES_PER_GB,
    MS_PER_HOUR,
    NANO,
    PPM,
    NanoUsd,
    NanoUsdPerGb,
    NanoUsdPerGbMonth,
    NanoUsdPerHour,
    accrued,
    dollars,
    fee_of,
    nano,
    storage_rate,
    transfer_cost,
    with_fee,
)

RATES = st.integers(0, 1_000 * NANO).map(NanoUsdPerHour)
SPANS_MS = st.integers(0, 10 * 365 * 24 * MS_PER_HOUR)
FEES_PPM = st.integers(0, PPM - 1)
PRICES = st.integers(0, 1_000_000 * NANO)


# --- What a meter has run up to -------------------------------------------------------------------


@given(RATES, SPANS_MS, SPANS_MS)
def test_a_meter_never_runs_back(rate: NanoUsdPerHour, first_ms: int, more_ms: int) -> None:
    assert accrued(rate, first_ms) <= accrued(rate, first_ms + more_ms)


@given(RATES, RATES, SPANS_MS)
def test_a_higher_rate_never_costs_less(
    rate: NanoUsdPerHour, more: NanoUsdPerHour, span_ms: int
) -> None:
    assert accrued(rate, span_ms) <= accrued(NanoUsdPerHour(rate + more), span_ms)


@given(RATES, st.lists(SPANS_MS, min_size=1, max_size=50))
def test_billing_often_costs_what_billing_seldom_costs(
    rate: NanoUsdPerHour, looks_ms: list[int]
) -> None:
    looks_ms = [0, *sorted(looks_ms)]
    charges = [accrued(rate, after) - accrued(rate, before) for before, after in pairwise(looks_ms)]
    assert all(charge >= 0 for charge in charges)
    assert sum(charges) == accrued(rate, looks_ms[-1])


@given(RATES, SPANS_MS)
def test_a_meter_shows_less_than_a_nano_dollar_too_little_and_never_too_much(
    rate: NanoUsdPerHour, span_ms: int
) -> None:
    exact = Fraction(rate * span_ms, MS_PER_HOUR)
    assert 0 <= exact - accrued(rate, span_ms) < 1


@given(RATES, st.lists(SPANS_MS, min_size=1, max_size=20))
def test_each_change_of_state_costs_the_house_less_than_a_nano_dollar(
    rate: NanoUsdPerHour, spans_ms: list[int]
) -> None:
    parts = sum(accrued(rate, span_ms) for span_ms in spans_ms)
    whole = accrued(rate, sum(spans_ms))
    assert whole - len(spans_ms) < parts <= whole


def test_time_does_not_run_back() -> None:
    with pytest.raises(AssertionError):
        accrued(NanoUsdPerHour(1), -1)


@pytest.mark.parametrize(
    ("rate", "span_ms", "cost"),
    [
        (nano("0.36"), 1_000, 100_000),  # a second of 36 cents an hour
        (nano("0.36"), MS_PER_HOUR, nano("0.36")),
        (nano("3.49"), 90 * 60_000, nano("5.235")),
        (1, MS_PER_HOUR - 1, 0),
        (1, MS_PER_HOUR, 1),
    ],
)
def test_known_charges(rate: int, span_ms: int, cost: int) -> None:
    assert accrued(NanoUsdPerHour(rate), span_ms) == cost


# --- Disk and traffic -----------------------------------------------------------------------------


@given(PRICES, st.integers(0, 100_000_000))
def test_a_month_of_disk_never_costs_more_than_its_price(price: int, disk_mb: int) -> None:
    month = storage_rate(NanoUsdPerGbMonth(price), disk_mb) * 720
    exact = Fraction(price * disk_mb, 1_000)
    assert 0 <= exact - month < 720


@given(PRICES, st.lists(st.integers(0, 2**50), min_size=1, max_size=20))
def test_traffic_charged_often_costs_what_it_costs_charged_at_once(
    price: int, counts: list[int]
) -> None:
    rate, counts = NanoUsdPerGb(price), [0, *sorted(counts)]
    charges = [
        transfer_cost(rate, after) - transfer_cost(rate, before)
        for before, after in pairwise(counts)
    ]
    assert all(charge >= 0 for charge in charges)
    assert sum(charges) == transfer_cost(rate, counts[-1])
    assert 0 <= Fraction(price * counts[-1], BYTES_PER_GB) - sum(charges) < 1


# --- The platform's fee ---------------------------------------------------------------------------


@given(PRICES, FEES_PPM)
def test_the_renters_price_is_the_least_that_gives_the_host_what_was_asked(
    asked: int, fee_ppm: int
) -> None:
    price = with_fee(asked, fee_ppm)
    assert price - Fraction(price * fee_ppm, PPM) >= asked
    assert price == 0 or price - 1 - Fraction((price - 1) * fee_ppm, PPM) < asked
    assert price - fee_of(NanoUsd(price), fee_ppm) >= asked


@given(PRICES, PRICES, FEES_PPM)
def test_asking_more_never_makes_it_cheaper(asked: int, more: int, fee_ppm: int) -> None:
    assert with_fee(asked, fee_ppm) <= with_fee(asked + more, fee_ppm)


@given(PRICES, FEES_PPM, FEES_PPM)
def test_a_higher_fee_never_makes_it_cheaper(asked: int, one: int, other: int) -> None:
    assert with_fee(asked, min(one, other)) <= with_fee(asked, max(one, other))
    assert with_fee(asked, 0) == asked


@given(RATES, FEES_PPM, SPANS_MS)
def test_a_host_receives_what_was_asked_for_the_time(
    asked: NanoUsdPerHour, fee_ppm: int, span_ms: int
) -> None:
    charge = accrued(NanoUsdPerHour(with_fee(asked, fee_ppm)), span_ms)
    received = charge - fee_of(charge, fee_ppm)
    assert received > Fraction(asked * span_ms, MS_PER_HOUR) - 1


@given(st.integers(0, 2**62), FEES_PPM)
def test_the_fee_is_a_part_of_the_charge_rounded_down(charge: int, fee_ppm: int) -> None:
    fee = fee_of(NanoUsd(charge), fee_ppm)
    assert 0 <= fee <= charge
    assert 0 <= Fraction(charge * fee_ppm, PPM) - fee < 1


# --- Dollars in and out ---------------------------------------------------------------------------


@given(st.integers(-(2**52), 2**52))
def test_amounts_that_a_double_can_hold_survive_the_way_out_and_in(amount: int) -> None:
    assert nano(dollars(amount)) == amount


@given(st.decimals(-(10**9), 10**9, places=9, allow_nan=False))
def test_nine_places_are_kept_exactly(amount: object) -> None:
    assert Fraction(nano(str(amount)), NANO) == Fraction(str(amount))


@pytest.mark.parametrize("text", ["nan", "inf", "-inf"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        nano(text)
