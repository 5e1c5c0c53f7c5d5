"""A request at the worker: its ticket, its turn, the model, and what is told of it.

The first half of the story, how a request comes to this worker, stands in engine/request.py.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Coroutine
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from mercato.http.call import JSON, Call, Headers
from mercato.http.client import Exchange, OriginFailed
from mercato.http.line import Line
from mercato.http.relay import Relay
from mercato.pyworker.measure import Measure, Outcome
from mercato.pyworker.model import Model, ModelFailed
from mercato.pyworker.sessions import Session, Sessions
from mercato.pyworker.ticket import GOOD, TicketCheck, Verdict
from mercato.pyworker.worker import WORKLOAD, Refused, Route
from mercato.wire.worker import UNITS_MAX, AuthData

REFUSALS: Final = {
    Verdict.FORGED: (401, b'{"error":"this ticket is not good here"}'),
    Verdict.USED: (401, b'{"error":"this ticket was used before"}'),
    # A status after which clients ask the engine again.
    Verdict.LATE: (408, b'{"error":"this ticket is out of date; ask for another route"}'),
}
BUSY: Final = b'{"error":"the worker has too much to do; ask for another route"}'
NO_SESSION: Final = b'{"error":"invalid session"}'
EVENTS: Final = ((b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache"))


class Asked(msgspec.Struct, kw_only=True):
    """The body of a request: the engine's answer to its route call, and what the model gets."""

    auth_data: AuthData
    session_id: str | None = None
    payload: msgspec.Raw


_READ: Final = msgspec.json.Decoder(Asked)
_SUCCESS: Final = Outcome.SUCCESS
"""Looked up once, as in measure.py."""


class Desk:
    """Takes requests in and sees them through."""

    def __init__(
        self,
        model: Model,
        measure: Measure,
        tickets: TicketCheck,
        sessions: Sessions,
        at_once: int,
        slots: int,
    ) -> None:
        """`at_once` turns at a time; with fewer than `slots` requests here none is refused."""
        self._model = model
        self._measure = measure
        self._tickets = tickets
        self._sessions = sessions
        self._turns = asyncio.Semaphore(at_once)
        self._slots = slots
        self.perf = 0.0
        """Units a second, once measured."""

    def take(self, route: Route, call: Call) -> Coroutine[Any, Any, None] | None:
        """Let a request in, and return the work to be done; None when it was refused."""
        try:
            asked = _READ.decode(call.body)
            load = units(route, asked.payload)
            own = route.answer is not None
            given = msgspec.json.decode(asked.payload) if own else sent(route, asked.payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            call.answer(422, complaint(call.body))
            return None
        auth = asked.auth_data
        session: Session | None = None
        if asked.session_id is not None:
            session = self._sessions.get(asked.session_id)
            if session is None:
                call.answer(410, NO_SESSION)
                return None
        # A session's requests all bear the ticket that opened it, and nobody else's.
        verdict = (
            self._tickets.check(auth)
            if session is None
            else GOOD
            if auth == session.auth
            else Verdict.FORGED
        )
        if verdict is not GOOD:
            if verdict is Verdict.LATE:
                # Of others nothing is told: their numbers may be those of somebody else's request.
                self._measure.reject(auth.request_idx, load)
            status, why = REFUSALS[verdict]
            call.answer(status, why)
            return None
        if self._too_much(route):
            self._measure.reject(auth.request_idx, load)
            call.answer(429, BUSY)
            return None
        if route.parallel and not own:
            self._pass_on(route, call, asked, given, load, session)
            return None
        # Here already, though its task has not begun: else a burst would all be let in.
        number = self._enter(call, asked, load, session, waits=True)
        call.on_gone = partial(self.leave, call, number, Outcome.CANCELLED, session)
        return self._see_through(route, call, given, number, session)

    def _too_much(self, route: Route) -> bool:
        if route.queue_max_s is None or self.perf <= 0 or self._measure.requests < self._slots:
            return False
        return self._measure.exceeds(route.queue_max_s * self.perf)

    def _enter(
        self, call: Call, asked: Asked, load: float, session: Session | None, *, waits: bool
    ) -> int:
        if session is None:
            return self._measure.start(asked.auth_data.request_idx, load, waits=waits)
        self._sessions.prolong(session)
        session.calls.add(call)
        return self._measure.start_in_session(load, waits=waits)

    def leave(self, call: Call, number: int, outcome: Outcome, session: Session | None) -> None:
        """A request is over."""
        self._measure.end(number, outcome)
        if session is not None:
            session.calls.discard(call)

    def _pass_on(
        self,
        route: Route,
        call: Call,
        asked: Asked,
        given: bytes,
        load: float,
        session: Session | None,
    ) -> None:
        """See a request through that waits for no turn; without a task, which would cost most."""
        number = self._enter(call, asked, load, session, waits=False)
        passed = _PassedOn(self, call, number, session)
        passed.exchange = self._model.pass_on(route.to or route.path, given, passed, passed.over)
        call.on_gone = passed.gone

    async def _see_through(
        self, route: Route, call: Call, given: Any, number: int, session: Session | None
    ) -> None:
        call.on_gone = None  # from here on it ends below
        outcome = Outcome.CANCELLED
        try:
            if route.parallel:
                outcome = await self._work(route, call, given, number)
            else:
                async with self._turns:
                    outcome = await self._work(route, call, given, number)
        finally:
            self.leave(call, number, outcome, session)

    async def _work(self, route: Route, call: Call, given: Any, number: int) -> Outcome:
        self._measure.begin(number)
        if route.answer is not None:
            return await answered(route, given, self._model, call)
        relay = Relay(call)
        try:
            await self._model.relay(route.to or route.path, given, relay)
        except OriginFailed as failure:
            fail(call, failure)
            return Outcome.ERROR
        return Outcome.SUCCESS if relay.status < 500 else Outcome.ERROR


class _PassedOn(Relay):
    """A request that the model is at work on, and its answer on the way back."""

    __slots__ = ("_desk", "_number", "_session", "exchange")

    def __init__(self, desk: Desk, call: Call, number: int, session: Session | None) -> None:
        Relay.__init__(self, call)  # super() would cost as much again
        self._desk = desk
        self._number = number
        self._session = session
        self.exchange: Exchange | None = None

    def take(self, line: Line, status: int, headers: Headers, body: bytes) -> None:
        """The whole answer has come at once, as most do."""
        del line
        self.status = status
        self.call.pass_on(status, headers, body)

    def over(self, failure: OriginFailed | None) -> None:
        """The model has answered, or broken off."""
        call = self.call
        call.on_gone = self.exchange = None  # nothing is left that holds itself
        if failure is not None:
            fail(call, failure)
        good = failure is None and self.status < 500
        self._desk.leave(call, self._number, _SUCCESS if good else Outcome.ERROR, self._session)

    def gone(self) -> None:
        """The caller has hung up."""
        if self.exchange is not None:
            self.exchange.cancel()
            self.exchange = None
        self._desk.leave(self.call, self._number, Outcome.CANCELLED, self._session)


async def answered(route: Route, payload: Any, model: Model, call: Call) -> Outcome:
    """Answer a call with what a route's own function makes of the payload."""
    assert route.answer is not None
    try:
        made = route.answer(payload, model)
        if isinstance(made, AsyncIterator):
            await _stream(call, made)
        else:
            value = await made
            whole = value if isinstance(value, bytes) else msgspec.json.encode(value)
            kind = b"application/octet-stream" if isinstance(value, bytes) else JSON
            call.answer(200, whole, kind)
    except Refused as refusal:
        call.answer(refusal.status, msgspec.json.encode({"error": str(refusal)}))
        return Outcome.SUCCESS if refusal.status < 500 else Outcome.ERROR
    except ModelFailed as failure:
        fail(call, failure)
        return Outcome.ERROR
    except Exception as error:  # noqa: BLE001 - the author's code: its bug is this request's only
        structlog.get_logger().exception("an answer failed", path=route.path)
        fail(call, error)
        return Outcome.ERROR
    return Outcome.SUCCESS


async def _stream(call: Call, values: AsyncIterator[Any]) -> None:
    first = True
    room = asyncio.Event()
    room.set()
    call.on_full, call.on_drained = room.clear, room.set
    async for value in values:
        if first:
            call.begin(200, EVENTS, None)
            first = False
        call.write(b"data: %s\n\n" % msgspec.json.encode(value))
        await room.wait()
    if first:
        call.begin(200, EVENTS, None)
    call.write(b"data: [DONE]\n\n")
    call.end()


def fail(call: Call, error: Exception) -> None:
    """Say that the model failed: by the status, or, once it has been told, by breaking off."""
    if call.begun:
        call.abort()
    else:
        call.answer(500, msgspec.json.encode({"error": f"the model failed: {error}"}))


def sent(route: Route, payload: msgspec.Raw) -> bytes:
    """What the model server gets: the payload as it came, but for what the route sets."""
    if not route.over:
        return payload
    said = msgspec.json.decode(payload)
    return msgspec.json.encode({**said, **route.over} if isinstance(said, dict) else said)


def units(route: Route, payload: msgspec.Raw) -> float:
    """The work in a payload; what the route cannot make sense of counts as an ordinary request."""
    if not callable(route.workload):
        return float(route.workload)
    try:
        found = float(route.workload(msgspec.json.decode(payload)))
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError):
        # The payload is not what the route expects: the model will say so to its sender.
        return WORKLOAD
    return min(found, UNITS_MAX) if math.isfinite(found) and found >= 0 else WORKLOAD


def complaint(body: bytes) -> bytes:
    """What is the matter with a body that cannot be read, in the official worker's words."""
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return b'{"error":"invalid JSON"}'
    except RecursionError:
        return b'{"error":"the JSON is nested too deeply"}'
    found: dict[str, object] = {}
    if not isinstance(said, dict):
        return b'{"error":"the body must be a JSON object"}'
    found |= {name: "field missing" for name in ("auth_data", "payload") if name not in said}
    auth = said.get("auth_data")
    if isinstance(auth, dict):
        missing = {
            name: "missing parameter"
            for name in ("cost", "endpoint", "reqnum", "request_idx", "signature", "url")
            if name not in auth
        }
        if missing:
            found["auth_data"] = missing
    if not found:
        try:
            _READ.decode(body)
        except msgspec.DecodeError as error:
            found["error"] = str(error)
    return msgspec.json.encode(found)
