"""The other engines of a market: calls for what is theirs are passed on to them."""

from collections import OrderedDict
from typing import Final

from mercato.http.call import HOP_BY_HOP, Call
from mercato.http.client import Origin, OriginFailed, Pool
from mercato.http.relay import Relay

PASSED_ON: Final = b"mercato-passed-on"
"""Marks a call that comes from another engine: it is not passed on again."""
ENGINES_MAX: Final = 64


class Peers:
    """Connections to the other engines."""

    def __init__(self) -> None:
        self._pools: OrderedDict[str, Pool] = OrderedDict()

    def pool(self, url: str) -> Pool:
        """The connections to an address. Raises ValueError when it is none."""
        found = self._pools.get(url)
        if found is None:
            found = self._pools[url] = Pool(Origin.of(url))
            if len(self._pools) > ENGINES_MAX:
                _, oldest = self._pools.popitem(last=False)
                oldest.close()
        return found

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
