"""The engine's HTTP: what clients, workers and owners ask of it (contract, sections 2.11 and 4)."""

import math
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

import msgspec

from mercato.engine import asking, views
from mercato.engine.asking import Refused, body_of, key_of
from mercato.engine.door import Door
from mercato.engine.engine import Engine
from mercato.engine.journal import Grain
from mercato.engine.peers import Peers
from mercato.engine.post import BadReport
from mercato.engine.request import Ask, Desk, Ready
from mercato.http.call import TEXT, Call, Headers
from mercato.serverless.endpoint import GroupId
from mercato.serverless.prefix import CHAIN_MAX
from mercato.wire.fleet import Definition
from mercato.wire.worker import (
    CLOCK_HEADER,
    PROTOCOL,
    PROTOCOL_HEADER,
    DeleteRequests,
    Status,
)

COST_DEFAULT: Final = 100.0
COST_MAX: Final = 1e12
PRIORITY_MAX: Final = 100
DEADLINE_MAX_S: Final = 86_400.0

Work = Coroutine[Any, Any, None]
Route = Callable[[Call], Work | None]


class RouteAsked(msgspec.Struct, kw_only=True):
    """Body of `/route/`; the last three fields are Mercato's own."""

    endpoint: str = ""
    api_key: str = ""
    cost: float = COST_DEFAULT
    request_idx: int = 0
    priority: int = 0
    """0 is served first."""
    deadline_s: float | None = None
    """The request is given up when it has waited this long."""
    affinity: list[int | str] = []
    """Marks of the beginning of its prompt, one for each block of some 512 tokens: requests whose
    marks begin alike go to the same worker where that pays. Those after the 64th do not count."""


class ById(msgspec.Struct, kw_only=True):
    """Body of the calls about one endpoint or group."""

    id: int
    api_key: str = ""
    tail: int | None = None


class UpdateAsked(msgspec.Struct, kw_only=True):
    """Body of `/update_workers/`."""

    workergroup_id: int
    api_key: str = ""
    cancel_update: bool = False


class _Line:
    """A client that waits for the answer to its route call."""

    __slots__ = ("call", "desk", "idx")

    def __init__(self, call: Call, desk: Desk) -> None:
        self.call = call
        self.desk = desk
        self.idx = 0

    def __call__(self, ready: Ready | None) -> None:
        """Answer it."""
        if ready is not None:
            self.call.answer(200, msgspec.json.encode(ready))
        else:
            self.call.answer(200, views.waiting(self.desk.fleet, self.idx))


class Api:
    """Answers calls with an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._peers = Peers()
        self._door = Door(engine, self._peers)
        self._routes: dict[tuple[str, str], Route] = {
            ("POST", "/route"): self._route,
            ("GET", "/pubkey"): self._pubkey,
            ("POST", "/worker_status"): self._worker_status,
            ("POST", "/delete_requests"): self._delete_requests,
            ("POST", "/get_endpoint_workers"): self._of_endpoint(views.workers),
            ("POST", "/get_endpoint_logs"): self._of_endpoint(views.logs),
            ("POST", "/get_endpoint_decisions"): self._of_endpoint(views.decisions),
            ("POST", "/get_autogroup_workers"): self._of_group(views.workers),
            ("POST", "/get_workergroup_workers"): self._of_group(views.workers),
            ("POST", "/get_autogroup_logs"): self._of_group(views.logs),
            ("POST", "/get_workergroup_logs"): self._of_group(views.logs),
            ("POST", "/update_workers"): partial(self._asked, self._update_workers),
            ("GET", "/health"): self._health,
        }

    def knows(self, method: str, path: str) -> bool:
        """Whether a call is this engine's to answer; for whoever serves other things beside it."""
        return (method, path.rstrip("/")) in self._routes or self._door.knows(path)

    def handle(self, call: Call) -> Work | None:
        """Answer a call, now or by the work that is returned."""
        route = self._routes.get((call.method, call.path.rstrip("/")))
        if route is not None:
            return route(call)
        if self._door.knows(call.path):
            return self._door.open(call)
        call.answer(404, b'{"success":false,"error":"not_found","msg":"there is no such call"}')
        return None

    # Clients.

    def _route(self, call: Call) -> Work | None:
        try:
            asked = body_of(call, RouteAsked)
            key = key_of(call, asked.api_key)
            definition = self._engine.endpoint_of_key(key)
            if definition is None or definition.name != asked.endpoint:
                return self._asked(partial(self._route_by, asked, key), call)
            return self._ask(definition, asked, key, call)
        except Refused as refused:
            refused.answer(call)
            return None

    async def _route_by(self, asked: RouteAsked, key: str, call: Call) -> None:
        definition = await asking.endpoint_for(self._engine, key, asked.endpoint)
        work = self._ask(definition, asked, key, call)
        if work is not None:
            await work

    def _ask(self, definition: Definition, asked: RouteAsked, key: str, call: Call) -> Work | None:
        station = self._engine.stations.get(definition.id)
        if station is None:
            return self._elsewhere(definition, asked, call)
        ask = _checked(asked, self._engine.clock.now_s(), hash(key) & 0xFFFF_FFFF)
        line = _Line(call, station.desk)
        line.idx = station.desk.ask(ask, line)
        if not call.ended:
            call.on_gone = partial(station.desk.hang_up, line.idx, line)
        return None

    async def _elsewhere(self, definition: Definition, asked: RouteAsked, call: Call) -> None:
        """Ask the engine that has the endpoint. While nobody has it, its clients wait.

        They get a number at once, so that their place is kept whoever has it next.
        """
        address = self._engine.others.get(definition.id)
        if address and await self._peers.pass_on(call, address):
            return
        now_ms = self._engine.clock.now_ms()
        idx = asked.request_idx or self._engine.numbers.next(now_ms)
        text = "the endpoint's engine is being replaced"
        body = {"endpoint": definition.name, "status": text, "request_idx": idx}
        call.answer(200, msgspec.json.encode(body))

    # Workers.

    def _pubkey(self, call: Call) -> None:
        headers = (*self._clock_header(), (PROTOCOL_HEADER, b"%d" % PROTOCOL))
        call.answer(200, self._engine.signer.public, TEXT, headers)

    def _clock_header(self) -> Headers:
        return ((CLOCK_HEADER, b"%d" % self._engine.clock.now_ms()),)

    def _worker_status(self, call: Call) -> Work | None:
        try:
            status = body_of(call, Status)
            return self._heard(call, status.id, status.mtoken, status, [])
        except Refused as refused:
            refused.answer(call)
            return None

    def _delete_requests(self, call: Call) -> Work | None:
        try:
            told = body_of(call, DeleteRequests)
            return self._heard(call, told.worker_id, told.mtoken, None, told)
        except Refused as refused:
            refused.answer(call)
            return None

    def _heard(
        self, call: Call, worker: int, token: str, status: Status | None, told: Any
    ) -> Work | None:
        engine = self._engine
        if not engine.is_worker(worker, token):
            raise Refused(401, "no worker of that number has this token")
        found = engine.post(worker)
        if found is None:
            return self._report_elsewhere(call, worker)
        station, post = found
        try:
            if status is not None:
                station.desk.hear(post, status)
            else:
                station.desk.finish(post, told.requests)
        except BadReport as bad:
            line = f"worker {worker} reports what cannot be: {bad}"
            station.journal.write(Grain.REPORTS, engine.clock.now_s(), line)
            raise Refused(400, str(bad)) from None
        call.answer(200, b"{}", headers=self._clock_header())
        return None

    async def _report_elsewhere(self, call: Call, worker: int) -> None:
        endpoint = self._engine.endpoint_of_worker(worker)
        address = self._engine.others.get(endpoint) if endpoint is not None else None
        if not address or not await self._peers.pass_on(call, address):
            # It will tell it again.
            call.answer(503, b'{"error":"the endpoint\'s engine is being replaced"}')

    # Owners.

    def _of_endpoint(self, view: views.View) -> Route:
        async def answer(call: Call) -> None:
            asked = body_of(call, ById)
            key = key_of(call, asked.api_key)
            definition = await asking.endpoint_by_id(self._engine, key, asked.id)
            await self._show(call, definition, view, None, asked.tail)

        return partial(self._asked, answer)

    def _of_group(self, view: views.View) -> Route:
        async def answer(call: Call) -> None:
            asked = body_of(call, ById)
            key = key_of(call, asked.api_key)
            definition = await asking.endpoint_of_group(self._engine, key, asked.id)
            await self._show(call, definition, view, GroupId(asked.id), asked.tail)

        return partial(self._asked, answer)

    async def _show(
        self,
        call: Call,
        definition: Definition,
        view: views.View,
        group: GroupId | None,
        tail: int | None,
    ) -> None:
        station = self._engine.stations.get(definition.id)
        if station is not None:
            shown = view(station, group, tail)
            call.answer(200, msgspec.json.encode(shown))
            return
        address = self._engine.others.get(definition.id)
        if not address or not await self._peers.pass_on(call, address):
            raise Refused(503, "the endpoint's engine is being replaced; ask again in a moment")

    async def _update_workers(self, call: Call) -> None:
        asked = body_of(call, UpdateAsked)
        key = key_of(call, asked.api_key)
        account = await self._engine.account_of(key)
        if account is None:
            raise Refused(401, asking.BAD_KEY)
        try:
            count = await self._engine.market.renew(
                account, GroupId(asked.workergroup_id), cancel=asked.cancel_update
            )
        except LookupError:
            raise Refused(404, f"you have no worker group {asked.workergroup_id}") from None
        body = {"success": True, "cancelled": asked.cancel_update, "workers_to_update": count}
        call.answer(200, msgspec.json.encode(body))

    def _health(self, call: Call) -> None:
        call.answer(200, b'{"ok":true}')

    async def _asked(self, answer: Callable[[Call], Work], call: Call) -> None:
        try:
            await answer(call)
        except Refused as refused:
            refused.answer(call)


def _checked(asked: RouteAsked, now_s: float, caller: int) -> Ask:
    """What is asked, within bounds. Refuses with 400 what makes no sense."""
    if not (math.isfinite(asked.cost) and 0 <= asked.cost <= COST_MAX):
        raise Refused(400, "cost must be a number, at least 0")
    wait_s = asked.deadline_s
    if wait_s is not None and not 0 < wait_s <= DEADLINE_MAX_S:
        raise Refused(400, "deadline_s must be above 0 and at most a day")
    return Ask(
        cost=asked.cost,
        caller=caller,
        idx=asked.request_idx,
        priority=min(max(asked.priority, 0), PRIORITY_MAX),
        deadline_s=None if wait_s is None else now_s + wait_s,
        chain=tuple(map(hash, asked.affinity[:CHAIN_MAX])),
    )
