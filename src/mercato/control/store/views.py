"""What the API shows of instances: everything about each, joined in one query."""

from typing import Any, LiteralString

import msgspec

from mercato.control.db import Tx
from mercato.market.contract import Kind
from mercato.market.hardware import Hardware
from mercato.market.ids import AccountId, ContractId
from mercato.market.instance import Actual, Facts, Intended, Reason, State, state_of
from mercato.market.launch import Launch
from mercato.market.money import NanoUsdPerHour, accrued
from mercato.wire.agent import Usage


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """A meter that draws on a deposit now."""

    rate: NanoUsdPerHour
    from_ms: int
    posted: int


class InstanceView(msgspec.Struct, frozen=True, kw_only=True):
    """An instance with its contract, its machine and its template."""

    id: ContractId
    renter_id: AccountId
    host_id: AccountId
    machine_id: int
    label: str | None
    launch: Launch
    sealed: bytes | None
    """Its environment, for the holder of the data key."""
    template_id: int | None
    template_hash: str | None
    template_name: str | None
    jupyter_token: str
    intended: Intended
    reason: Reason
    intended_at_ms: int
    actual: Actual
    actual_at_ms: int | None
    message: str
    started_at_ms: int | None
    exit_code: int | None
    ports: dict[str, int]
    usage: Usage
    up_bytes: int
    down_bytes: int
    kind: Kind
    gpus: list[int]
    gpu_rate: int
    disk_price: int
    up_price: int
    down_price: int
    disk_mb: int
    platform_fee_ppm: int
    end_at_ms: int | None
    signed_at_ms: int
    bid_floor: int
    credit_discount_max: float
    discount_ppb: int | None
    """What prepaying saves, in billionths; None when nothing is prepaid."""
    deposit: int | None
    drawn: list[Drawn]
    hardware: Hardware
    verification: str
    offline_since_ms: int | None
    held: int
    """How many GPUs it holds now."""
    ssh_key_ids: list[int]
    mounts: list[dict[str, Any]]
    """Volume id, path and size in megabytes of each volume it mounts."""
    account_variables: list[str]
    """Names of the renter's own variables: their values are shown to nobody."""
    reschedule: bool
    gpu_price: int | None
    """What an hour of its GPUs costs now; None while it is not to run."""
    yields_at_ms: int | None
    pausing: bool
    displaced_by: list[int]
    position: int
    standing: str
    """How it stands in the auction, for a person."""
    promised: list[int] | None
    starts_by_ms: int | None
    """When the GPUs that it is promised are free at the latest, as far as that is known."""

    def deposit_left(self, now_ms: int) -> int | None:
        """What is left of what was prepaid; None when nothing is."""
        if self.deposit is None:
            return None
        run_up = [
            accrued(one.rate, max(0, now_ms - one.from_ms)) - one.posted for one in self.drawn
        ]
        return max(0, self.deposit - sum(max(0, amount) for amount in run_up))

    @property
    def state(self) -> State:
        """What a person sees of it."""
        return state_of(
            Facts(
                intended=self.intended,
                actual=self.actual,
                holds_gpus=self.held > 0,
                machine_online=self.offline_since_ms is None,
                pausing=self.pausing,
            )
        )


_VIEW: LiteralString = """
select i.id, i.renter_id, c.host_id, i.machine_id, i.label, i.launch, i.sealed, i.template_id,
       i.template_hash, t.name as template_name, i.jupyter_token, i.intended, i.reason,
       i.intended_at_ms, i.actual, i.actual_at_ms, i.message, i.started_at_ms, i.exit_code,
       i.ports, i.usage, i.up_bytes, i.down_bytes, c.kind,
       coalesce(i.gpus, c.gpus) as gpus, c.gpu_rate, c.disk_price,
       c.up_price, c.down_price, c.disk_mb, c.platform_fee_ppm, c.end_at_ms, c.signed_at_ms,
       l.bid_floor, l.credit_discount_max, d.discount_ppb,
       case when d.contract_id is not null then
            (select p.balance from purses p where p.name = 'deposit:' || i.id) end as deposit,
       (select coalesce(jsonb_agg(jsonb_build_object(
                   'rate', s.rate, 'from_ms', s.from_ms, 'posted', s.posted)), '[]'::jsonb)
          from segments s where s.contract_id = i.id and s.to_ms is null and s.prepaid) as drawn,
       m.hardware, m.verification, m.offline_since_ms,
       (select count(*) from gpu_holds h where h.contract_id = i.id) as held,
       array(select k.ssh_key_id from instance_ssh_keys k where k.contract_id = i.id
             order by k.ssh_key_id) as ssh_key_ids,
       (select coalesce(jsonb_agg(jsonb_build_object('volume', o.volume_id, 'path', o.path,
                                                     'mb', d.disk_mb) order by o.path), '[]')
          from mounts o join contracts_now d on d.id = o.volume_id
         where o.instance_id = i.id) as mounts,
       array(select s.name from secrets s where s.account_id = i.renter_id) as account_variables,
       i.reschedule, r.price as gpu_price, r.yields_at_ms, coalesce(r.pausing, false) as pausing,
       coalesce(r.displaced_by, '{}') as displaced_by, coalesce(r.position, 0) as position,
       coalesce(r.message, '') as standing, r.promised,
       (select max(o.yields_at_ms) from gpu_holds h join standings o
            on o.contract_id = h.contract_id
         where h.machine_id = i.machine_id and h.gpu = any (r.promised)) as starts_by_ms
  from instances i
  join contracts_now c on c.id = i.id
  join machines m on m.id = i.machine_id
  join listings l on l.id = c.listing_id
  left join deposits d on d.contract_id = i.id
  left join standings r on r.contract_id = i.id
  left join templates t on t.id = i.template_id
"""


def instances(tx: Tx, renter: AccountId) -> list[InstanceView]:
    """The renter's instances that are not destroyed, oldest first."""
    rows = tx.all(
        _VIEW + "where i.renter_id = %s and i.intended <> 'destroyed'"
        " and i.destroyed_at_ms is null order by i.id",
        renter,
    )
    return [_view(row) for row in rows]


def instance(tx: Tx, renter: AccountId, contract: int) -> InstanceView | None:
    """One of the renter's instances; None when there is none, or no longer."""
    row = tx.one(
        _VIEW + "where i.id = %s and i.renter_id = %s and i.intended <> 'destroyed'"
        " and i.destroyed_at_ms is null",
        contract,
        renter,
    )
    return _view(row) if row else None


def _view(row: dict[str, Any]) -> InstanceView:
    return msgspec.convert(row, InstanceView)


def states(tx: Tx) -> dict[str, int]:
    """How many instances are in each state; the destroyed ones are not counted."""
    rows = tx.all(
        "select i.intended, i.actual, m.offline_since_ms is null as online,"
        " exists (select from gpu_holds h where h.contract_id = i.id) as holds,"
        " coalesce(s.pausing, false) as pausing, count(*) as number"
        " from instances i join machines m on m.id = i.machine_id"
        " left join standings s on s.contract_id = i.id"
        " where i.destroyed_at_ms is null group by 1, 2, 3, 4, 5"
    )
    found: dict[str, int] = {}
    for row in rows:
        facts = Facts(
            intended=Intended(row["intended"]),
            actual=Actual(row["actual"]),
            holds_gpus=row["holds"],
            machine_online=row["online"],
            pausing=row["pausing"],
        )
        label = state_of(facts).label
        found[label] = found.get(label, 0) + row["number"]
    return found
