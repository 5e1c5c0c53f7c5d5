"""What a host asks for a machine: prices, the smallest slice, until when."""

import msgspec

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
