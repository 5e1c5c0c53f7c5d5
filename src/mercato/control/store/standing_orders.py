"""Standing orders: what waits, and what became of it."""

from typing import Any, Final, LiteralString

import msgspec
from psycopg.types.json import Jsonb

from mercato.control.db import Tx
from mercato.market.ids import AccountId, ContractId
from mercato.market.money import NanoUsdPerHour
from mercato.market.order import OrderState


class StoredOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One standing order."""

    id: int
    account_id: AccountId
    query: dict[str, Any]
    price_max: NanoUsdPerHour
    """Of the whole slice, disk included."""
    sealed_request: bytes
    label: str | None
    image: str
    state: str
    message: str
    contract_id: ContractId | None
    created_at_ms: int
    expires_at_ms: int
    closed_at_ms: int | None


_COLUMNS: Final[LiteralString] = (
    "id, account_id, query, price_max, sealed_request, label, image, state, message, contract_id,"
    " created_at_ms, expires_at_ms, closed_at_ms"
)


def create(tx: Tx, order: StoredOrder) -> StoredOrder:
    """Write an order; the id in `order` is ignored, a new one comes back."""
    row = tx.one(
        "insert into standing_orders (account_id, query, price_max, sealed_request, label, image,"  # noqa: S608 - the columns are fixed above
        " created_at_ms, expires_at_ms) values (%s, %s, %s, %s, %s, %s, %s, %s)"
        f" returning {_COLUMNS}",
        order.account_id,
        Jsonb(order.query),
        order.price_max,
        order.sealed_request,
        order.label,
        order.image,
        order.created_at_ms,
        order.expires_at_ms,
    )
    assert row is not None
    return _order(row)


def get(tx: Tx, order: int) -> StoredOrder | None:
    """An order, whatever became of it."""
    row = tx.one(f"select {_COLUMNS} from standing_orders where id = %s", order)  # noqa: S608 - the columns are fixed above
    return _order(row) if row else None


def resting(tx: Tx) -> list[StoredOrder]:
    """Every order that waits."""
    rows = tx.all(f"select {_COLUMNS} from standing_orders where state = 'resting' order by id")  # noqa: S608 - the columns are fixed above
    return [_order(row) for row in rows]


def of_account(tx: Tx, account: AccountId) -> list[StoredOrder]:
    """An account's orders, the latest first."""
    rows = tx.all(
        f"select {_COLUMNS} from standing_orders where account_id = %s order by id desc limit 500",  # noqa: S608 - the columns are fixed above
        account,
    )
    return [_order(row) for row in rows]


def past_end(tx: Tx, now_ms: int) -> list[int]:
    """Orders that wait and should not any more."""
    rows = tx.all(
        "select id from standing_orders where state = 'resting' and expires_at_ms <= %s"
        " order by id",
        now_ms,
    )
    return [int(row["id"]) for row in rows]


def close(
    tx: Tx,
    order: int,
    state: OrderState,
    now_ms: int,
    *,
    message: str = "",
    contract: ContractId | None = None,
) -> None:
    """Write what became of an order."""
    tx.run(
        "update standing_orders set state = %s, message = %s, contract_id = %s, closed_at_ms = %s"
        " where id = %s",
        state.label,
        message,
        contract,
        now_ms,
        order,
    )


def _order(row: dict[str, Any]) -> StoredOrder:
    return StoredOrder(**{**row, "sealed_request": bytes(row["sealed_request"])})
