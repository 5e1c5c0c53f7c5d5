"""Who changed what, when, from where."""

from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from mercato.control.db import Tx
from mercato.market.ids import AccountId, ApiKeyId


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """One change that somebody made through the API."""

    ip_address: str
    api_key_id: ApiKeyId | None
    method: str
    route: str
    args: dict[str, Any]
    at_ms: int


def record(tx: Tx, account: AccountId, deed: Deed) -> None:
    """Keep one line. `args` must carry no secret: the caller has blanked them."""
    tx.run(
        "insert into audit (account_id, api_key_id, ip_address, method, route, args, at_ms)"
        " values (%s, %s, %s, %s, %s, %s, %s)",
        account,
        deed.api_key_id,
        deed.ip_address,
        deed.method,
        deed.route,
        Jsonb(deed.args),
        deed.at_ms,
    )


def of_account(tx: Tx, account: AccountId, limit: int) -> list[Deed]:
    """The latest lines of an account, newest first."""
    rows = tx.all(
        "select ip_address, api_key_id, method, route, args, at_ms from audit"
        " where account_id = %s order by id desc limit %s",
        account,
        limit,
    )
    return [msgspec.convert(row, Deed) for row in rows]
