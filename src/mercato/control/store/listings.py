"""Listings: what hosts ask. A change is a new row; the old one is closed, never changed."""

from typing import Any, Final, LiteralString

import msgspec

from mercato.control.db import Tx
from mercato.market.ids import ListingId, MachineId
from mercato.market.listing import BidTerms, Listing, Prices
from mercato.market.money import NanoUsdPerGb, NanoUsdPerGbMonth, NanoUsdPerHour


class StoredListing(msgspec.Struct, frozen=True, kw_only=True):
    """A listing and when it stood."""

    listing: Listing
    duration: str | None
    """As the host gave it, when the end date rolls on."""
    listed_at_ms: int
    closed_at_ms: int | None


_COLUMNS: Final[LiteralString] = (
    "id, machine_id, gpu, disk, up, down, bid_floor, min_chunk, end_at_ms, duration,"
    " credit_discount_max, platform_fee_ppm, bid_notice_ms, bid_run_ms_min, bid_uniform,"
    " listed_at_ms, closed_at_ms"
)


def open_(tx: Tx, listing: Listing, duration: str | None, now_ms: int) -> Listing:
    """Write what a host asks from now on; the id in `listing` is ignored, a new one comes back."""
    row = tx.one(
        "insert into listings (machine_id, gpu, disk, up, down, bid_floor, min_chunk, end_at_ms,"  # noqa: S608 - the columns are fixed above
        " duration, credit_discount_max, platform_fee_ppm, bid_notice_ms, bid_run_ms_min,"
        " bid_uniform, listed_at_ms) values"
        f" (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) returning {_COLUMNS}",
        listing.machine,
        listing.prices.gpu,
        listing.prices.disk,
        listing.prices.up,
        listing.prices.down,
        listing.prices.bid_floor,
        listing.min_chunk,
        listing.end_at_ms,
        duration,
        listing.credit_discount_max,
        listing.platform_fee_ppm,
        listing.bids.notice_ms,
        listing.bids.run_ms_min,
        listing.bids.uniform,
        now_ms,
    )
    assert row is not None
    return _stored(row).listing


def get(tx: Tx, listing: ListingId) -> StoredListing | None:
    """A listing, closed or not."""
    row = tx.one(f"select {_COLUMNS} from listings where id = %s", listing)  # noqa: S608 - the columns are fixed above
    return _stored(row) if row else None


def on_sale(tx: Tx, machine: MachineId) -> StoredListing | None:
    """What is asked for a machine now; None when it is not listed."""
    row = tx.one(
        f"select {_COLUMNS} from listings where machine_id = %s and closed_at_ms is null",  # noqa: S608 - the columns are fixed above
        machine,
    )
    return _stored(row) if row else None


def all_on_sale(tx: Tx) -> list[StoredListing]:
    """Every open listing."""
    rows = tx.all(f"select {_COLUMNS} from listings where closed_at_ms is null order by id")  # noqa: S608 - the columns are fixed above
    return [_stored(row) for row in rows]


def past_end(tx: Tx, now_ms: int) -> list[MachineId]:
    """Machines whose listing has reached its end."""
    rows = tx.all(
        "select machine_id from listings where closed_at_ms is null and end_at_ms <= %s"
        " order by machine_id",
        now_ms,
    )
    return [MachineId(row["machine_id"]) for row in rows]


def rolling(tx: Tx) -> list[MachineId]:
    """Machines whose listing's end moves on with the days."""
    rows = tx.all(
        "select machine_id from listings where closed_at_ms is null and duration is not null"
        " and end_at_ms is not null order by machine_id"
    )
    return [MachineId(row["machine_id"]) for row in rows]


def close(tx: Tx, machine: MachineId, now_ms: int) -> bool:
    """Take a machine's listing down; False when it had none."""
    return (
        tx.run(
            "update listings set closed_at_ms = %s where machine_id = %s and closed_at_ms is null",
            now_ms,
            machine,
        )
        > 0
    )


def listing_of(row: dict[str, Any], listing: ListingId, machine: MachineId) -> Listing:
    """A listing from a row that has its columns, whatever it calls the two ids."""
    return Listing(
        id=listing,
        machine=machine,
        prices=Prices(
            gpu=NanoUsdPerHour(row["gpu"]),
            disk=NanoUsdPerGbMonth(row["disk"]),
            up=NanoUsdPerGb(row["up"]),
            down=NanoUsdPerGb(row["down"]),
            bid_floor=NanoUsdPerHour(row["bid_floor"]),
        ),
        min_chunk=row["min_chunk"],
        end_at_ms=row["end_at_ms"],
        credit_discount_max=row["credit_discount_max"],
        platform_fee_ppm=row["platform_fee_ppm"],
        bids=BidTerms(
            notice_ms=row["bid_notice_ms"],
            run_ms_min=row["bid_run_ms_min"],
            uniform=row["bid_uniform"],
        ),
    )


def _stored(row: dict[str, Any]) -> StoredListing:
    return StoredListing(
        listing=listing_of(row, ListingId(row["id"]), MachineId(row["machine_id"])),
        duration=row["duration"],
        listed_at_ms=row["listed_at_ms"],
        closed_at_ms=row["closed_at_ms"],
    )
