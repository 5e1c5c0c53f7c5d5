"""Machines: what their agents report, and the generation of what should be there."""

from typing import Final, LiteralString

import msgspec
from psycopg.types.json import Jsonb

from mercato.control.db import Tx
from mercato.market.hardware import Hardware
from mercato.market.ids import AccountId, MachineId
from mercato.wire.agent import Observed


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """One machine as it is stored."""

    id: MachineId
    host_id: AccountId
    hardware: Hardware
    verification: str
    """`unverified`, `verified` or `deverified`."""
    seen_at_ms: int | None
    """The last proof of life."""
    proven_at_ms: int | None
    """The last of these that says what runs: when the agent could see its containers."""
    observed_generation: int
    agent_boot: str
    agent_version: str
    sees: bool
    trouble: str
    offline_since_ms: int | None
    generation: int
    joined_at_ms: int
    deleted_at_ms: int | None


_COLUMNS: Final[LiteralString] = (
    "id, host_id, hardware, verification, seen_at_ms, proven_at_ms, observed_generation,"
    " agent_boot, agent_version, sees, trouble, offline_since_ms, generation, joined_at_ms,"
    " deleted_at_ms"
)


def create(tx: Tx, host: AccountId, hardware: Hardware, verification: str, now_ms: int) -> Machine:
    """Keep a machine that joined."""
    row = tx.one(
        "insert into machines (host_id, hardware, verification, joined_at_ms)"  # noqa: S608 - the columns are fixed above
        f" values (%s, %s, %s, %s) returning {_COLUMNS}",
        host,
        Jsonb(msgspec.to_builtins(hardware)),
        verification,
        now_ms,
    )
    return msgspec.convert(row, Machine)


def get(tx: Tx, machine: MachineId) -> Machine | None:
    """A machine, deleted or not; None when there never was one."""
    row = tx.one(f"select {_COLUMNS} from machines where id = %s", machine)  # noqa: S608 - the columns are fixed above
    return msgspec.convert(row, Machine) if row else None


def at_front(tx: Tx, machine: MachineId) -> Machine:
    """A machine that exists, once it is this transaction's turn to change what is there."""
    tx.queue(f"machine:{machine}")
    found = get(tx, machine)
    assert found is not None, machine
    return found


def of_host(tx: Tx, host: AccountId) -> list[Machine]:
    """A host's machines, oldest first."""
    rows = tx.all(
        f"select {_COLUMNS} from machines where host_id = %s and deleted_at_ms is null order by id",  # noqa: S608 - the columns are fixed above
        host,
    )
    return [msgspec.convert(row, Machine) for row in rows]


def everyone(tx: Tx) -> list[Machine]:
    """All machines that are not deleted, oldest first."""
    rows = tx.all(f"select {_COLUMNS} from machines where deleted_at_ms is null order by id")  # noqa: S608 - the columns are fixed above
    return [msgspec.convert(row, Machine) for row in rows]


def silent(tx: Tx, before_ms: int) -> list[MachineId]:
    """Machines not heard since `before_ms` that are not yet given up as offline."""
    rows = tx.all(
        "select id from machines where deleted_at_ms is null and offline_since_ms is null"
        " and coalesce(seen_at_ms, joined_at_ms) < %s order by id",
        before_ms,
    )
    return [MachineId(row["id"]) for row in rows]


def changed(tx: Tx, machine: MachineId) -> None:
    """Say that what should be on a machine, or what is on sale there, is not what it was."""
    tx.run("update machines set generation = generation + 1 where id = %s", machine)
    tx.poke(f"machine:{machine}")


def was_changed(tx: Tx, machine: MachineId) -> bool:
    """Whether this transaction changed what should be on a machine."""
    return f"machine:{machine}" in tx.pokes


def saw(tx: Tx, machine: MachineId, observed: Observed, now_ms: int) -> None:
    """Write a proof of life; the machine is not offline."""
    tx.run(
        "update machines set seen_at_ms = %s,"
        " proven_at_ms = case when %s then %s else proven_at_ms end, observed_generation = %s,"
        " agent_boot = %s, agent_version = %s, sees = %s, trouble = %s, offline_since_ms = null"
        " where id = %s",
        now_ms,
        observed.sees,
        now_ms,
        observed.generation,
        observed.boot,
        observed.agent,
        observed.sees,
        observed.trouble,
        machine,
    )


def set_hardware(tx: Tx, machine: MachineId, hardware: Hardware) -> None:
    """Write what the machine is made of now."""
    tx.run(
        "update machines set hardware = %s where id = %s",
        Jsonb(msgspec.to_builtins(hardware)),
        machine,
    )


def set_verification(tx: Tx, machine: MachineId, verification: str) -> None:
    """Write whether the machine is verified."""
    tx.run("update machines set verification = %s where id = %s", verification, machine)


def set_offline(tx: Tx, machine: MachineId, since_ms: int) -> None:
    """Give a machine up as offline since its last proof of life."""
    tx.run("update machines set offline_since_ms = %s where id = %s", since_ms, machine)


def delete(tx: Tx, machine: MachineId, now_ms: int) -> None:
    """Take a machine off the market for good."""
    tx.run("update machines set deleted_at_ms = %s where id = %s", now_ms, machine)
