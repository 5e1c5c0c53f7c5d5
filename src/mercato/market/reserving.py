"""Reserved contracts: money prepaid for one contract buys a discount that grows with the months.

A deposit of `m` months saves `max * m / (m + 1)` of every hour, where `max` is what the host grants
at most (so 1 month of max 40 % saves 20 %, 3 months 30 %). A month is 720 hours at the discounted
price: a deposit buys exactly the months that it is named after. Every further payment counts the
months anew from what is then in the deposit, so a small late one can lower the discount.

Whoever ends the contract early gives back the discount received and 5 % of it. A contract that the
market or the host ends is paid back in full. (Vast.ai's documentation of reserved instances; the
720 hours are a decision of ours, docs/decisions.)

All is integer arithmetic, so that a bill can be recomputed anywhere: months in millionths,
discounts in billionths.
"""

from math import isqrt
from typing import Final

from mercato.market.money import HOURS_PER_MONTH, PPM, NanoUsd, NanoUsdPerHour

PPB: Final = 1_000_000_000
MONTHS_MAX_PPM: Final = 1_200 * PPM
"""A hundred years: more is a slip of the pen."""
EARLY_END_PERCENT: Final = 105
"""Of the discount received, given back by whoever ends a reserved contract early."""


def months_ppm(deposit: NanoUsd, hourly: NanoUsdPerHour, max_ppm: int) -> int:
    """Millionths of a month that a deposit buys, at the discount that they earn.

    `hourly` is the contract's whole price for an hour before the discount. The answer `m` solves
    `deposit = hourly * 720 * m * (1 - max * m / (m + 1))`, rounded down.
    """
    assert hourly > 0, hourly
    assert 0 <= max_ppm < PPM, max_ppm
    # a m^2 + b m - c = 0, every term times a million.
    monthly = hourly * HOURS_PER_MONTH
    a = monthly * (PPM - max_ppm)
    b = (monthly - deposit) * PPM
    c = deposit * PPM
    # The root is scaled before it is rounded, so that short deposits keep their digits.
    root = isqrt((b * b + 4 * a * c) * PPM * PPM)
    return min(MONTHS_MAX_PPM, (root - b * PPM) // (2 * a))


def discount_ppb(months: int, max_ppm: int) -> int:
    """Billionths of the price that prepaying so many millionths of a month saves."""
    return max_ppm * (PPB // PPM) * months // (months + PPM)


def discounted(rate: NanoUsdPerHour, discount: int) -> NanoUsdPerHour:
    """A rate less a discount in billionths, rounded up: the discount is never more than said."""
    return NanoUsdPerHour(rate - rate * discount // PPB)


def price_of(months: int, hourly: NanoUsdPerHour, max_ppm: int) -> NanoUsd:
    """The deposit that buys so many millionths of a month, rounded down."""
    rate = discounted(hourly, discount_ppb(months, max_ppm))
    return NanoUsd(rate * HOURS_PER_MONTH * months // PPM)


def forfeited(left: NanoUsd, saved: NanoUsd) -> NanoUsd:
    """What an early end takes from what is left: 1.05 of the discount received, at most all."""
    return NanoUsd(min(left, -(-saved * EARLY_END_PERCENT // 100)))


def refund(left: NanoUsd, saved: NanoUsd) -> NanoUsd:
    """What comes back of a deposit that is ended early: `max(0, left - 1.05 * saved)`."""
    return NanoUsd(left - forfeited(left, saved))
