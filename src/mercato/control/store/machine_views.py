"""What the API shows of machines to their host, joined in one query."""

from typing import Any, LiteralString

import msgspec

from mercato.control.db import Tx
from mercato.market.hardware import Hardware
from mercato.market.ids import AccountId, MachineId
from mercato.market.launch import Launch


class MachineView(msgspec.Struct, frozen=True, kw_only=True):
    """A machine with its open listing, who holds its GPUs and what it earns."""

    id: MachineId
    host_id: AccountId
    hardware: Hardware
    verification: str
    seen_at_ms: int | None
    agent_version: str
    sees: bool
    trouble: str
    offline_since_ms: int | None
    joined_at_ms: int
    listing_id: int | None
    gpu: int | None
    disk: int | None
    up: int | None
    down: int | None
    bid_floor: int | None
    bid_notice_ms: int | None
    bid_run_ms_min: int | None
    bid_uniform: bool | None
    min_chunk: int | None
    end_at_ms: int | None
    duration: str | None
    credit_discount_max: float | None
    volume_price: int | None
    """What is asked for a GB and month of volumes; None when none are let."""
    held: dict[str, str]
    """Kind of contract by GPU index, for every GPU that somebody holds."""
    rentals: int
    """Instances of renters on it that are not destroyed."""
    job: Launch | None
    """What its host runs on it while nobody rents."""
    rentals_resident_mb: int
    gpu_rate: int
    """What its running instances pay an hour."""


_VIEW: LiteralString = """
select m.id, m.host_id, m.hardware, m.verification, m.seen_at_ms, m.agent_version, m.sees,
       m.trouble, m.offline_since_ms, m.joined_at_ms,
       l.id as listing_id, l.gpu, l.disk, l.up, l.down, l.bid_floor, l.min_chunk, l.end_at_ms,
       l.bid_notice_ms, l.bid_run_ms_min, l.bid_uniform,
       l.duration, l.credit_discount_max,
       (select w.price from volume_listings w
         where w.machine_id = m.id and w.closed_at_ms is null) as volume_price,
       (select coalesce(jsonb_object_agg(h.gpu::text, c.kind), '{}'::jsonb)
          from gpu_holds h join contracts_now c on c.id = h.contract_id
         where h.machine_id = m.id) as held,
       (select count(*) from instances i join contracts c on c.id = i.id
         where i.machine_id = m.id and i.destroyed_at_ms is null
           and c.kind <> 'background') as rentals,
       (select i.launch from instances i join contracts c on c.id = i.id
         where i.machine_id = m.id and i.intended <> 'destroyed' and i.destroyed_at_ms is null
           and c.kind = 'background' order by i.id limit 1) as job,
       (select coalesce(sum(c.disk_mb), 0)::bigint
          from live_contracts v join contracts c on c.id = v.id
         where v.machine_id = m.id) as rentals_resident_mb,
       (select coalesce(sum(s.rate), 0)::bigint
          from segments s join contracts c on c.id = s.contract_id
         where c.machine_id = m.id and s.to_ms is null) as gpu_rate
  from machines m
  left join listings l on l.machine_id = m.id and l.closed_at_ms is null
"""


def of_host(tx: Tx, host: AccountId) -> list[MachineView]:
    """The host's machines, oldest first."""
    rows = tx.all(_VIEW + "where m.host_id = %s and m.deleted_at_ms is null order by m.id", host)
    return [_view(row) for row in rows]


def everywhere(tx: Tx) -> list[MachineView]:
    """Every machine of the market, oldest first."""
    return [_view(row) for row in tx.all(_VIEW + "where m.deleted_at_ms is null order by m.id")]


def _view(row: dict[str, Any]) -> MachineView:
    return msgspec.convert(row, MachineView)
