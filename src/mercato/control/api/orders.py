"""Standing orders: a search, the most it may cost, until when; it rents by itself on a match."""

from typing import Any, Final

import msgspec

from mercato.catalog.language import parse, parse_text
from mercato.control.api.call import Call, Done, Nothing
from mercato.control.api.creating import Rental, rent_request, template_of
from mercato.control.api.launching import LaunchRequest
from mercato.control.api.offer_fields import OFFERS
from mercato.control.api.times import seconds
from mercato.control.flows import ordering
from mercato.control.flows.renting import RentRequest
from mercato.control.store import standing_orders
from mercato.control.store.standing_orders import StoredOrder
from mercato.market import errors
from mercato.market.ids import OfferId
from mercato.market.money import MS_PER_S, NanoUsdPerHour, dollars, nano
from mercato.market.order import OrderState

PRICE_MAX: Final = 10_000.0
DEFAULTS: Final = {
    "verified": {"eq": True},
    "external": {"eq": False},
    "rentable": {"eq": True},
}
"""What a search asks for when it says nothing of these."""

TRIES: Final = 3


class NewOrder(LaunchRequest, frozen=True, kw_only=True):
    """What to look for, what to rent, and the most it may cost."""

    q: str | dict[str, Any]
    """A search, as text or as clients parse it."""
    price: float
    """Dollars an hour of the whole slice, disk included."""
    expires: float
    """Seconds since the epoch."""
    disk: float | None = None
    label: str | None = None


class OrderRow(msgspec.Struct, frozen=True, kw_only=True):
    """One standing order."""

    id: int
    state: str
    """`resting`, `filled`, `cancelled`, `expired` or `failed`."""
    query: dict[str, Any]
    price: float
    image: str
    label: str | None
    instance_id: int | None
    message: str
    created_at: float
    expires_at: float


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """The account's orders, the latest first."""

    success: bool = True
    orders: list[OrderRow]


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """An order that was placed, and filled at once when an offer matched."""

    success: bool = True
    order: OrderRow
    msg: str


class WhichOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order by its id."""

    id: int


async def place(call: Call, asked: NewOrder) -> Placed:
    """Rent the first offer that matches, now or when there is one, up to a price."""
    if not 0 < asked.price <= PRICE_MAX:
        raise errors.InvalidPrice(f"price must be above 0 and at most {PRICE_MAX:g} dollars.")
    given = parse_text(asked.q, OFFERS) if isinstance(asked.q, str) else asked.q
    fields = {name: getattr(asked, name) for name in LaunchRequest.__struct_fields__}
    rental = Rental(id=0, disk=asked.disk, label=asked.label, **fields)
    request = rent_request(call, rental, await template_of(call, asked))
    query = {**DEFAULTS, **given, "allocated_storage": request.disk_mb / 1_000}
    parse(query, OFFERS)  # refuses what could never match
    order = await call.services.db.run(
        ordering.place,
        StoredOrder(
            id=0,
            account_id=call.account,
            query=query,
            price_max=NanoUsdPerHour(nano(asked.price)),
            sealed_request=call.services.house.box.seal(_kept(request)),
            label=request.label,
            image=request.launch.image,
            state=OrderState.RESTING.label,
            message="",
            contract_id=None,
            created_at_ms=call.now_ms,
            expires_at_ms=int(asked.expires * MS_PER_S),
            closed_at_ms=None,
        ),
        call.now_ms,
    )
    call.services.orders.poke()  # first: an offer that the search is too early for is shown to it
    await _at_once(call, order)
    now = await call.services.db.run(standing_orders.get, order.id)
    assert now is not None
    return Placed(order=_row(now), msg=now.message or f"Order {order.id} waits for an offer.")


def _kept(request: RentRequest) -> str:
    """The request as text; what no instance could be made of later is refused now."""
    text = msgspec.json.encode(request).decode()
    if "\\u0000" in text:
        raise errors.InvalidRequest("An argument has a character that cannot be stored.")
    return text


async def _at_once(call: Call, order: StoredOrder) -> None:
    """Fill an order from what is on sale already."""
    query = {
        **order.query,
        "dph_total": {"lte": dollars(order.price_max)},
        "order": [["dph_total", "asc"]],
        "limit": TRIES,
    }
    for offer in call.services.offers.ids(query, call.account):
        if await call.services.orders.fill(order.id, OfferId(offer)):
            return


async def list_orders(call: Call, asked: Nothing) -> Orders:  # noqa: ARG001 - nothing is asked
    """List the account's standing orders, the latest first."""
    found = await call.services.db.run(standing_orders.of_account, call.account)
    return Orders(orders=[_row(order) for order in found])


async def cancel(call: Call, asked: WhichOrder) -> Done:
    """Call a standing order off."""
    await call.services.db.run(ordering.cancel, call.account, asked.id, call.now_ms)
    return Done(msg=f"Order {asked.id} is called off.")


def _row(order: StoredOrder) -> OrderRow:
    return OrderRow(
        id=order.id,
        state=order.state,
        query=order.query,
        price=dollars(order.price_max),
        image=order.image,
        label=order.label,
        instance_id=order.contract_id,
        message=order.message,
        created_at=seconds(order.created_at_ms),
        expires_at=seconds(order.expires_at_ms),
    )
