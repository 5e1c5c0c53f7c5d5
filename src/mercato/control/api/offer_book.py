"""The offers of the whole market in memory, kept true by pokes and by looking now and then.

Rebuilt from the tables at start. A poke names a machine: its offers are derived anew and take the
place of those it had. Pokes can be lost, so every few seconds the machines' generations are
compared with those known here: a change that nobody told of is found then.
"""

import asyncio
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import psycopg
import psycopg_pool
import structlog

from mercato.catalog.index import Index, array
from mercato.catalog.language import Queries
from mercato.control.api.offer_fields import OFFERS, Standing, row_of
from mercato.control.api.shapes import UNPROVEN_RELIABILITY
from mercato.control.clock import Clock
from mercato.control.db import Database
from mercato.control.store import sales
from mercato.control.store.sales import Sale
from mercato.market.auction import least_bid, to_win
from mercato.market.ids import MachineId
from mercato.market.money import dollars, with_fee
from mercato.market.offer import Offer, offers
from mercato.market.volume import MB_PER_GB, offered_mb

LOOK_EVERY_S: Final = 2.0
AT_ONCE_MAX: Final = 500
"""Machines read in one transaction."""
AGAIN_S: Final = 0.5
SEEN_WITHIN_S: Final = 0.25
"""No answer waits longer for the offers to follow what it did."""

_log = structlog.get_logger("mercato.offers")

HOUR_MS: Final = 3_600_000
MINUTE_MS: Final = 60_000

PORTS_MAX: Final = 64
"""An instance gets no more outside ports than this."""


class OfferBook:
    """The catalog of offers of this process."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        changed: Callable[[Mapping[int, Mapping[str, object]]], None] = lambda _rows: None,
    ) -> None:
        """Read sales from `db`; `changed` hears of every offer that came or changed."""
        self._db = db
        self._changed = changed
        self._clock = clock
        self._index = Index(OFFERS)
        self._queries = Queries(OFFERS)
        self._known: dict[MachineId, tuple[int, bool]] = {}
        self._ids: dict[MachineId, frozenset[int]] = {}
        self._models: set[tuple[str, int]] = set()
        self._dirty: dict[MachineId, None] = {}
        """Those to be read anew, in the order in which they were poked."""
        self._poked = asyncio.Event()
        self._begun = self._taken = 0
        """Batches of them, those that could not be read left out."""
        self._took = asyncio.Condition()
        self._sorted_at_s = 0.0
        self.ready = False
        """False until the offers have been read once."""

    def __len__(self) -> int:
        """How many offers there are, taken ones too."""
        return len(self._index)

    def poke(self, machines: Iterable[MachineId]) -> None:
        """Say that what is on sale on these machines may have changed."""
        self._dirty.update(dict.fromkeys(machines))
        self._poked.set()

    async def seen(self) -> None:
        """Return once all that was said so far is in the offers.

        So that whoever rents, lists or ends something finds that in its next search. A market too
        busy for that answers after `SEEN_WITHIN_S`.
        """
        due = self._begun + math.ceil(len(self._dirty) / AT_ONCE_MAX)
        if self._taken >= due:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(SEEN_WITHIN_S), self._took:
                await self._took.wait_for(lambda: self._taken >= due)

    def search(
        self, body: Mapping[str, Any], searcher: int, before: bytes = b"[", after: bytes = b"]"
    ) -> bytes:
        """The JSON array of the offers that a query of an account (0: of nobody) finds.

        `before` and `after` take the place of its brackets and what stands around them.

        Raises:
            InvalidQuery: when the query names no known field, operator or value.
        """
        now_ms = self._minute_ms()
        rows = self._index.rows(self._queries.read(body), now_ms, _seed(searcher, now_ms))
        return array(rows, before, after)

    def ids(self, body: Mapping[str, Any], searcher: int) -> list[int]:
        """The ids of the offers that a query finds, in its order."""
        now_ms = self._minute_ms()
        return self._index.search_ids(self._queries.read(body), now_ms, _seed(searcher, now_ms))

    def _minute_ms(self) -> int:
        """When this minute began: within it an offer is shown as it was before."""
        now_ms = self._clock.now_ms()
        return now_ms - now_ms % MINUTE_MS

    def gpu_models(self) -> list[tuple[str, int]]:
        """Name and memory in megabytes of every GPU model that was seen, in order.

        From memory: every start of the official client waits for this.
        """
        return sorted(self._models)

    async def run(self) -> None:
        """Keep the offers true until cancelled."""
        while True:
            try:
                if not self.ready:
                    await self._take(await self._db.run(sales.everything))
                    self.ready = True
                await self._catch_up()
                await self._sort()
                await self._wait()
            except (psycopg.Error, psycopg_pool.PoolTimeout) as problem:
                _log.warning("offers_behind", problem=str(problem))
                await asyncio.sleep(AGAIN_S)
            except Exception:  # a fault in one row must not end the search for everybody  # noqa: BLE001 - whatever went wrong is told and logged
                _log.exception("offers_failed")
                await asyncio.sleep(AGAIN_S)

    async def _wait(self) -> None:
        """Until somebody pokes; when nobody does, look for changes."""
        try:
            await asyncio.wait_for(self._poked.wait(), LOOK_EVERY_S)
        except TimeoutError:
            now = await self._db.run(sales.generations)
            changed = (one for one, at in now.items() if self._known.get(one) != at)
            self._dirty.update(dict.fromkeys(changed))

    async def _catch_up(self) -> None:
        while self._dirty:
            self._poked.clear()
            some = list(islice(self._dirty, AT_ONCE_MAX))
            for one in some:
                del self._dirty[one]
            self._begun += 1
            try:
                await self._take(await self._db.run(sales.of_machines, some))
            except BaseException:
                self._begun -= 1
                self._dirty.update(dict.fromkeys(some))
                raise
            async with self._took:
                self._taken += 1
                self._took.notify_all()
        self._poked.clear()

    async def _sort(self) -> None:
        """Let broad searches be quick again, now and then."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._sorted_at_s + LOOK_EVERY_S:
            self._sorted_at_s = now_s
            await asyncio.to_thread(self._index.refresh)

    async def _take(self, found: list[Sale]) -> None:
        """Put machines' offers in the place of those that they had."""
        # Hundreds of machines take a while: searches go on meanwhile.
        self._changed(await asyncio.to_thread(self._put, found))

    def _put(self, found: list[Sale]) -> Mapping[int, Mapping[str, object]]:
        upserted: dict[int, Mapping[str, object]] = {}
        removed: set[int] = set()
        for sale in found:
            rows = _rows_or_none(sale)
            removed |= self._ids.get(sale.machine, frozenset()) - rows.keys()
            upserted.update(rows)
            self._ids[sale.machine] = frozenset(rows)
            self._known[sale.machine] = sale.generation
            self._models.add((sale.hardware.gpu_model.name, sale.hardware.gpu_model.ram_mb))
        self._index.change(upserted, removed)
        return upserted


def _seed(searcher: int, now_ms: int) -> int:
    """The luck of an account: the same for an hour, so that what it sees stays as it was."""
    return _luck(searcher, now_ms // HOUR_MS)


@lru_cache(1_024)
def _luck(searcher: int, hour: int) -> int:
    told = f"{searcher}:{hour}".encode()
    return int.from_bytes(hashlib.blake2b(told, digest_size=8).digest())


def rows_of(sale: Sale) -> dict[int, dict[str, object]]:
    """Every offer of a machine as a row of the catalog."""
    if sale.listing is None:
        return {}
    hardware, listing = sale.hardware, sale.listing
    network = hardware.network
    ports = network.port_last - network.port_first + 1
    rows: dict[int, dict[str, object]] = {}
    for offer in offers(listing, hardware, sale.firm, sale.disk_free_mb):
        standing = Standing(
            host_id=sale.host,
            reliability=UNPROVEN_RELIABILITY
            if hardware.reliability is None
            else hardware.reliability,
            verification=sale.verification,
            datacenter=False,
            min_bid=_min_bid(sale, offer),
            rented=not offer.rentable,
            ports=min(PORTS_MAX, ports * len(offer.gpus) // offer.gpus_total),
            listed_at_ms=sale.listed_at_ms,
        )
        rows[offer.id] = row_of(offer, listing, hardware, standing) | _volume_fields(sale)
    return rows


def _rows_or_none(sale: Sale) -> dict[int, dict[str, object]]:
    """The rows of a machine; none of one whose report cannot be read, so that all others stay."""
    try:
        return rows_of(sale)
    except Exception:  # noqa: BLE001 - whatever a host reported is told and logged
        _log.exception("offers_of_machine_failed", machine=sale.machine)
        return {}


def _min_bid(sale: Sale, offer: Offer) -> float | None:
    """The least dollars an hour that win a slice now; None when no bid does."""
    if not offer.rentable:
        return None
    needed = to_win(offer.gpus_total, sale.claims, offer.gpus)
    return None if needed is None else dollars(least_bid(needed, offer.bid_floor))


def volume_row(sale: Sale) -> dict[str, object] | None:
    """A machine's volume offer as a row of the catalog; None when nothing of it can be had."""
    if sale.listing is None or sale.volumes is None:
        return None
    whole = next(iter(_rows_or_none(sale).values()), None)
    if whole is None:  # it has fewer GPUs than its smallest slice
        return None
    fields = _volume_fields(sale)
    return whole | {
        "id": sale.volumes.id,
        "ask_contract_id": sale.volumes.id,
        "resource_type": "volume",
        "disk_space": fields["avail_vol_size"],
        "storage_cost": fields["avail_vol_dph"],
        "rentable": fields["avail_vol_size"] != 0,
        "rented": sale.volumes_rented_mb > 0,
    }


def _volume_fields(sale: Sale) -> dict[str, object]:
    """What a machine's offers say of its volumes; gigabytes, dollars a gigabyte and month."""
    listing = sale.volumes
    if listing is None:
        return {"avail_vol_ask_id": None, "avail_vol_dph": None, "avail_vol_size": None}
    left_mb = offered_mb(listing, sale.volumes_rented_mb, sale.disk_free_mb)
    return {
        "avail_vol_ask_id": listing.id,
        "avail_vol_dph": dollars(with_fee(listing.price, listing.platform_fee_ppm)),
        "avail_vol_size": left_mb / MB_PER_GB,
    }
