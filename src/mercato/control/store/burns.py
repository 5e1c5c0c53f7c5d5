"""When each account's credit runs dry: an index, so that nobody looks at those that do not."""

import msgspec

from mercato.control.db import Tx
from mercato.market.credit import Thresholds
from mercato.market.ids import AccountId


def write(tx: Tx, account: AccountId, rate: int, act_at_ms: int | None) -> None:
    """Write an account's burn in nano-dollars an hour and when its credit must be looked at."""
    tx.run(
        "insert into burns (account_id, rate, dry_at_ms) values (%s, %s, %s)"
        " on conflict (account_id) do update set rate = excluded.rate,"
        " dry_at_ms = excluded.dry_at_ms",
        account,
        rate,
        act_at_ms,
    )


def thresholds(tx: Tx, account: AccountId) -> Thresholds:
    """At which credit an account wants something done; not what it was told of already."""
    row = tx.one(
        "select case when not told_low then warn_below end as warn_below, top_up_below,"
        " coalesce(top_up_amount, 0) as top_up_amount from burns where account_id = %s",
        account,
    )
    return msgspec.convert(row, Thresholds) if row else Thresholds()


def set_thresholds(tx: Tx, account: AccountId, wanted: Thresholds) -> None:
    """Write at which credit an account wants something done."""
    tx.run(
        "insert into burns (account_id, rate, warn_below, top_up_below, top_up_amount)"
        " values (%s, 0, %s, %s, %s) on conflict (account_id) do update set"
        " warn_below = excluded.warn_below, top_up_below = excluded.top_up_below,"
        " top_up_amount = excluded.top_up_amount, told_low = false",
        account,
        wanted.warn_below,
        wanted.top_up_below,
        wanted.top_up_amount,
    )


def told_low(tx: Tx, account: AccountId) -> bool:
    """Remember that an account was told that it is below its own threshold; False when it was."""
    return (
        tx.run(
            "update burns set told_low = true where account_id = %s and not told_low"
            " and warn_below is not null",
            account,
        )
        > 0
    )


def rose(tx: Tx, account: AccountId, spendable: int) -> None:
    """Have an account told again the next time, when it is above its own threshold."""
    tx.run(
        "update burns set told_low = false where account_id = %s and told_low and warn_below < %s",
        account,
        spendable,
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
