"""Purses: the balances of accounts. Those of the platform are sums of transfers, not rows."""

from typing import Final

from mercato.control.db import Tx
from mercato.market.ids import AccountId

FUNDING: Final = "funding"
"""Money from outside, given by the operator or paid in."""

FEES: Final = "fees"
"""What the platform keeps."""


def credit_of(account: AccountId) -> str:
    """Name of the purse from which an account pays what it rents."""
    return f"credit:{account}"


def earnings_of(account: AccountId) -> str:
    """Name of the purse into which an account receives what it lets."""
    return f"earnings:{account}"


def add(tx: Tx, name: str, amount: int) -> None:
    """Change a purse by `amount`; ledger accounts of the platform have none.

    Raises:
        psycopg.errors.CheckViolation: when the purse would fall below its floor: the caller
            should have asked first.
    """
    kind, _, account = name.partition(":")
    if kind not in {"credit", "earnings"}:
        return
    touched = tx.run("update purses set balance = balance + %s where name = %s", amount, name)
    if not touched:
        tx.run(
            "insert into purses (name, account_id, balance) values (%s, %s, %s)",
            name,
            int(account),
            amount,
        )


def balance(tx: Tx, name: str) -> int:
    """What is in a purse; 0 when it was never used."""
    row = tx.one("select balance from purses where name = %s", name)
    return int(row["balance"]) if row else 0


def everything(tx: Tx) -> dict[str, int]:
    """Every purse and what is in it."""
    return {row["name"]: row["balance"] for row in tx.all("select name, balance from purses")}
