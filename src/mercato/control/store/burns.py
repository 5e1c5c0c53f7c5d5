"""When each account's credit runs dry: an index, so that nobody looks at those that do not."""

from mercato.control.db import Tx
from mercato.market.ids import AccountId


def write(tx: Tx, account: AccountId, rate: int, dry_at_ms: int | None) -> None:
    """Write an account's burn in nano-dollars an hour and when it will have nothing left."""
    tx.run(
        "insert into burns (account_id, rate, dry_at_ms) values (%s, %s, %s)"
        " on conflict (account_id) do update set rate = excluded.rate,"
        " dry_at_ms = excluded.dry_at_ms",
        account,
        rate,
        dry_at_ms,
    )


def drying(tx: Tx, before_ms: int) -> list[AccountId]:
    """Accounts that have nothing left before a time, the first to run dry first."""
    rows = tx.all(
        "select account_id from burns where dry_at_ms <= %s order by dry_at_ms, account_id",
        before_ms,
    )
    return [AccountId(row["account_id"]) for row in rows]


def warned_at_ms(tx: Tx, account: AccountId) -> int | None:
    """When the account was last warned; None when it need not be."""
    row = tx.one("select warned_at_ms from burns where account_id = %s", account)
    return row["warned_at_ms"] if row else None


def warn(tx: Tx, account: AccountId, at_ms: int | None) -> None:
    """Remember a warning, or, with None, that there is nothing to warn of any more."""
    tx.run("update burns set warned_at_ms = %s where account_id = %s", at_ms, account)


def warned_without_cause(tx: Tx, after_ms: int) -> list[AccountId]:
    """Accounts that were warned and have enough again."""
    rows = tx.all(
        "select account_id from burns where warned_at_ms is not null"
        " and (dry_at_ms is null or dry_at_ms > %s) order by account_id",
        after_ms,
    )
    return [AccountId(row["account_id"]) for row in rows]
