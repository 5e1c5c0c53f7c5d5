"""What a host asks for a machine: prices, the smallest slice, until when."""

import re
from typing import Final

import msgspec

from mercato.market import errors
from mercato.market.ids import ListingId, MachineId
from mercato.market.money import NanoUsdPerGb, NanoUsdPerGbMonth, NanoUsdPerHour


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """The host's asking prices, before the platform's fee."""

    gpu: NanoUsdPerHour
    """One GPU for an hour, on demand."""
    disk: NanoUsdPerGbMonth
    up: NanoUsdPerGb
    down: NanoUsdPerGb
    bid_floor: NanoUsdPerHour
    """The least a bid may offer for one GPU for an hour."""


class BidTerms(msgspec.Struct, frozen=True, kw_only=True):
    """On what terms a host takes bids; those of its listing hold for a contract's whole life."""

    notice_ms: int = 120_000
    """How long an outbid instance is warned before its GPUs go to somebody else."""
    run_ms_min: int = 0
    """A bid that won cannot be outbid before it ran so long."""
    uniform: bool = False
    """Winners pay what they had to beat, and not their own bids."""


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """One state of what a host asks.

    A change of prices is a new listing with a new id, so that nobody can accept an offer at terms
    other than those that were seen.
    """

    id: ListingId
    machine: MachineId
    prices: Prices
    min_chunk: int
    """The smallest number of GPUs let together: a power of two."""
    end_at_ms: int | None
    """When contracts signed now end; None is open-ended."""
    credit_discount_max: float
    """The most that a reservation can save, 0 to 0.5."""
    platform_fee_ppm: int
    bids: BidTerms = BidTerms()


_DURATION = re.compile(r"\s*(\d{1,12}(?:\.\d{1,6})?)\s*(second|hour|day|week|month|year)?s?\s*")
_UNIT_MS: Final = {
    "second": 1_000,
    "hour": 3_600_000,
    "day": 86_400_000,
    "week": 7 * 86_400_000,
    "month": 30 * 86_400_000,
    "year": 365 * 86_400_000,
}
_LONGEST_MS: Final = 100 * 365 * 86_400_000


def duration_ms(text: str) -> int:
    """A duration as hosts write it: `3 months`, or a number of seconds.

    Raises:
        InvalidRequest: when it is none such, or longer than a hundred years.
    """
    found = _DURATION.fullmatch(text.lower())
    lasts = int(float(found[1]) * _UNIT_MS[found[2] or "second"]) if found else 0
    if not 0 < lasts <= _LONGEST_MS:
        raise errors.InvalidRequest(f"{text[:80]!r} is not a duration like '3 months' or seconds.")
    return lasts
