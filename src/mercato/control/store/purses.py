"""Purses: the balances of accounts. Those of the platform are sums of transfers, not rows."""

from mercato.control.db import Tx
from mercato.market.ids import AccountId
from mercato.market.ledger import has_floor


def add(tx: Tx, name: str, amount: int, concerns: AccountId | None) -> None:
    """Change a purse by `amount`; those of the platform are not kept.

    A deposit, which is named after its contract, belongs to the account that it `concerns`.

    Raises:
        psycopg.errors.CheckViolation: when the purse would fall below its floor: the caller
            should have asked first.
    """
    if not has_floor(name):
        return
    touched = tx.run("update purses set balance = balance + %s where name = %s", amount, name)
    if not touched:
        kind, _, number = name.partition(":")
        tx.run(
            "insert into purses (name, account_id, balance) values (%s, %s, %s)",
            name,
            concerns if kind == "deposit" else int(number),
            amount,
        )


def balance(tx: Tx, name: str) -> int:
    """What is in a purse; 0 when it was never used."""
    row = tx.one("select balance from purses where name = %s", name)
    return int(row["balance"]) if row else 0


def everything(tx: Tx) -> dict[str, int]:
    """Every purse and what is in it."""
    return {row["name"]: row["balance"] for row in tx.all("select name, balance from purses")}
