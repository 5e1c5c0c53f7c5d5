"""What happened and why, for the people it concerns."""

import msgspec

from mercato.control.db import Tx
from mercato.market.ids import AccountId, ContractId, MachineId


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened."""

    account_id: AccountId
    """Whom it concerns."""
    kind: str
    """`instance_rented`, `instance_stopped`, `credit_low`, `machine_offline`, …"""
    message: str
    at_ms: int
    reason: str = ""
    contract_id: ContractId | None = None
    machine_id: MachineId | None = None


def record(tx: Tx, event: Event) -> None:
    """Remember that something happened."""
    tx.run(
        "insert into events (account_id, contract_id, machine_id, kind, reason, message, at_ms)"
        " values (%s, %s, %s, %s, %s, %s, %s)",
        event.account_id,
        event.contract_id,
        event.machine_id,
        event.kind,
        event.reason,
        event.message,
        event.at_ms,
    )


def of_contract(tx: Tx, contract: ContractId) -> list[Event]:
    """What happened to an instance, in order."""
    rows = tx.all(
        "select account_id, contract_id, machine_id, kind, reason, message, at_ms from events"
        " where contract_id = %s order by id",
        contract,
    )
    return [msgspec.convert(row, Event) for row in rows]


def of_account(tx: Tx, account: AccountId, limit: int) -> list[Event]:
    """What happened to an account lately, the latest first."""
    rows = tx.all(
        "select account_id, contract_id, machine_id, kind, reason, message, at_ms from events"
        " where account_id = %s order by id desc limit %s",
        account,
        limit,
    )
    return [msgspec.convert(row, Event) for row in rows]
