"""The other engines of a market: calls for what is theirs are passed on to them."""

from collections import OrderedDict
from typing import Final

from mercato.engine.asking import Refused, asking_the_market
from mercato.engine.engine import Engine
from mercato.engine.station import Station
from mercato.http.call import HOP_BY_HOP, Call
from mercato.http.client import Origin, OriginFailed, Pool
from mercato.http.relay import Relay
from mercato.serverless.endpoint import EndpointId

PASSED_ON: Final = b"mercato-passed-on"
"""Marks a call that comes from another engine: it is not passed on again."""
POOLS_MAX: Final = 1_024
LOOKS_MAX: Final = 10
"""For an engine that has the endpoint: some five seconds, in which a dead one's is taken over."""


class Peers:
    """Connections to the other engines, and to the workers that the OpenAI door speaks to."""

    def __init__(self) -> None:
        self._pools: OrderedDict[str, Pool] = OrderedDict()

    def pool(self, url: str) -> Pool:
        """The connections to an address. Raises ValueError when it is none."""
        found = self._pools.get(url)
        if found is None:
            found = self._pools[url] = Pool(Origin.of(url))
            if len(self._pools) > POOLS_MAX:
                _, least_used = self._pools.popitem(last=False)
                least_used.close()
        else:
            self._pools.move_to_end(url)
        return found

    async def station_of(self, engine: Engine, endpoint: EndpointId, call: Call) -> Station | None:
        """The station of an endpoint of ours; None when the engine that has it answered the call.

        An endpoint that no engine has yet, or has any more, is waited for. Refuses with 503 when
        it stays nobody's.
        """
        asked: set[str] = set()
        for _ in range(LOOKS_MAX):
            station = engine.stations.get(endpoint)
            if station is not None:
                return station
            address = engine.others.get(endpoint)
            if address and address not in asked:
                if await self.pass_on(call, address):
                    return None
                asked.add(address)  # it may have begun to work on it: not a second time
            with asking_the_market():
                await engine.refresh_for_stranger()
        raise Refused(503, "the endpoint's engine is being replaced; try again in a moment")

    async def pass_on(self, call: Call, address: str) -> bool:
        """Answer a call with what another engine says; False when it says nothing."""
        if call.header(PASSED_ON) is not None:
            return False
        pool = self.pool(address)
        target = f"{call.path}?{call.query}" if call.query else call.path
        headers = [pair for pair in call.headers if pair[0].lower() not in HOP_BY_HOP | {b"host"}]
        request = pool.request(call.method, target, call.body, [*headers, (PASSED_ON, b"1")])
        try:
            await pool.exchange(request, Relay(call))
        except OriginFailed:
            if call.begun:
                call.abort()
            return call.begun
        return True
