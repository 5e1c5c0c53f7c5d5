"""The engine: all the endpoints that are this process's, and who else has the others."""

import asyncio
import contextlib
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final

import structlog

from mercato.engine.clock import Clock
from mercato.engine.journal import Once
from mercato.engine.market import UNREACHABLE, Market
from mercato.engine.numbers import Numbers
from mercato.engine.post import Post
from mercato.engine.signing import KEY_NAME, Signer, new_key
from mercato.engine.station import Station
from mercato.engine.traffic import MINUTE_S
from mercato.market.ids import ContractId
from mercato.serverless.endpoint import EndpointId, GroupId
from mercato.wire.fleet import Definition, Fleet, Ownership, WorkerFact
from mercato.wire.worker import shared_secret

TICK_S: Final = 1.0
WELL_S: Final = 10.0
"""An engine whose last tick is older than this is not well."""
LINE_S: Final = 0.1
"""How often clients on the line are looked at."""
KEEP_S: Final = 30.0
STOP_S: Final = 2.0
"""A look at the market that is under way when the engine stops has so long to end."""
REFRESH_S: Final = 0.5
"""Looks at the market for who names what is not known begin at least so long after the last."""
KEY_KNOWN_S: Final = 60.0
KEY_UNKNOWN_S: Final = 5.0
KEYS_MAX: Final = 50_000

_log = structlog.get_logger("mercato.engine")


class Engine:
    """One engine of a market."""

    def __init__(self, market: Market, clock: Clock, name: str, address: str = "") -> None:
        """`name` is this engine's alone; other engines send on to `address`, if there is one."""
        self.market = market
        self.clock = clock
        self.name = name
        self.address = address
        self.numbers = Numbers()
        self.signer: Signer
        self.stations: dict[EndpointId, Station] = {}
        self.others: dict[EndpointId, str] = {}
        """Where the engines are that have the endpoints we do not have."""
        self._by_key: dict[bytes, Definition] = {}
        self._by_name: dict[tuple[int, str], Definition] = {}
        self._by_id: dict[EndpointId, Definition] = {}
        self._by_group: dict[GroupId, Definition] = {}
        self._at: dict[ContractId, EndpointId] = {}
        self._tokens: dict[ContractId, bytes] = {}
        self._accounts: OrderedDict[bytes, tuple[int | None, float]] = OrderedDict()
        self._keys_changed = 0
        self._look: asyncio.Task[None] | None = None
        self._next_look: asyncio.Task[None] | None = None
        self._look_for_strangers: asyncio.Task[None] | None = None
        self._looked_s = 0.0
        self._ticked_s = clock.now_s()
        self._told = Once()
        self._stopped = False

    # Running.

    async def open(self) -> None:
        """Learn the market's key and endpoints. Raises OSError when it cannot be reached."""
        self.signer = Signer(await self.market.signing_key(KEY_NAME, new_key))
        await self._refresh()

    async def run(self) -> None:
        """Serve until cancelled, then keep what is known for the engine after this one."""
        self._ticked_s = self.clock.now_s()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._every(TICK_S, self._tick))
                tasks.create_task(self._every(TICK_S, self.refresh))
                tasks.create_task(self._every(LINE_S, self._answer_the_held))
                tasks.create_task(self._every(KEEP_S, self.keep))
        finally:
            await self._stop()

    async def _stop(self) -> None:
        """Keep what is known and let all endpoints go: who asks from now on is told to wait."""
        self._stopped = True  # nothing is taken again
        if self._look is not None:
            await asyncio.wait({self._look}, timeout=STOP_S)
            self._look.cancel()
        try:
            await self.keep(last=True)
        finally:
            stations = tuple(self.stations.values())
            self.stations.clear()
            await asyncio.gather(*(station.close() for station in stations))

    @property
    def well(self) -> bool:
        """Whether it still looks after its endpoints."""
        return self.clock.now_s() - self._ticked_s < WELL_S

    async def _every(self, period_s: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                with self._contained(work.__name__.strip("_")):
                    await work()
            except UNREACHABLE as error:
                _log.warning("the market cannot be reached", why=str(error))
            await asyncio.sleep(period_s)

    @contextlib.contextmanager
    def _contained(self, work: str, endpoint: EndpointId | None = None) -> Iterator[None]:
        """Keep a fault in one work, or at one endpoint, from all others; it is logged once.

        That the market cannot be reached is none, and is raised.
        """
        try:
            yield
        except UNREACHABLE:
            raise
        except Exception as fault:  # noqa: BLE001 - one's fault is not the others'
            if self._told.is_news((work, endpoint), f"{type(fault).__name__}: {fault}"):
                _log.exception("a fault in the engine", work=work, endpoint=endpoint)
        else:
            self._told.is_over((work, endpoint))

    async def _tick(self) -> None:
        for endpoint, station in tuple(self.stations.items()):
            with self._contained("tick", endpoint):
                station.tick()
        self._ticked_s = self.clock.now_s()

    async def _answer_the_held(self) -> None:
        now_s = self.clock.now_s()
        for endpoint, station in tuple(self.stations.items()):
            with self._contained("answer", endpoint):
                station.desk.answer_the_held(now_s)

    async def keep(self, *, last: bool = False) -> None:
        """Keep what is known of the endpoints; for the `last` time also the minute that runs."""
        by_s = self.clock.now_s() + (MINUTE_S if last else 0)
        for endpoint, station in tuple(self.stations.items()):
            try:
                with self._contained("keep", endpoint):
                    await self.market.keep(endpoint, station.remember(), station.scaling.fence)
                with self._contained("record", endpoint):
                    await self._record(endpoint, station, by_s)
            except UNREACHABLE as error:
                _log.warning("nothing can be kept", why=str(error))
                return

    async def _record(self, endpoint: EndpointId, station: Station, by_s: float) -> None:
        """Have the minutes kept that are over by then; those that could not be are next time."""
        traffic = station.desk.traffic
        minutes = traffic.ended(by_s)
        if minutes:
            await self.market.record(endpoint, minutes, station.scaling.fence)
            traffic.forget(minutes)

    async def refresh(self) -> None:
        """See how the market is now: as it was when this was called, or later.

        One look at a time; a look under way may have seen what was before, so the next one counts,
        and all who wait for it share it.
        """
        if self._next_look is None:
            self._next_look = asyncio.create_task(self._look_after(self._look))
        await asyncio.shield(self._next_look)

    async def refresh_for_stranger(self) -> None:
        """The same for a caller who names what is not known: anybody can, so they wait together."""
        if self._look_for_strangers is None:
            self._look_for_strangers = asyncio.create_task(self._look_when_due())
        await asyncio.shield(self._look_for_strangers)

    async def _look_after(self, last: asyncio.Task[None] | None) -> None:
        if last is not None:
            await asyncio.wait({last})
        self._look, self._next_look = asyncio.current_task(), None
        await self._refresh()

    async def _look_when_due(self) -> None:
        await asyncio.sleep(self._looked_s + REFRESH_S - self.clock.now_s())
        self._look_for_strangers = None
        await self.refresh()

    async def _refresh(self) -> None:
        if self._stopped:
            return
        self._looked_s = self.clock.now_s()
        standing = await self.market.stand(self.name, self.address)
        fleet = await self.market.fleet()
        self._index(fleet)
        await self._take(standing, fleet)

    def _index(self, fleet: Fleet) -> None:
        self._by_key = {one.key_hash: one for one in fleet.endpoints}
        self._by_name = {(one.account, one.name): one for one in fleet.endpoints}
        self._by_id = {one.id: one for one in fleet.endpoints}
        self._by_group = {group.id: one for one in fleet.endpoints for group in one.groups}
        self._at = {worker.id: worker.endpoint for worker in fleet.workers}
        self._tokens = {worker.id: worker.token_hash for worker in fleet.workers}

    async def _take(self, standing: Ownership, fleet: Fleet) -> None:
        facts: dict[EndpointId, list[WorkerFact]] = {}
        for worker in fleet.workers:
            facts.setdefault(worker.endpoint, []).append(worker)
        self.others = dict(standing.others)
        for endpoint in self.stations.keys() - (standing.mine.keys() & self._by_id.keys()):
            _log.info("endpoint let go", endpoint=endpoint)
            with self._contained("letting go", endpoint):
                await self.stations.pop(endpoint).close()
        for endpoint, fence in standing.mine.items():
            definition = self._by_id.get(endpoint)
            if definition is not None:
                with self._contained("taking", endpoint):
                    await self._take_one(definition, fence, facts.get(endpoint, []))

    async def _take_one(self, definition: Definition, fence: int, facts: list[WorkerFact]) -> None:
        station = self.stations.get(definition.id)
        if station is None:
            station = await self._open_station(definition, facts)
        elif station.definition != definition:
            station.redefine(definition)
        station.scaling.fence = fence
        station.take_facts(facts)

    async def _open_station(self, definition: Definition, facts: list[WorkerFact]) -> Station:
        station = Station(definition, facts, self.market, self.signer, self.numbers, self.clock)
        memory = await self.market.kept(definition.id)
        if memory is not None:
            # What cannot be made use of must not keep the endpoint from being served.
            with self._contained("recalling", definition.id):
                station.recall(memory)
        self.stations[definition.id] = station
        _log.info("endpoint taken", endpoint=definition.id, name=definition.name)
        return station

    # Who asks.

    def endpoint_of_key(self, key: str) -> Definition | None:
        """The endpoint whose own key this is."""
        return self._by_key.get(hashlib.sha256(key.encode()).digest())

    def endpoint_named(self, account: int, name: str) -> Definition | None:
        """An account's endpoint."""
        return self._by_name.get((account, name))

    def endpoint(self, endpoint: int) -> Definition | None:
        """The endpoint of that number."""
        return self._by_id.get(EndpointId(endpoint))

    def endpoint_of_group(self, group: int) -> Definition | None:
        """The endpoint that a worker group belongs to."""
        return self._by_group.get(GroupId(group))

    def endpoints(self) -> Iterable[Definition]:
        """All endpoints of the market, whoever has them."""
        return self._by_id.values()

    def account_known(self, key: str) -> tuple[int | None, bool]:
        """The account whose key this is, and whether that is known without asking."""
        known = self._accounts.get(hashlib.sha256(key.encode()).digest())
        if known is None or known[1] <= self.clock.now_s():
            return None, False
        return known[0], True

    def account_last(self, key: str) -> int | None:
        """The account whose key this was when that was asked last; None when nobody's."""
        known = self._accounts.get(hashlib.sha256(key.encode()).digest())
        return known[0] if known else None

    async def account_of(self, key: str) -> int | None:
        """The account whose key this is; None when it is nobody's."""
        account, known = self.account_known(key)
        if known:
            return account
        asked_at = self._keys_changed
        account = await self.market.owner_of(key)
        if asked_at != self._keys_changed:
            return account  # a key has changed since: this may be what it was before
        good_s = KEY_UNKNOWN_S if account is None else KEY_KNOWN_S
        digest = hashlib.sha256(key.encode()).digest()
        self._accounts[digest] = (account, self.clock.now_s() + good_s)
        if len(self._accounts) > KEYS_MAX:
            self._accounts.popitem(last=False)
        return account

    def forget_keys(self) -> None:
        """Believe nothing any more of whose each key is: some key has changed."""
        self._accounts.clear()
        self._keys_changed += 1

    # Which worker speaks.

    def is_worker(self, worker: int, token: str) -> bool:
        """Whether this is the worker's own token."""
        known = self._tokens.get(ContractId(worker))
        said = shared_secret(token)
        # An unknown worker takes as long to refuse as a wrong token.
        return hmac.compare_digest(known or b"\0" * len(said), said) and known is not None

    def endpoint_of_worker(self, worker: int) -> EndpointId | None:
        """The endpoint that a worker serves."""
        return self._at.get(ContractId(worker))

    def post(self, worker: int) -> tuple[Station, Post] | None:
        """A worker of an endpoint of ours."""
        endpoint = self._at.get(ContractId(worker))
        station = self.stations.get(endpoint) if endpoint is not None else None
        post = station.fleet.posts.get(ContractId(worker)) if station else None
        return (station, post) if station and post else None
