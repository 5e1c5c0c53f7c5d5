"""What hosts ask for volumes. A change is a new row; the old one is closed, never changed."""

from typing import Any, Final, LiteralString

from mercato.control.db import Tx
from mercato.market.ids import MachineId
from mercato.market.money import NanoUsdPerGbMonth
from mercato.market.volume import VolumeListing

_COLUMNS: Final[LiteralString] = "id, machine_id, size_mb, price, platform_fee_ppm"


def open_(tx: Tx, listing: VolumeListing, now_ms: int) -> VolumeListing:
    """Write what a host asks from now on; the id in `listing` is ignored, a new one comes back."""
    close(tx, listing.machine, now_ms)
    row = tx.one(
        "insert into volume_listings (machine_id, size_mb, price, platform_fee_ppm, listed_at_ms)"  # noqa: S608 - the columns are fixed above
        f" values (%s, %s, %s, %s, %s) returning {_COLUMNS}",
        listing.machine,
        listing.size_mb,
        listing.price,
        listing.platform_fee_ppm,
        now_ms,
    )
    assert row is not None
    return _listing(row)


def get_open(tx: Tx, listing: int) -> VolumeListing | None:
    """A listing that stands; None when there is none, or no longer."""
    row = tx.one(
        f"select {_COLUMNS} from volume_listings where id = %s and closed_at_ms is null",  # noqa: S608 - the columns are fixed above
        listing,
    )
    return _listing(row) if row else None


def on_sale(tx: Tx, machine: MachineId) -> VolumeListing | None:
    """What is asked for volumes on a machine now."""
    row = tx.one(
        f"select {_COLUMNS} from volume_listings where machine_id = %s and closed_at_ms is null",  # noqa: S608 - the columns are fixed above
        machine,
    )
    return _listing(row) if row else None


def close(tx: Tx, machine: MachineId, now_ms: int) -> bool:
    """Take a machine's volumes off sale; False when they were not on sale."""
    sql: LiteralString = (
        "update volume_listings set closed_at_ms = %s"
        " where machine_id = %s and closed_at_ms is null"
    )
    return tx.run(sql, now_ms, machine) > 0


def rented_mb(tx: Tx, machine: MachineId) -> int:
    """Megabytes of a machine that volumes have."""
    row = tx.one(
        "select coalesce(sum(c.disk_mb), 0)::bigint as mb from volumes v"
        " join contracts c on c.id = v.id where v.machine_id = %s and v.gone_at_ms is null",
        machine,
    )
    assert row is not None
    return int(row["mb"])


def _listing(row: dict[str, Any]) -> VolumeListing:
    return VolumeListing(
        id=row["id"],
        machine=MachineId(row["machine_id"]),
        size_mb=row["size_mb"],
        price=NanoUsdPerGbMonth(row["price"]),
        platform_fee_ppm=row["platform_fee_ppm"],
    )
