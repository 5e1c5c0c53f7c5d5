"""From where each account was used."""

import msgspec

from mercato.control.db import Tx
from mercato.market.ids import AccountId


class SeenAddress(msgspec.Struct, frozen=True, kw_only=True):
    """An address and when it was first seen."""

    ip: str
    first_seen_at_ms: int


def saw(tx: Tx, account: AccountId, ip: str, now_ms: int) -> None:
    """Remember an address; the first time counts."""
    tx.run(
        "insert into ip_addresses (account_id, ip, first_seen_at_ms) values (%s, %s, %s)"
        " on conflict do nothing",
        account,
        ip,
        now_ms,
    )


def of_account(tx: Tx, account: AccountId) -> list[SeenAddress]:
    """The addresses of an account, newest first."""
    rows = tx.all(
        "select ip, first_seen_at_ms from ip_addresses where account_id = %s"
        " order by first_seen_at_ms desc, ip",
        account,
    )
    return [msgspec.convert(row, SeenAddress) for row in rows]
