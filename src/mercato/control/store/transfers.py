"""The ledger: immutable transfers, each named by what caused it."""

from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from mercato.control.db import Tx
from mercato.control.store import purses
from mercato.market.ids import AccountId, Cause, ContractId
from mercato.market.money import NanoUsd


class StoredTransfer(msgspec.Struct, frozen=True, kw_only=True):
    """Money that moved from one ledger account to another."""

    cause: Cause
    debit: str
    """Which ledger account gave."""
    credit: str
    """Which received."""
    amount: NanoUsd
    kind: str
    """`charge`, `fee`, `credit`, `transfer`, `goodwill`."""
    account_id: AccountId | None
    """Whom it concerns."""
    contract_id: ContractId | None
    at_ms: int
    about: dict[str, Any] = {}


def move(tx: Tx, transfer: StoredTransfer) -> bool:
    """Move money, once for each cause; False when this cause has moved it before."""
    assert transfer.amount > 0, transfer
    written = tx.run(
        "insert into transfers (cause, debit, credit, amount, kind, account_id, contract_id,"
        " at_ms, about) values (%s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
        transfer.cause,
        transfer.debit,
        transfer.credit,
        transfer.amount,
        transfer.kind,
        transfer.account_id,
        transfer.contract_id,
        transfer.at_ms,
        Jsonb(transfer.about),
    )
    if not written:
        return False
    purses.add(tx, transfer.debit, -transfer.amount)
    purses.add(tx, transfer.credit, transfer.amount)
    return True


def of_account(tx: Tx, account: AccountId, from_ms: int, to_ms: int) -> list[StoredTransfer]:
    """What moved on an account's behalf in a time range, oldest first."""
    rows = tx.all(
        "select cause, debit, credit, amount, kind, account_id, contract_id, at_ms, about"
        " from transfers where (debit in (%s, %s) or credit in (%s, %s))"
        " and at_ms >= %s and at_ms < %s order by at_ms, cause",
        purses.credit_of(account),
        purses.earnings_of(account),
        purses.credit_of(account),
        purses.earnings_of(account),
        from_ms,
        to_ms,
    )
    return [msgspec.convert(row, StoredTransfer) for row in rows]


def sums(tx: Tx) -> dict[str, int]:
    """What every ledger account has received less what it gave; they sum to zero by nature."""
    rows = tx.all(
        "select name, sum(amount)::bigint as amount from ("
        " select credit as name, amount from transfers"
        " union all select debit, -amount from transfers) moves group by name"
    )
    return {row["name"]: row["amount"] for row in rows}
