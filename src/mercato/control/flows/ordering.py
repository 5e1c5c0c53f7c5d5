"""Standing orders: placed, filled by an ordinary rental, called off, expired.

Nothing is held while an order waits: credit is looked at when an offer matches, as for any rental.
A filled order and its contract are written in one transaction, so it is filled once.
"""

import msgspec

from mercato.control.db import Tx
from mercato.control.flows import renting
from mercato.control.flows.house import House
from mercato.control.flows.renting import Minted, RentRequest
from mercato.control.store import events, standing_orders
from mercato.control.store.events import Event
from mercato.control.store.standing_orders import StoredOrder
from mercato.market import errors
from mercato.market.ids import AccountId, ContractId, OfferId
from mercato.market.order import LONGEST_MS, OrderState

TOPIC = "orders"
"""Poked whenever an order was placed or closed."""


def place(tx: Tx, order: StoredOrder, now_ms: int) -> StoredOrder:
    """Have an order wait.

    Raises:
        InvalidRequest: when its end has passed or is too far away.
    """
    if not now_ms < order.expires_at_ms <= now_ms + LONGEST_MS:
        raise errors.InvalidRequest("An order ends in the future, at most 90 days from now.")
    placed = standing_orders.create(tx, order)
    tx.poke(TOPIC)
    return placed


def fill(
    tx: Tx, order_id: int, offer: OfferId, minted: Minted, now_ms: int, house: House
) -> ContractId | None:
    """Rent an offer for an order; None when it waits no more.

    Raises:
        NoSuchOffer, OfferTaken: when somebody else was faster; the order waits on.
        InsufficientCredit, …: as renting.rent does.
    """
    tx.queue(f"order:{order_id}")
    order = standing_orders.get(tx, order_id)
    if order is None or order.state != OrderState.RESTING.label or order.expires_at_ms <= now_ms:
        return None
    request = msgspec.json.decode(house.box.open(order.sealed_request), type=RentRequest)
    signed = renting.rent(tx, order.account_id, offer, request, now_ms, minted, house=house)
    terms = signed.contract.terms
    if terms.gpu + terms.storage > order.price_max:
        raise errors.NoSuchOffer(f"Offer {offer} costs more than the order may.")
    contract = signed.contract.id
    message = f"It rented offer {offer} as instance {contract}."
    standing_orders.close(
        tx, order_id, OrderState.FILLED, now_ms, message=message, contract=contract
    )
    _tell(tx, order, "order_filled", message, now_ms, contract)
    tx.poke(TOPIC)
    return contract


def fail(tx: Tx, order_id: int, why: str, now_ms: int) -> None:
    """End an order that cannot rent what matched it."""
    _close(tx, order_id, OrderState.FAILED, "order_failed", why, now_ms)


def expire(tx: Tx, order_id: int, now_ms: int) -> int:
    """End an order that has waited long enough."""
    order = standing_orders.get(tx, order_id)
    if order is None or order.expires_at_ms > now_ms:
        return 0
    message = "No offer matched it until its end."
    return _close(tx, order_id, OrderState.EXPIRED, "order_expired", message, now_ms)


def cancel(tx: Tx, account: AccountId, order_id: int, now_ms: int) -> None:
    """Call an order off.

    Raises:
        NotFound: when the account has none such.
        Conflict: when it waits no more.
    """
    order = standing_orders.get(tx, order_id)
    if order is None or order.account_id != account:
        raise errors.NotFound(f"You have no order {order_id}.")
    if not _close(tx, order_id, OrderState.CANCELLED, "order_cancelled", "", now_ms):
        raise errors.Conflict(f"Order {order_id} waits no more: it is {order.state}.")


def _close(tx: Tx, order_id: int, state: OrderState, kind: str, message: str, now_ms: int) -> int:
    tx.queue(f"order:{order_id}")
    order = standing_orders.get(tx, order_id)
    if order is None or order.state != OrderState.RESTING.label:
        return 0
    standing_orders.close(tx, order_id, state, now_ms, message=message)
    _tell(tx, order, kind, message or f"Order {order_id} {state.meaning}.", now_ms)
    tx.poke(TOPIC)
    return 1


def _tell(
    tx: Tx,
    order: StoredOrder,
    kind: str,
    message: str,
    now_ms: int,
    contract: ContractId | None = None,
) -> None:
    events.record(
        tx,
        Event(
            account_id=order.account_id,
            contract_id=contract,
            kind=kind,
            message=message,
            at_ms=now_ms,
        ),
    )
