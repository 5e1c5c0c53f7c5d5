"""The engine's HTTP: what clients, workers and owners ask of it (contract, sections 2.11 and 4)."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

import msgspec

from mercato.engine import asking, views
from mercato.engine.asking import MarketAway, Refused, body_of, cost_of, key_of
from mercato.engine.door import Door
from mercato.engine.engine import Engine
from mercato.engine.journal import Grain
from mercato.engine.peers import Peers
from mercato.engine.post import BadReport
from mercato.engine.reports import Unreadable, finished_of, status_of
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
        try:
            definition = await asking.endpoint_for(self._engine, key, asked.endpoint)
        except MarketAway as away:
            if self._engine.account_last(key) is None:
                raise
            # It was good a minute ago: its client keeps its place until that is known anew.
            self._let_wait(call, asked, str(away))
            return
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
        self._let_wait(call, asked, "the endpoint's engine is being replaced")

    def _let_wait(self, call: Call, asked: RouteAsked, why: str) -> None:
        now_ms = self._engine.clock.now_ms()
        idx = asked.request_idx or self._engine.numbers.next(now_ms)
        body = {"endpoint": asked.endpoint, "status": why, "request_idx": idx}
        call.answer(200, msgspec.json.encode(body))

    # Workers.

    def _pubkey(self, call: Call) -> None:
        headers = (*self._clock_header(), (PROTOCOL_HEADER, b"%d" % PROTOCOL))
        call.answer(200, self._engine.signer.public, TEXT, headers)

    def _clock_header(self) -> Headers:
        return ((CLOCK_HEADER, b"%d" % self._engine.clock.now_ms()),)

    def _worker_status(self, call: Call) -> Work | None:
        try:
            status, left = status_of(call.body, self._engine.is_worker)
            return self._heard(call, status.id, status.mtoken, status, left)
        except Unreadable as bad:
            Refused(400, str(bad)).answer(call)
        except Refused as refused:
            refused.answer(call)
        return None

    def _delete_requests(self, call: Call) -> Work | None:
        try:
            told, left = finished_of(call.body, self._engine.is_worker)
            return self._heard(call, told.worker_id, told.mtoken, told, left)
        except Unreadable as bad:
            Refused(400, str(bad)).answer(call)
        except Refused as refused:
            refused.answer(call)
        return None

    def _heard(
        self, call: Call, worker: int, token: str, told: Status | DeleteRequests, left: list[str]
    ) -> Work | None:
        engine = self._engine
        if not engine.is_worker(worker, token):
            raise Refused(401, "no worker of that number has this token")
        found = engine.post(worker)
        if found is None:
            return self._report_elsewhere(call, worker)
        station, post = found
        if left:
            station.note_unread(post, left)
        try:
            if isinstance(told, Status):
                station.desk.hear(post, told)
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
        station = await self._peers.station_of(self._engine, definition.id, call)
        if station is not None:
            shown = view(station, group, tail)
            call.answer(200, msgspec.json.encode(shown))

    async def _update_workers(self, call: Call) -> None:
        asked = body_of(call, UpdateAsked)
        key = key_of(call, asked.api_key)
        account = await asking.account_of(self._engine, key)
        if account is None:
            raise Refused(401, asking.BAD_KEY)
        try:
            with asking.asking_the_market():
                count = await self._engine.market.renew(
                    account, GroupId(asked.workergroup_id), cancel=asked.cancel_update
                )
        except LookupError:
            raise Refused(404, f"you have no worker group {asked.workergroup_id}") from None
        body = {"success": True, "cancelled": asked.cancel_update, "workers_to_update": count}
        call.answer(200, msgspec.json.encode(body))

    def _health(self, call: Call) -> None:
        if self._engine.well:
            call.answer(200, b'{"ok":true}')
        else:
            call.answer(503, b'{"ok":false,"error":"the engine has not looked round for long"}')

    async def _asked(self, answer: Callable[[Call], Work], call: Call) -> None:
        try:
            await answer(call)
        except Refused as refused:
            refused.answer(call)


def _checked(asked: RouteAsked, now_s: float, caller: int) -> Ask:
    """What is asked, within bounds. Refuses with 400 what makes no sense."""
    cost = cost_of(asked.cost)
    wait_s = asked.deadline_s
    if wait_s is not None and not 0 < wait_s <= DEADLINE_MAX_S:
        raise Refused(400, "deadline_s must be above 0 and at most a day")
    return Ask(
        cost=cost,
        caller=caller,
        idx=asked.request_idx,
        priority=min(max(asked.priority, 0), PRIORITY_MAX),
        deadline_s=None if wait_s is None else now_s + wait_s,
        chain=tuple(map(hash, asked.affinity[:CHAIN_MAX])),
    )
