"""Answers kept for clients that repeat a change because they lost its answer."""

import msgspec

from mercato.control.db import Tx
from mercato.market.ids import AccountId


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What the first request of a key came to; no status while it is still at work."""

    digest: bytes
    status: int | None
    body: bytes | None
    at_ms: int
    took_effect: bool
    """Whether something of it was committed."""


def find(tx: Tx, account: AccountId, key: str, since_ms: int) -> Reply | None:
    """The reply under a key, unless it is older than `since_ms`."""
    row = tx.one(
        "select digest, status, body, at_ms, took_effect from replies"
        " where account_id = %s and key = %s and at_ms >= %s",
        account,
        key,
        since_ms,
    )
    return msgspec.convert(row, Reply) if row else None


def begin(tx: Tx, account: AccountId, key: str, digest: bytes, now_ms: int) -> None:
    """Say that a request under this key is at work; an older reply makes room."""
    tx.run(
        "insert into replies (account_id, key, digest, at_ms) values (%s, %s, %s, %s)"
        " on conflict (account_id, key) do update set digest = excluded.digest,"
        " status = null, body = null, at_ms = excluded.at_ms, took_effect = false",
        account,
        key,
        digest,
        now_ms,
    )


def took_effect(tx: Tx, account: AccountId, key: str, since_ms: int) -> bool:
    """Write, in the transaction that does it, that the request of `since_ms` changes something.

    Returns:
        False when the key is no longer this request's.
    """
    return (
        tx.run(
            "update replies set took_effect = true"
            " where account_id = %s and key = %s and at_ms = %s",
            account,
            key,
            since_ms,
        )
        > 0
    )


def keep(tx: Tx, account: AccountId, key: str, since_ms: int, status: int, body: bytes) -> None:
    """Write what the request of `since_ms` came to, unless that is written."""
    tx.run(
        "update replies set status = %s, body = %s"
        " where account_id = %s and key = %s and at_ms = %s and status is null",
        status,
        body,
        account,
        key,
        since_ms,
    )


def drop(tx: Tx, account: AccountId, key: str, since_ms: int) -> bool:
    """Forget the request of `since_ms` if it came to nothing: it may be tried again.

    A transaction of it that is still being committed is waited for: it has written to this row.
    """
    return (
        tx.run(
            "delete from replies"
            " where account_id = %s and key = %s and at_ms = %s and not took_effect",
            account,
            key,
            since_ms,
        )
        > 0
    )


def forget_before(tx: Tx, before_ms: int) -> int:
    """Delete replies nobody will ask for again; how many there were."""
    return tx.run("delete from replies where at_ms < %s", before_ms)
