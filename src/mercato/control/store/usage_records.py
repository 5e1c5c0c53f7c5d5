"""Usage records: one chain for each account; nothing here changes one but to sign it, once."""

import msgspec

from mercato.control.db import Tx
from mercato.market.ids import AccountId
from mercato.market.usage import GENESIS, Record, Signed


class Unsigned(msgspec.Struct, frozen=True, kw_only=True):
    """A record that waits for the market's signature."""

    account: AccountId
    number: int
    hash: str


def head(tx: Tx, account: AccountId) -> tuple[int, str]:
    """Number and hash of an account's last record."""
    row = tx.one(
        "select number, encode(hash, 'hex') as hash from usage_records where account_id = %s"
        " order by number desc limit 1",
        account,
    )
    return (row["number"], row["hash"]) if row else (0, GENESIS)


def append(tx: Tx, record: Record) -> None:
    """Write the record that follows the last one."""
    tx.run(
        "insert into usage_records (account_id, number, contract_id, record, hash, issued_at_ms)"
        " values (%s, %s, %s, %s, decode(%s, 'hex'), %s)",
        record.account,
        record.number,
        record.contract,
        msgspec.json.encode(record),
        record.hash,
        record.issued_at_ms,
    )


def unsigned(tx: Tx, limit: int, account: AccountId | None = None) -> list[Unsigned]:
    """Records that wait to be signed: one account's, or anybody's."""
    rows = tx.all(
        "select account_id as account, number, encode(hash, 'hex') as hash from usage_records"
        " where signature is null and (%s::bigint is null or account_id = %s)"
        " order by account_id, number limit %s",
        account,
        account,
        limit,
    )
    return [msgspec.convert(row, Unsigned) for row in rows]


def sign(tx: Tx, record: Unsigned, signature: str) -> int:
    """Write a record's signature; 0 when it had one."""
    return tx.run(
        "update usage_records set signature = decode(%s, 'hex')"
        " where account_id = %s and number = %s and signature is null",
        signature,
        record.account,
        record.number,
    )


def signed_after(tx: Tx, account: AccountId, after: int, limit: int) -> list[Signed]:
    """An account's signed records that follow number `after`, in order."""
    rows = tx.all(
        "select record, encode(signature, 'hex') as signature from usage_records"
        " where account_id = %s and number > %s and signature is not null"
        " order by number limit %s",
        account,
        after,
        limit,
    )
    return [
        Signed(record=msgspec.json.decode(row["record"], type=Record), signature=row["signature"])
        for row in rows
    ]


def between(tx: Tx, account: AccountId, from_ms: int, to_ms: int) -> list[Record]:
    """An account's records that were issued in a time range, in order."""
    rows = tx.all(
        "select record from usage_records where account_id = %s and issued_at_ms >= %s"
        " and issued_at_ms < %s order by number",
        account,
        from_ms,
        to_ms,
    )
    return [msgspec.json.decode(row["record"], type=Record) for row in rows]


def last_before(tx: Tx, account: AccountId, issued_before_ms: int) -> int:
    """Number of an account's last record that was issued before a time; 0 when there is none."""
    row = tx.one(
        "select number from usage_records where account_id = %s and issued_at_ms < %s"
        " order by number desc limit 1",
        account,
        issued_before_ms,
    )
    return row["number"] if row else 0
