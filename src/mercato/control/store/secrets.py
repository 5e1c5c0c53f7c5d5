"""Environment variables of accounts, kept encrypted; who may decrypt them is decided above."""

from mercato.control.db import Tx
from mercato.market.ids import AccountId


def of_account(tx: Tx, account: AccountId) -> dict[str, bytes]:
    """Encrypted values by name."""
    rows = tx.all(
        "select name, value_encrypted from secrets where account_id = %s order by name", account
    )
    return {row["name"]: bytes(row["value_encrypted"]) for row in rows}


def create(tx: Tx, account: AccountId, name: str, value_encrypted: bytes, now_ms: int) -> bool:
    """Keep a new variable; False when there is one of that name."""
    return (
        tx.run(
            "insert into secrets (account_id, name, value_encrypted, updated_at_ms)"
            " values (%s, %s, %s, %s) on conflict do nothing",
            account,
            name,
            value_encrypted,
            now_ms,
        )
        > 0
    )


def update(tx: Tx, account: AccountId, name: str, value_encrypted: bytes, now_ms: int) -> bool:
    """Change a variable; False when there is none of that name."""
    return (
        tx.run(
            "update secrets set value_encrypted = %s, updated_at_ms = %s"
            " where account_id = %s and name = %s",
            value_encrypted,
            now_ms,
            account,
            name,
        )
        > 0
    )


def delete(tx: Tx, account: AccountId, name: str) -> bool:
    """Forget a variable; False when there is none of that name."""
    return tx.run("delete from secrets where account_id = %s and name = %s", account, name) > 0
