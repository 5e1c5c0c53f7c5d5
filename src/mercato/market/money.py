"""Nano-dollars, rates, and the one rounding rule.

All money is an integer number of nano-dollars (1 USD = 1,000,000,000), small enough that a second
of one gigabyte of storage is not zero and large enough that 64 bits hold nine billion dollars.
"""

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final, NewType

NanoUsd = NewType("NanoUsd", int)
NanoUsdPerHour = NewType("NanoUsdPerHour", int)
NanoUsdPerGbMonth = NewType("NanoUsdPerGbMonth", int)
NanoUsdPerGb = NewType("NanoUsdPerGb", int)

NANO: Final = 1_000_000_000
MS_PER_S: Final = 1_000
MS_PER_HOUR: Final = 3_600_000
HOURS_PER_MONTH: Final = 720
BYTES_PER_GB: Final = 1_000_000_000
PPM: Final = 1_000_000


def nano(dollars: float | Decimal | str) -> int:
    """Turn dollars, as a person or a JSON number gives them, into nano-dollars.

    Raises:
        ValueError: when `dollars` is not a finite number.
    """
    amount = Decimal(str(dollars))
    if not amount.is_finite():
        raise ValueError(f"{dollars!r} is not an amount of money")
    return int((amount * NANO).to_integral_value(rounding=ROUND_HALF_EVEN))


def dollars(amount_nano: int) -> float:
    """Turn nano-dollars into the float dollars that the API shows."""
    return amount_nano / NANO


def accrued(rate: NanoUsdPerHour, elapsed_ms: int) -> NanoUsd:
    """What a meter has run up to after `elapsed_ms`, rounded down.

    A charge is a difference of two of these, so billing often costs the same as billing seldom.
    """
    assert elapsed_ms >= 0, elapsed_ms
    return NanoUsd(rate * elapsed_ms // MS_PER_HOUR)


def storage_rate(price: NanoUsdPerGbMonth, disk_mb: int) -> NanoUsdPerHour:
    """What `disk_mb` megabytes cost an hour, rounded down; a month is 720 hours."""
    return NanoUsdPerHour(price * disk_mb // (1_000 * HOURS_PER_MONTH))


def transfer_cost(price: NanoUsdPerGb, transferred_bytes: int) -> NanoUsd:
    """What `transferred_bytes` in one direction cost in all, rounded down."""
    return NanoUsd(price * transferred_bytes // BYTES_PER_GB)


def with_fee(host_price_nano: int, platform_fee_ppm: int) -> int:
    """The renter's price for a host's price: host price / (1 - fee), rounded up.

    Rounded up so that the host never receives less than was asked.
    """
    assert 0 <= platform_fee_ppm < PPM, platform_fee_ppm
    return -(-host_price_nano * PPM // (PPM - platform_fee_ppm))


def fee_of(charge: NanoUsd, platform_fee_ppm: int) -> NanoUsd:
    """The platform's part of a charge, rounded down; the rest is the host's."""
    return NanoUsd(charge * platform_fee_ppm // PPM)
