"""Who asks, and what of: the keys that a call may carry."""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Final, TypeVar
from urllib.parse import parse_qs

import msgspec

from mercato.engine.engine import Engine
from mercato.engine.market import UNREACHABLE
from mercato.http.call import Call
from mercato.wire.fleet import Definition
from mercato.wire.worker import UNITS_MAX

Read = TypeVar("Read")

NO_KEY: Final = "name a key: as Authorization: Bearer, or in api_key"
BAD_KEY: Final = "this key is nobody's, or not good for this endpoint"
MARKET_AWAY: Final = "the market cannot be reached; try again"


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """What was asked will not be done: the status, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status

    def answer(self, call: Call) -> None:
        """Say so, under every name that clients look for."""
        text = str(self)
        body = {"success": False, "error": text, "msg": text, "error_msg": text}
        call.answer(self.status, msgspec.json.encode(body))


class MarketAway(Refused):
    """What the market alone knows cannot be told now."""

    def __init__(self) -> None:
        super().__init__(503, MARKET_AWAY)


@contextlib.contextmanager
def asking_the_market() -> Iterator[None]:
    """Refuse with 503 what cannot be known while the market is not reached."""
    try:
        yield
    except UNREACHABLE as away:
        raise MarketAway from away


def cost_of(cost: float) -> float:
    """A request's cost. Refuses with 400 what is none: it would spoil every sum that it is in."""
    if not (math.isfinite(cost) and 0 <= cost <= UNITS_MAX):
        raise Refused(400, f"cost must be a number, at least 0 and at most {UNITS_MAX:g}")
    return cost


def body_of(call: Call, kind: type[Read]) -> Read:
    """The JSON body of a call. Refuses with 400 what is not of that kind."""
    try:
        return msgspec.json.decode(call.body or b"{}", type=kind, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, f"the body cannot be read: {error}") from None


def key_of(call: Call, in_body: str = "") -> str:
    """The key that a call carries. Refuses with 401 when it carries none."""
    if in_body:
        return in_body
    bearer = call.header(b"authorization") or b""
    if bearer[:7].lower() == b"bearer ":
        return bearer[7:].decode("latin-1").strip()
    if "api_key=" in call.query:
        return (parse_qs(call.query).get("api_key") or [""])[0]
    raise Refused(401, NO_KEY)


async def account_of(engine: Engine, key: str) -> int | None:
    """The account whose key this is; None when it is nobody's. Refuses with 503 as above."""
    with asking_the_market():
        return await engine.account_of(key)


async def _found(engine: Engine, find: Callable[[], Definition | None]) -> Definition | None:
    """What is found at once, or else after one more look at the market: it may be new."""
    found = find()
    if found is None:
        with asking_the_market():
            await engine.refresh_for_stranger()
        found = find()
    return found


async def holder_of(engine: Engine, key: str) -> Definition | int:
    """Whose a key is: an endpoint's own, or an account's, which may be new.

    Refuses with 401 when the key is nobody's, with 503 when the market cannot be asked.
    """
    own = engine.endpoint_of_key(key)
    if own is not None:
        return own
    account = await account_of(engine, key)
    if account is not None:
        return account
    own = await _found(engine, lambda: engine.endpoint_of_key(key))
    if own is None:
        raise Refused(401, BAD_KEY)
    return own


async def endpoint_named(engine: Engine, account: int, name: str) -> Definition | None:
    """An account's endpoint, which may be new. Refuses with 503 as above."""
    return await _found(engine, lambda: engine.endpoint_named(account, name))


async def endpoint_for(engine: Engine, key: str, name: str) -> Definition:
    """The endpoint of that name that a key is good for: the endpoint's own, or its account's.

    Refuses as `holder_of` does, and with 400 when there is no such endpoint.
    """
    holder = await holder_of(engine, key)
    if isinstance(holder, Definition):
        if holder.name != name:
            raise Refused(400, f"this key is not for an endpoint {name!r}")
        return holder
    found = await endpoint_named(engine, holder, name)
    if found is None:
        raise Refused(400, f"you have no endpoint {name!r}")
    return found


async def endpoint_by_id(engine: Engine, key: str, endpoint: int) -> Definition:
    """The endpoint of that number, if the key is good for it. Refuses as `endpoint_for` does."""
    holder = await holder_of(engine, key)
    found = await _found(engine, lambda: engine.endpoint(endpoint))
    if found is None or not _is_good_for(holder, found):
        raise Refused(404, f"there is no endpoint {endpoint} among yours")
    return found


async def endpoint_of_group(engine: Engine, key: str, group: int) -> Definition:
    """The endpoint of a worker group, if the key is good for it. Refuses as `endpoint_for` does."""
    holder = await holder_of(engine, key)
    found = await _found(engine, lambda: engine.endpoint_of_group(group))
    if found is None or not _is_good_for(holder, found):
        raise Refused(404, f"there is no worker group {group} among yours")
    return found


def _is_good_for(holder: Definition | int, endpoint: Definition) -> bool:
    if isinstance(holder, Definition):
        return holder.id == endpoint.id
    return holder == endpoint.account
