"""What is on sale where: everything from which a machine's offers are derived."""

from collections.abc import Sequence
from typing import Any, Final, LiteralString

import msgspec

from mercato.control.db import Tx
from mercato.control.store import standings
from mercato.control.store.listings import listing_of
from mercato.market.auction import Claim
from mercato.market.hardware import Hardware
from mercato.market.ids import AccountId, ContractId, ListingId, MachineId
from mercato.market.listing import Listing
from mercato.market.money import NanoUsdPerGbMonth
from mercato.market.volume import VolumeListing


class Sale(msgspec.Struct, frozen=True, kw_only=True):
    """One machine and what is asked for it now."""

    machine: MachineId
    host: AccountId
    hardware: Hardware
    verification: str
    generation: tuple[int, bool]
    """Differs whenever what is on sale can differ: the machine's generation, and if it is heard."""
    joined_at_ms: int
    listed_at_ms: int
    listing: Listing | None
    """None when nothing of it can be had: not listed, offline, deleted, never heard."""
    held: dict[int, ContractId]
    """Contract by GPU index, for every GPU that somebody rents: not the host's own job."""
    firm: frozenset[int]
    """GPUs that no bid can have: on-demand and reserved contracts hold them, or will."""
    claims: tuple[Claim, ...]
    """Everybody who wants to run there, when some of them can be displaced; else nobody."""
    disk_free_mb: int
    volumes: VolumeListing | None
    """What is asked for volumes; None when none are let."""
    volumes_rented_mb: int


_SALE: Final[LiteralString] = """
select m.id, m.host_id, m.hardware, m.verification, m.generation, m.joined_at_ms,
       m.deleted_at_ms, m.offline_since_ms, m.seen_at_ms,
       l.id as listing_id, l.gpu, l.disk, l.up, l.down, l.bid_floor, l.min_chunk, l.end_at_ms,
       l.credit_discount_max, l.platform_fee_ppm, l.bid_notice_ms, l.bid_run_ms_min,
       l.bid_uniform, l.listed_at_ms,
       (select coalesce(jsonb_object_agg(h.gpu::text, h.contract_id), '{}'::jsonb)
          from gpu_holds h join contracts c on c.id = h.contract_id
         where h.machine_id = m.id and c.kind <> 'background') as held,
       array(select h.gpu from gpu_holds h join contracts_now c on c.id = h.contract_id
              where h.machine_id = m.id and c.kind in ('ondemand', 'reserved')
             union
             select unnest(s.promised) from standings s
               join contracts_now c on c.id = s.contract_id
              where s.machine_id = m.id and c.kind in ('ondemand', 'reserved')) as firm,
       (select coalesce(sum(c.disk_mb), 0)::bigint
          from live_contracts v join contracts c on c.id = v.id
         where v.machine_id = m.id) as disk_used_mb,
       (select coalesce(sum(c.disk_mb), 0)::bigint
          from volumes v join contracts c on c.id = v.id
         where v.machine_id = m.id and v.gone_at_ms is null) as volumes_rented_mb,
       w.id as volume_listing_id, w.size_mb as volume_size_mb, w.price as volume_price,
       w.platform_fee_ppm as volume_fee_ppm
  from machines m
  left join listings l on l.machine_id = m.id and l.closed_at_ms is null
  left join volume_listings w on w.machine_id = m.id and w.closed_at_ms is null
"""


def everything(tx: Tx) -> list[Sale]:
    """Every machine that is not deleted."""
    rows = tx.all(_SALE + "where m.deleted_at_ms is null order by m.id")
    return _sales(tx, rows)


def of_machines(tx: Tx, machines: Sequence[MachineId]) -> list[Sale]:
    """These machines, deleted or not."""
    rows = tx.all(_SALE + "where m.id = any(%s) order by m.id", list(machines))
    return _sales(tx, rows)


def generations(tx: Tx) -> dict[MachineId, tuple[int, bool]]:
    """The generation of every machine: who compares it with what it knows misses no change."""
    rows = tx.all(
        "select id, generation, seen_at_ms is not null and offline_since_ms is null as heard"
        " from machines"
    )
    return {row["id"]: (row["generation"], row["heard"]) for row in rows}


def _sales(tx: Tx, rows: Sequence[dict[str, Any]]) -> list[Sale]:
    claims = standings.claims_where_bids_are(tx, [MachineId(row["id"]) for row in rows])
    return [_sale(row, tuple(claims.get(MachineId(row["id"]), ()))) for row in rows]


def _sale(row: dict[str, Any], claims: tuple[Claim, ...]) -> Sale:
    hardware = msgspec.convert(row["hardware"], Hardware)
    heard = row["seen_at_ms"] is not None and row["offline_since_ms"] is None
    there = row["deleted_at_ms"] is None and row["listing_id"] is not None
    machine = MachineId(row["id"])
    listed = heard and there
    return Sale(
        machine=machine,
        host=AccountId(row["host_id"]),
        hardware=hardware,
        verification=row["verification"],
        generation=(row["generation"], heard),
        joined_at_ms=row["joined_at_ms"],
        listed_at_ms=row["listed_at_ms"] or row["joined_at_ms"],
        listing=listing_of(row, ListingId(row["listing_id"]), machine) if listed else None,
        held={int(gpu): ContractId(by) for gpu, by in row["held"].items()},
        firm=frozenset(row["firm"]),
        claims=claims,
        disk_free_mb=int(hardware.disk.size_gb * 1_000) - row["disk_used_mb"],
        volumes=_volumes(row) if listed else None,
        volumes_rented_mb=row["volumes_rented_mb"],
    )


def _volumes(row: dict[str, Any]) -> VolumeListing | None:
    if row["volume_listing_id"] is None:
        return None
    return VolumeListing(
        id=row["volume_listing_id"],
        machine=MachineId(row["id"]),
        size_mb=row["volume_size_mb"],
        price=NanoUsdPerGbMonth(row["volume_price"]),
        platform_fee_ppm=row["volume_fee_ppm"],
    )
