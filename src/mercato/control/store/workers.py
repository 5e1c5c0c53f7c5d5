"""Workers: the instances that serve endpoints, and what the engine must know of each."""

from typing import Final, LiteralString

import msgspec

from mercato.control.db import Tx
from mercato.control.store.api_keys import digest
from mercato.market.contract import Kind
from mercato.market.hardware import Hardware
from mercato.market.ids import AccountId, ContractId, MachineId
from mercato.market.instance import Actual, Facts, Intended, State, state_of
from mercato.serverless.endpoint import EndpointId, GroupId


class StoredWorker(msgspec.Struct, frozen=True, kw_only=True):
    """One worker with its instance and its machine."""

    id: ContractId
    account_id: AccountId
    group_id: GroupId
    endpoint_id: EndpointId
    version: int
    """Of the group, when it was made or last updated."""
    token_hash: bytes
    reason: str
    """Why it was recruited."""
    created_at_ms: int
    machine_id: MachineId
    hardware: Hardware
    gpus: list[int]
    kind: Kind
    gpu_rate: int
    listed_gpu: int
    """What one of its GPUs cost on demand when it was rented, as its host asked."""
    platform_fee_ppm: int
    disk_price: int
    disk_mb: int
    intended: Intended
    actual: Actual
    started_at_ms: int | None
    message: str
    held: int
    online: bool
    pausing: bool
    """It was outbid, its notice has ended, and it is being stopped."""
    leaves: bool
    """It was outbid, whether its notice has ended or not."""

    @property
    def state(self) -> State:
        """What a person sees of its instance."""
        return state_of(
            Facts(
                intended=self.intended,
                actual=self.actual,
                holds_gpus=self.held > 0,
                machine_online=self.online,
                pausing=self.pausing,
            )
        )


_VIEW: Final[LiteralString] = """
select w.id, i.renter_id as account_id, w.group_id, g.endpoint_id, w.version, w.token_hash,
       w.reason, w.created_at_ms, i.machine_id, m.hardware, c.gpus, c.kind, c.gpu_rate,
       l.gpu as listed_gpu, c.platform_fee_ppm, c.disk_price, c.disk_mb, i.intended, i.actual,
       i.started_at_ms, i.message,
       (select count(*) from gpu_holds h where h.contract_id = w.id) as held,
       m.offline_since_ms is null as online,
       coalesce(s.pausing, false) as pausing, s.pauses_at_ms is not null as leaves
  from workers w
  join worker_groups g on g.id = w.group_id
  join instances i on i.id = w.id
  join contracts_now c on c.id = w.id
  join listings l on l.id = c.listing_id
  join machines m on m.id = i.machine_id
  left join standings s on s.contract_id = w.id
 where i.destroyed_at_ms is null and i.intended <> 'destroyed'
"""


def create(
    tx: Tx, instance: ContractId, group: GroupId, version: int, token: str, reason: str, now_ms: int
) -> None:
    """Write that an instance just rented is a worker of a group."""
    tx.run(
        "insert into workers (id, group_id, version, token_hash, reason, created_at_ms)"
        " values (%s, %s, %s, %s, %s, %s)",
        instance,
        group,
        version,
        digest(token),
        reason,
        now_ms,
    )


def renewed(tx: Tx, worker: ContractId, version: int, token: str) -> None:
    """Write that a worker is made anew for another version of its group."""
    tx.run(
        "update workers set version = %s, token_hash = %s where id = %s",
        version,
        digest(token),
        worker,
    )


def get(tx: Tx, worker: ContractId) -> StoredWorker | None:
    """A worker that was not told to end."""
    row = tx.one(_VIEW + " and w.id = %s", worker)
    return msgspec.convert(row, StoredWorker) if row else None


def everything(tx: Tx) -> list[StoredWorker]:
    """Every worker of the market that was not told to end; oldest first."""
    return [msgspec.convert(row, StoredWorker) for row in tx.all(_VIEW + " order by w.id")]


def of_group(tx: Tx, group: GroupId) -> list[StoredWorker]:
    """A group's workers, oldest first."""
    rows = tx.all(_VIEW + " and w.group_id = %s order by w.id", group)
    return [msgspec.convert(row, StoredWorker) for row in rows]


def count(tx: Tx, endpoint: EndpointId) -> int:
    """How many workers of an endpoint were not told to end."""
    row = tx.one(
        "select count(*) as n from workers w"
        " join worker_groups g on g.id = w.group_id join instances i on i.id = w.id"
        " where g.endpoint_id = %s and g.deleted_at_ms is null"
        " and i.destroyed_at_ms is null and i.intended <> 'destroyed'",
        endpoint,
    )
    assert row is not None
    return int(row["n"])
