"""Where standing orders wait for offers: each offer that comes or changes is held against them all.

Every server does this for itself; whoever is first fills an order, and the others see it filled.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import psycopg
import psycopg_pool
import structlog

from mercato.catalog.language import parse
from mercato.catalog.standing import Standing, StandingQueries
from mercato.control.api.auth import new_secret
from mercato.control.api.offer_fields import OFFERS, cost_of
from mercato.control.clock import Clock
from mercato.control.db import AWAY, Database
from mercato.control.flows import ordering
from mercato.control.flows.house import House
from mercato.control.flows.renting import Minted
from mercato.control.store import standing_orders
from mercato.control.store.standing_orders import StoredOrder
from mercato.market import errors
from mercato.market.ids import ContractId, OfferId
from mercato.market.money import dollars
from mercato.market.order import rank

AGAIN_S: Final = 0.5

_log = structlog.get_logger("mercato.orders")


class OrderDesk:
    """The orders that wait, and the offers that they have not seen yet."""

    def __init__(self, db: Database, clock: Clock, house: House) -> None:
        """Nobody waits before `run` has read the orders."""
        self._db = db
        self._clock = clock
        self._house = house
        self._waiting = StandingQueries(OFFERS, cost_of)
        self._seen: deque[tuple[int, Mapping[str, object]]] = deque()
        """Offers, each with how often it had been poked when it came."""
        self._due = asyncio.Event()
        self._pokes = 1
        self._read_at = 0
        """How often it had been poked when what is read now was asked for."""

    @property
    def _stale(self) -> bool:
        return self._read_at != self._pokes

    def offered(self, rows: Mapping[int, Mapping[str, object]]) -> None:
        """Say which offers came or changed."""
        if len(self._waiting) or self._stale:
            self._seen.extend((self._pokes, row) for row in rows.values() if row.get("rentable"))
            self._due.set()

    def poke(self) -> None:
        """Say that orders were placed or closed.

        Every offer that comes from now on is shown to those placed before this was called.
        """
        self._pokes += 1
        self._due.set()

    async def run(self) -> None:
        """Fill what can be filled until cancelled."""
        while True:
            self._due.clear()
            try:
                await self._catch_up()
            except (psycopg.Error, psycopg_pool.PoolTimeout) as problem:
                self.poke()
                _log.warning("orders_behind", problem=str(problem))
                await asyncio.sleep(AGAIN_S)
            except Exception:  # noqa: BLE001 - the offers that are still to be shown are shown
                self.poke()
                _log.exception("orders_failed")
                await asyncio.sleep(AGAIN_S)
            await self._due.wait()

    async def fill(self, order: int, offer: OfferId) -> ContractId | None:
        """Rent an offer for an order; None when it was taken, or the order waits no more."""
        minted = Minted(instance_key=new_secret(), jupyter_token=secrets.token_urlsafe(24))
        now_ms = self._clock.now_ms()
        try:
            return await self._db.run(ordering.fill, order, offer, minted, now_ms, self._house)
        except (errors.NoSuchOffer, errors.OfferTaken):
            return None
        except AWAY:
            raise
        except errors.Refusal as refusal:
            why = str(refusal)
        except Exception:  # noqa: BLE001 - one order's fault keeps no other from its offer
            _log.exception("order_failed", order=order)
            why = (
                f"No instance can be made of it: the market's operator finds why as order {order}."
            )
        await self._db.run(ordering.fail, order, why, now_ms)
        return None

    async def _catch_up(self) -> None:
        """Show every offer to all orders that were placed before it came."""
        while self._stale or self._seen:
            if not self._seen or self._read_at < self._seen[0][0]:
                await self._read()
            else:
                await self._show(self._seen[0][1])
                self._seen.popleft()

    async def _read(self) -> None:
        asked_at = self._pokes
        orders = {order.id: order for order in await self._db.run(standing_orders.resting)}
        for gone in set(self._waiting.ids()) - orders.keys():
            self._waiting.remove(gone)
        for order in orders.values():
            self._waiting.add(_standing(order))
        self._read_at = asked_at

    async def _show(self, row: Mapping[str, object]) -> None:
        for standing in self._waiting.answered_by(row, self._clock.now_ms()):
            filled = await self.fill(standing.id, OfferId(int(str(row["id"]))))
            if filled is not None:
                self._waiting.remove(standing.id)
                return


def _standing(order: StoredOrder) -> Standing:
    query = replace(parse(order.query, OFFERS), order=(), limit=1)
    return Standing(order.id, query, dollars(order.price_max), rank(order.price_max, order.id))
