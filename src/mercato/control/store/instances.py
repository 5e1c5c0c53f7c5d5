"""Instances: what should be, written by renter and market; what is, written from reports."""

from typing import Any, Final, LiteralString

import msgspec
from psycopg.types.json import Jsonb

from mercato.control.db import Tx
from mercato.market.ids import AccountId, ContractId, MachineId, SshKeyId, TemplateId
from mercato.market.instance import Actual, Intended, Reason
from mercato.market.launch import Launch
from mercato.wire.agent import ObservedInstance, Usage


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One instance as it is stored."""

    id: ContractId
    renter_id: AccountId
    machine_id: MachineId
    label: str | None
    launch: Launch
    """Without its secrets: no environment, no registry login."""
    sealed: bytes | None
    """The environment and the login, for the holder of the data key."""
    template_id: TemplateId | None
    template_hash: str | None
    jupyter_token: str
    bills_loading: bool
    """Whether GPU time begins as its host loads it."""
    intended: Intended
    reason: Reason
    intended_at_ms: int
    revision: int
    boots: int
    actual: Actual
    actual_at_ms: int | None
    actual_revision: int
    actual_boots: int
    message: str
    started_at_ms: int | None
    exit_code: int | None
    ports: dict[str, int]
    usage: Usage
    up_bytes: int
    down_bytes: int
    up_bytes_posted: int
    down_bytes_posted: int
    destroyed_at_ms: int | None
    reschedule: bool
    """It may come back on any equal GPUs of its machine."""
    gpus: tuple[int, ...] | None
    """Where it runs or ran last, when not on the GPUs of its contract."""

    @property
    def runs_as_wanted(self) -> bool:
        """Whether the last report is of the container that is wanted, not of an older one."""
        return self.actual_revision >= self.revision and self.actual_boots >= self.boots


_COLUMNS: Final[LiteralString] = (
    "id, renter_id, machine_id, label, launch, sealed, template_id, template_hash, jupyter_token,"
    " bills_loading,"
    " intended, reason, intended_at_ms, revision, boots, actual, actual_at_ms, actual_revision,"
    " actual_boots, message, started_at_ms, exit_code, ports, usage, up_bytes, down_bytes,"
    " up_bytes_posted, down_bytes_posted, destroyed_at_ms, reschedule, gpus"
)


def create(  # noqa: PLR0913 - one argument for each column
    tx: Tx,
    contract: ContractId,
    *,
    renter: AccountId,
    machine: MachineId,
    label: str | None,
    launch: Launch,
    sealed: bytes,
    template: tuple[TemplateId, str] | None,
    jupyter_token: str,
    bills_loading: bool,
    intended: Intended,
    now_ms: int,
) -> None:
    """Write the instance of a contract just signed."""
    tx.run(
        "insert into instances (id, renter_id, machine_id, label, launch, sealed, template_id,"
        " template_hash, jupyter_token, bills_loading, intended, reason, intended_at_ms)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        contract,
        renter,
        machine,
        label,
        Jsonb(msgspec.to_builtins(launch)),
        sealed,
        template and template[0],
        template and template[1],
        jupyter_token,
        bills_loading,
        intended.value,
        Reason.RENTED.value,
        now_ms,
    )


def get(tx: Tx, contract: ContractId) -> Instance | None:
    """An instance, whatever became of it."""
    row = tx.one(f"select {_COLUMNS} from instances where id = %s", contract)  # noqa: S608 - the columns are fixed above
    return _instance(row) if row else None


def live_on(tx: Tx, machine: MachineId) -> list[Instance]:
    """Everything that is, or should be, or is being removed from, a machine; oldest first."""
    rows = tx.all(
        f"select {_COLUMNS} from instances where machine_id = %s"  # noqa: S608 - the columns are fixed above
        " and destroyed_at_ms is null order by id",
        machine,
    )
    return [_instance(row) for row in rows]


def live_of(tx: Tx, renter: AccountId) -> list[Instance]:
    """Everything a renter has that was not told to be destroyed; oldest first."""
    rows = tx.all(
        f"select {_COLUMNS} from instances where renter_id = %s and intended <> 'destroyed'"  # noqa: S608 - the columns are fixed above
        " and destroyed_at_ms is null order by id",
        renter,
    )
    return [_instance(row) for row in rows]


def with_unposted_bytes(tx: Tx) -> list[ContractId]:
    """Instances that moved bytes for which nothing was charged yet."""
    rows = tx.all(
        "select id from instances where up_bytes > up_bytes_posted"
        " or down_bytes > down_bytes_posted order by id"
    )
    return [ContractId(row["id"]) for row in rows]


def intend(tx: Tx, contract: ContractId, intended: Intended, reason: Reason, now_ms: int) -> None:
    """Write what should be, and why."""
    tx.run(
        "update instances set intended = %s, reason = %s, intended_at_ms = %s where id = %s",
        intended.value,
        reason.value,
        now_ms,
        contract,
    )


def boot_again(tx: Tx, contract: ContractId) -> None:
    """Have the container started anew."""
    tx.run("update instances set boots = boots + 1 where id = %s", contract)


def make_again(tx: Tx, contract: ContractId) -> None:
    """Have the container made anew."""
    tx.run("update instances set revision = revision + 1 where id = %s", contract)


def relaunch(
    tx: Tx,
    contract: ContractId,
    launch: Launch,
    sealed: bytes,
    template: tuple[TemplateId, str] | None,
) -> None:
    """Write another launch; the caller has the container made anew."""
    tx.run(
        "update instances set launch = %s, sealed = %s, template_id = %s, template_hash = %s"
        " where id = %s",
        Jsonb(msgspec.to_builtins(launch)),
        sealed,
        template and template[0],
        template and template[1],
        contract,
    )


def move(tx: Tx, contract: ContractId, gpus: tuple[int, ...]) -> None:
    """Write on which GPUs it runs from now on; its container is made anew there."""
    tx.run("update instances set gpus = %s where id = %s", list(gpus), contract)


def set_reschedule(tx: Tx, contract: ContractId, *, anywhere: bool) -> None:
    """Write whether it may come back on any equal GPUs of its machine."""
    tx.run("update instances set reschedule = %s where id = %s", anywhere, contract)


def relabel(tx: Tx, contract: ContractId, label: str | None) -> None:
    """Write the renter's own name for it."""
    tx.run("update instances set label = %s where id = %s", label, contract)


def saw(tx: Tx, seen: ObservedInstance, now_ms: int) -> None:
    """Write what a report says of an instance; byte counts never fall."""
    tx.run(
        "update instances set actual_at_ms = case when actual = %s then actual_at_ms else %s end,"
        " actual = %s, actual_revision = %s, actual_boots = %s, message = %s, started_at_ms = %s,"
        " exit_code = %s, ports = %s, usage = %s, up_bytes = greatest(up_bytes, %s),"
        " down_bytes = greatest(down_bytes, %s) where id = %s",
        seen.actual.value,
        now_ms,
        seen.actual.value,
        seen.revision,
        seen.boots,
        seen.message.replace("\x00", ""),
        seen.started_at_ms,
        seen.exit_code,
        Jsonb(seen.ports),
        Jsonb(msgspec.to_builtins(seen.usage)),
        seen.up_bytes,
        seen.down_bytes,
        seen.id,
    )


def gone(tx: Tx, contract: ContractId, now_ms: int) -> None:
    """The host has nothing of it any more, and should not."""
    tx.run(
        "update instances set destroyed_at_ms = %s where id = %s and destroyed_at_ms is null",
        now_ms,
        contract,
    )


def posted_bytes(tx: Tx, contract: ContractId, up_bytes: int, down_bytes: int) -> None:
    """Write up to which byte has been charged."""
    tx.run(
        "update instances set up_bytes_posted = %s, down_bytes_posted = %s where id = %s",
        up_bytes,
        down_bytes,
        contract,
    )


def ssh_keys(tx: Tx, contracts: list[ContractId]) -> dict[ContractId, list[str]]:
    """The public keys that open each, in the order in which they were attached."""
    found: dict[ContractId, list[str]] = {contract: [] for contract in contracts}
    for row in tx.all(
        "select contract_id, public_key from instance_ssh_keys where contract_id = any(%s)"
        " order by ssh_key_id",
        contracts,
    ):
        found[row["contract_id"]].append(row["public_key"])
    return found


def attach_account_keys(tx: Tx, contract: ContractId, account: AccountId) -> None:
    """Copy an account's SSH keys to an instance."""
    tx.run(
        "insert into instance_ssh_keys (contract_id, ssh_key_id, public_key)"
        " select %s, id, public_key from ssh_keys where account_id = %s and deleted_at_ms is null"
        " on conflict do nothing",
        contract,
        account,
    )


def attach_key(tx: Tx, contract: ContractId, key: SshKeyId, public_key: str) -> None:
    """Let one more key in; again is no harm."""
    tx.run(
        "insert into instance_ssh_keys (contract_id, ssh_key_id, public_key) values (%s, %s, %s)"
        " on conflict do nothing",
        contract,
        key,
        public_key,
    )


def detach_key(tx: Tx, contract: ContractId, key: SshKeyId) -> bool:
    """Shut one key out; False when it was not let in."""
    return (
        tx.run(
            "delete from instance_ssh_keys where contract_id = %s and ssh_key_id = %s",
            contract,
            key,
        )
        > 0
    )


def forget_before(tx: Tx, before_ms: int) -> int:
    """Delete the details of instances destroyed before; contracts and money stay for ever."""
    tx.run(
        "delete from instance_ssh_keys k using instances i where i.id = k.contract_id"
        " and i.destroyed_at_ms < %s",
        before_ms,
    )
    return tx.run("delete from instances where destroyed_at_ms < %s", before_ms)


def _instance(row: dict[str, Any]) -> Instance:
    return msgspec.convert(row, Instance)
