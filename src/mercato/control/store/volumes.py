"""Volumes, and where instances mount them."""

from typing import Final, LiteralString

import msgspec

from mercato.control.db import Tx
from mercato.market.hardware import Hardware
from mercato.market.ids import AccountId, ContractId, MachineId
from mercato.market.volume import Mount, VolumeState, volume_state
from mercato.wire.agent import ObservedVolume


class StoredVolume(msgspec.Struct, frozen=True, kw_only=True):
    """One volume; its size and price stand in its contract."""

    id: ContractId
    renter_id: AccountId
    machine_id: MachineId
    name: str | None
    clone_of: ContractId | None
    deleted_at_ms: int | None
    ready_at_ms: int | None
    message: str
    used_mb: int | None
    gone_at_ms: int | None


_COLUMNS: Final[LiteralString] = (
    "id, renter_id, machine_id, name, clone_of, deleted_at_ms, ready_at_ms, message, used_mb,"
    " gone_at_ms"
)


def create(
    tx: Tx,
    contract: ContractId,
    renter: AccountId,
    machine: MachineId,
    name: str | None,
    clone_of: ContractId | None,
) -> None:
    """Write the volume of a contract just signed."""
    tx.run(
        "insert into volumes (id, renter_id, machine_id, name, clone_of)"
        " values (%s, %s, %s, %s, %s)",
        contract,
        renter,
        machine,
        name,
        clone_of,
    )


def get(tx: Tx, volume: ContractId) -> StoredVolume | None:
    """A volume, whatever became of it."""
    row = tx.one(f"select {_COLUMNS} from volumes where id = %s", volume)  # noqa: S608 - the columns are fixed above
    return msgspec.convert(row, StoredVolume) if row else None


def live_on(tx: Tx, machine: MachineId) -> list[StoredVolume]:
    """Every volume that is, should be, or is being removed from, a machine; oldest first."""
    rows = tx.all(
        f"select {_COLUMNS} from volumes where machine_id = %s and gone_at_ms is null order by id",  # noqa: S608 - the columns are fixed above
        machine,
    )
    return [msgspec.convert(row, StoredVolume) for row in rows]


def live_of(tx: Tx, renter: AccountId) -> list[StoredVolume]:
    """A renter's volumes that were not deleted; oldest first."""
    rows = tx.all(
        f"select {_COLUMNS} from volumes where renter_id = %s"  # noqa: S608 - the columns are fixed above
        " and deleted_at_ms is null order by id",
        renter,
    )
    return [msgspec.convert(row, StoredVolume) for row in rows]


def ended(tx: Tx, now_ms: int) -> list[ContractId]:
    """Volumes past the end of their contract that were not deleted."""
    rows = tx.all(
        "select v.id from volumes v join contracts_now c on c.id = v.id"
        " where v.deleted_at_ms is null and c.end_at_ms <= %s order by v.id",
        now_ms,
    )
    return [ContractId(row["id"]) for row in rows]


def delete(tx: Tx, volume: ContractId, now_ms: int) -> None:
    """Write that it should be no more."""
    tx.run("update volumes set deleted_at_ms = %s where id = %s", now_ms, volume)


def saw(tx: Tx, seen: ObservedVolume, now_ms: int) -> None:
    """Write what a report says of a volume."""
    tx.run(
        "update volumes set ready_at_ms = case when %s then coalesce(ready_at_ms, %s) end,"
        " message = %s, used_mb = %s where id = %s",
        seen.ready,
        now_ms,
        seen.message.replace("\x00", ""),
        seen.used_mb,
        seen.id,
    )


def gone(tx: Tx, volume: ContractId, now_ms: int) -> None:
    """The host has nothing of it any more, and should not."""
    tx.run("update volumes set gone_at_ms = %s where id = %s", now_ms, volume)


# --- What the API shows ---------------------------------------------------------------------------


class VolumeView(msgspec.Struct, frozen=True, kw_only=True):
    """A volume with its contract, its machine and who mounts it."""

    id: ContractId
    name: str | None
    machine_id: MachineId
    host_id: AccountId
    deleted_at_ms: int | None
    ready_at_ms: int | None
    message: str
    used_mb: int | None
    disk_mb: int
    disk_price: int
    signed_at_ms: int
    end_at_ms: int | None
    hardware: Hardware
    verification: str
    offline_since_ms: int | None
    instances: list[int]

    @property
    def state(self) -> VolumeState:
        """What a person sees of it."""
        return volume_state(
            deleted=self.deleted_at_ms is not None,
            gone=False,
            ready=self.ready_at_ms is not None,
            online=self.offline_since_ms is None,
        )


def views(tx: Tx, renter: AccountId) -> list[VolumeView]:
    """A renter's volumes that were not deleted, oldest first."""
    rows = tx.all(
        "select v.id, v.name, v.machine_id, c.host_id, v.deleted_at_ms, v.ready_at_ms, v.message,"
        " v.used_mb, c.disk_mb, c.disk_price, c.signed_at_ms, c.end_at_ms, m.hardware,"
        " m.verification, m.offline_since_ms, array(select distinct i.id from mounts o"
        " join instances i on i.id = o.instance_id where o.volume_id = v.id"
        " and i.intended <> 'destroyed' order by i.id) as instances"
        " from volumes v join contracts_now c on c.id = v.id join machines m on m.id = v.machine_id"
        " where v.renter_id = %s and v.deleted_at_ms is null order by v.id",
        renter,
    )
    return [msgspec.convert(row, VolumeView) for row in rows]


# --- Mounts ---------------------------------------------------------------------------------------


def mount(tx: Tx, instance: ContractId, mounts: tuple[Mount, ...]) -> None:
    """Write what an instance mounts, in the place of what it did."""
    tx.run("delete from mounts where instance_id = %s", instance)
    for one in mounts:
        tx.run(
            "insert into mounts (instance_id, volume_id, path) values (%s, %s, %s)",
            instance,
            one.volume,
            one.path,
        )


def mounts_of(tx: Tx, instances: list[ContractId]) -> dict[ContractId, list[Mount]]:
    """What each instance mounts."""
    found: dict[ContractId, list[Mount]] = {instance: [] for instance in instances}
    for row in tx.all(
        "select instance_id, volume_id, path from mounts where instance_id = any(%s) order by path",
        instances,
    ):
        found[row["instance_id"]].append(Mount(volume=row["volume_id"], path=row["path"]))
    return found


def used_by(tx: Tx, volume: ContractId) -> list[ContractId]:
    """The instances that mount a volume and were not told to end."""
    rows = tx.all(
        "select i.id from mounts m join instances i on i.id = m.instance_id"
        " where m.volume_id = %s and i.intended <> 'destroyed' order by i.id",
        volume,
    )
    return [ContractId(row["id"]) for row in rows]
