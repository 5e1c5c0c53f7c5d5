"""The ledger: immutable transfers, each named by what caused it."""

from psycopg.types.json import Jsonb

from mercato.control.db import Tx
from mercato.control.store import purses
from mercato.market.ledger import Transfer


def move(tx: Tx, transfer: Transfer) -> bool:
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
    purses.add(tx, transfer.debit, -transfer.amount, transfer.account_id)
    purses.add(tx, transfer.credit, transfer.amount, transfer.account_id)
    return True


def moved(tx: Tx, cause: str) -> bool:
    """Whether a cause has moved money."""
    return tx.one("select from transfers where cause = %s", cause) is not None


def sums(tx: Tx) -> dict[str, int]:
    """What every ledger account has received less what it gave; they sum to zero by nature."""
    rows = tx.all(
        "select name, sum(amount)::bigint as amount from ("
        " select credit as name, amount from transfers"
        " union all select debit, -amount from transfers) moves group by name"
    )
    return {row["name"]: row["amount"] for row in rows}
