"""What is on sale: slices of machines, derived from listing, hardware and holds, never stored.

A machine's GPUs are the leaves of a tree of halves: node 1 is the smallest power of two that
covers them all, node n has the children 2n and 2n + 1. Every node whose GPUs all exist is a slice;
so is the whole machine, as node 255, when its count is no power of two.
"""

from collections.abc import Container, Iterator
from typing import Final

import msgspec

from mercato.market.hardware import Hardware
from mercato.market.ids import ListingId, MachineId, OfferId
from mercato.market.listing import Listing
from mercato.market.money import NanoUsdPerGb, NanoUsdPerGbMonth, NanoUsdPerHour, with_fee

NODES: Final = 256
WHOLE: Final = 255

NUMBER_MAX: Final = 10**12
"""No count, size, speed or price of any machine comes near this."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """One slice of a machine, at the renter's prices."""

    id: OfferId
    listing: ListingId
    machine: MachineId
    gpus: tuple[int, ...]
    gpus_total: int
    rentable: bool
    disk_free_mb: int
    gpu: NanoUsdPerHour
    disk: NanoUsdPerGbMonth
    up: NanoUsdPerGb
    down: NanoUsdPerGb
    bid_floor: NanoUsdPerHour
    end_at_ms: int | None


def lettable(hardware: Hardware) -> bool:
    """Whether offers can be made of it: it has GPUs, and no number that no machine has."""
    return hardware.gpu_count > 0 and all(abs(one) <= NUMBER_MAX for one in _numbers(hardware))


def _numbers(of: object) -> Iterator[float]:
    if isinstance(of, int | float):
        yield of
    elif isinstance(of, tuple):
        for one in of:
            yield from _numbers(one)
    elif isinstance(of, msgspec.Struct):
        for name in of.__struct_fields__:
            yield from _numbers(getattr(of, name))


def parse_offer_id(offer: OfferId) -> tuple[ListingId, int] | None:
    """Listing and node of an offer id; None when it cannot be one."""
    listing, node = divmod(offer, NODES)
    return (ListingId(listing), node) if listing > 0 and node > 0 else None


def find_offer(
    offer: OfferId, listing: Listing, hardware: Hardware, held: Container[int], disk_free_mb: int
) -> Offer | None:
    """The offer of this id; None when the listing sells no such slice."""
    return next(
        (one for one in offers(listing, hardware, held, disk_free_mb) if one.id == offer), None
    )


def offers(
    listing: Listing, hardware: Hardware, held: Container[int], disk_free_mb: int
) -> list[Offer]:
    """Every slice that the listing sells, taken ones too, largest first; none without GPUs."""
    total = hardware.gpu_count
    if total == 0:
        return []
    size = 1 << max(0, total - 1).bit_length()
    slices: list[tuple[int, tuple[int, ...]]] = []
    if size != total:
        slices.append((WHOLE, tuple(range(total))))
    node = 1
    while size >= listing.min_chunk and node < WHOLE:
        slices += [
            (node + at, tuple(range(at * size, (at + 1) * size))) for at in range(total // size)
        ]
        node, size = node * 2, size // 2
    fee = listing.platform_fee_ppm
    prices = listing.prices
    return [
        Offer(
            id=OfferId(listing.id * NODES + node),
            listing=listing.id,
            machine=listing.machine,
            gpus=gpus,
            gpus_total=total,
            rentable=not any(gpu in held for gpu in gpus),
            disk_free_mb=disk_free_mb * len(gpus) // total,
            gpu=NanoUsdPerHour(with_fee(prices.gpu * len(gpus), fee)),
            disk=NanoUsdPerGbMonth(with_fee(prices.disk, fee)),
            up=NanoUsdPerGb(with_fee(prices.up, fee)),
            down=NanoUsdPerGb(with_fee(prices.down, fee)),
            bid_floor=NanoUsdPerHour(with_fee(prices.bid_floor * len(gpus), fee)),
            end_at_ms=listing.end_at_ms,
        )
        for node, gpus in slices
    ]
