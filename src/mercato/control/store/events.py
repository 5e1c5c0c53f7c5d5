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
    """Remember that something happened, and have those told who asked to be."""
    told = tx.run(
        "with happened as (insert into events"
        " (account_id, contract_id, machine_id, kind, reason, message, at_ms)"
        " values (%s, %s, %s, %s, %s, %s, %s) returning id, account_id, kind, at_ms)"
        " insert into notices (webhook_id, event_id, next_at_ms, created_at_ms)"
        " select w.id, h.id, h.at_ms, h.at_ms from happened h join webhooks w"
        " on w.account_id = h.account_id and w.deleted_at_ms is null"
        " and (w.kinds = '{}' or h.kind = any (w.kinds))",
        event.account_id,
        event.contract_id,
        event.machine_id,
        event.kind,
        event.reason,
        event.message,
        event.at_ms,
    )
    if told:
        tx.poke("loop:webhooks")


def of_contract(tx: Tx, contract: ContractId) -> list[Event]:
    """What happened to an instance, in order."""
    rows = tx.all(
        "select account_id, contract_id, machine_id, kind, reason, message, at_ms from events"
        " where contract_id = %s order by id",
        contract,
    )
    return [msgspec.convert(row, Event) for row in rows]


def happened(tx: Tx, contract: ContractId, kind: str) -> bool:
    """Whether something of a kind has happened to an instance."""
    query = "select from events where contract_id = %s and kind = %s limit 1"
    return tx.one(query, contract, kind) is not None


class Recorded(Event, frozen=True, kw_only=True):
    """One thing that happened, with its number."""

    id: int


def page(tx: Tx, account: AccountId, before: int | None, limit: int) -> list[Recorded]:
    """What happened to an account before a number, the latest first."""
    rows = tx.all(
        "select id, account_id, contract_id, machine_id, kind, reason, message, at_ms from events"
        " where account_id = %s and (%s::bigint is null or id < %s) order by id desc limit %s",
        account,
        before,
        before,
        limit,
    )
    return [msgspec.convert(row, Recorded) for row in rows]


def of_account(tx: Tx, account: AccountId, limit: int) -> list[Event]:
    """What happened to an account lately, the latest first."""
    rows = tx.all(
        "select account_id, contract_id, machine_id, kind, reason, message, at_ms from events"
        " where account_id = %s order by id desc limit %s",
        account,
        limit,
    )
    return [msgspec.convert(row, Event) for row in rows]
