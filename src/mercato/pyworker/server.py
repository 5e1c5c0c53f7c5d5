"""A worker put together and run: listen, load, measure, serve, report, until told to end."""

import asyncio
import hmac
import random
import ssl
from collections.abc import Coroutine
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from mercato.http.call import Call
from mercato.http.server import Handler, Server
from mercato.pyworker import benchmark, ready, sessions, worker
from mercato.pyworker.clock import Clock
from mercato.pyworker.measure import Measure, counted
from mercato.pyworker.model import Model
from mercato.pyworker.place import Place
from mercato.pyworker.report import Reports
from mercato.pyworker.request import REFUSALS, Desk, complaint
from mercato.pyworker.sessions import LIFETIME_MAX_S, Opening, Session, Sessions
from mercato.pyworker.ticket import TicketCheck, Verdict
from mercato.wire.worker import AuthData

HEALTH_MAX_S: Final = 300.0
KEY_MAX_S: Final = 60.0
STOP_GRACE_S: Final = 8.0
"""What is under way when the worker is told to end gets this long."""

_log = structlog.get_logger("mercato.pyworker")


class CannotServe(Exception):  # noqa: N818 - one line for whoever starts the worker
    """The worker cannot start; the message says why."""


class NotReady(Exception):  # noqa: N818 - reported to the engine
    """The worker does not become ready; the message says why."""


class _SessionAsked(msgspec.Struct, kw_only=True):
    """Body of `/session/create`."""

    auth_data: AuthData
    payload: Opening


class _SessionNamed(msgspec.Struct, kw_only=True):
    """Body of the other session calls."""

    session_id: str = ""
    session_auth: Any = None


class PyWorker:
    """One run of a worker."""

    def __init__(
        self, what: worker.Worker, place: Place, clock: Clock, luck: random.Random
    ) -> None:
        """`luck` names sessions and this run; it should be secure. Raises ValueError as `check`."""
        worker.check(what)
        self._what = what
        self._place = place
        self._clock = clock
        self._measured = next((route for route in what.routes if route.benchmark), None)
        self._model = Model(what.model)
        self._measure = Measure(clock)
        self._tickets = TicketCheck(place, clock)
        self._sessions = Sessions(self._measure, clock, luck, what.sessions_max)
        slots = _slots(what, self._measured)
        self._desk = Desk(
            self._model, self._measure, self._tickets, self._sessions, what.at_once, slots
        )
        boot = f"{luck.getrandbits(64):016x}"
        self._reports = Reports(place, self._measure, self._tickets, clock, boot)
        self._reports.slots = slots
        self.ready = asyncio.Event()
        self._routes: dict[str, Handler] = {
            route.path: partial(self._desk.take, route) for route in what.routes
        }
        self._routes |= {
            "/session/create": self._create_session,
            "/session/get": self._show_session,
            "/session/health": self._check_session,
            "/session/end": self._end_session,
            "/pyworker/update": self._update,
        }

    async def run(self) -> None:
        """Serve until cancelled; then let what is under way end, and tell the engine.

        Raises:
            CannotServe: when its port cannot be had, after the engine has been told.
        """
        servers = [Server(self._handle, _complain), Server(self._handle_plain, _complain)]
        try:
            await self._listen(*servers)
        except (OSError, ssl.SSLError) as error:
            why = f"cannot listen on port {self._place.port}: {error}"
            self._reports.error(why)
            await self._reports.tell()
            raise CannotServe(why) from error
        _log.info("listening", port=self._place.port, url=self._place.url)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._reports.fetch_key())
                tasks.create_task(self._reports.run())
                tasks.create_task(self._sessions.sweep_for_ever())
                tasks.create_task(self._become_ready())
        finally:
            await asyncio.gather(*(server.stop(STOP_GRACE_S) for server in servers))
            await self._reports.tell()
            self._model.close()

    async def _listen(self, main: Server, plain: Server) -> None:
        tls = None
        if self._place.tls:
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            tls.load_cert_chain(self._place.certificate, self._place.key)
        await main.listen("0.0.0.0", self._place.port, tls=tls)  # noqa: S104 - its port is mapped
        await plain.listen("0.0.0.0", self._place.sessions_port)  # noqa: S104 - the same

    async def _become_ready(self) -> None:
        """Loaded, measured, well, able to tell tickets apart: then ready; then watch."""
        loaded = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            if self._what.log is not None:
                tasks.create_task(ready.follow(self._what.log, loaded, self._reports.error))
            try:
                perf = await self._readied(loaded)
            except (NotReady, benchmark.BenchmarkFailed) as why:
                self._reports.error(str(why))
                return
            self._desk.perf = perf
            self._reports.loaded(perf)
            self.ready.set()
            _log.info("ready", perf=perf)
            if self._what.health is not None:
                await ready.watch(self._model, self._what.health, self._reports.error)

    async def _readied(self, loaded: asyncio.Event) -> float:
        health = self._what.health
        if self._what.log is not None and self._what.log.loaded:
            await loaded.wait()
        elif health is not None:
            await ready.well(self._model, health)
        elif self._what.model is not None:
            await ready.listening(self._model)
        perf = worker.WORKLOAD
        if self._measured is not None:
            perf = await benchmark.measured(self._measured, self._model, self._clock)
        try:
            async with asyncio.timeout(HEALTH_MAX_S):
                if health is not None:
                    await ready.well(self._model, health)
        except TimeoutError:
            raise NotReady(f"{health} did not answer 200 within {HEALTH_MAX_S:g} s") from None
        if not self._place.unsecured:
            try:
                async with asyncio.timeout(KEY_MAX_S):
                    await self._reports.has_key.wait()
            except TimeoutError:
                raise NotReady("the engine's public key cannot be had") from None
        return perf

    # What may be asked.

    def _handle(self, call: Call) -> Coroutine[Any, Any, None] | None:
        handler = self._routes.get(call.path)
        if handler is not None and call.method == "POST":
            return handler(call)
        if call.path == "/health":
            ready_now = self.ready.is_set()
            call.answer(200 if ready_now else 503, msgspec.json.encode({"ok": ready_now}))
        elif handler is not None:
            call.answer(405, b'{"error":"post here"}', headers=((b"allow", b"POST"),))
        else:
            call.answer(404, b'{"error":"this worker has no such route"}')
        return None

    def _handle_plain(self, call: Call) -> None:
        if call.path == "/session/end" and call.method == "POST":
            self._end_session(call)
        else:
            call.answer(404, b'{"error":"only /session/end is here"}')

    def _create_session(self, call: Call) -> None:
        try:
            asked = msgspec.json.decode(call.body, type=_SessionAsked)
        except (msgspec.DecodeError, UnicodeDecodeError):
            call.answer(422, complaint(call.body))
            return
        if not 0 < asked.payload.lifetime <= LIFETIME_MAX_S:
            call.answer(422, b'{"payload":"lifetime must be above 0 and at most 86400 seconds"}')
            return
        try:
            told_at = sessions.address(asked.payload.on_close_route, self._what.model)
        except ValueError as error:
            call.answer(422, msgspec.json.encode({"payload": f"on_close_route {error}"}))
            return
        # The ticket is looked at first: a full worker must not be told apart by a stranger.
        verdict = self._tickets.check(asked.auth_data)
        if verdict is not Verdict.GOOD or self._sessions.full:
            if verdict in {Verdict.GOOD, Verdict.LATE}:
                self._measure.reject(asked.auth_data.request_idx, counted(asked.auth_data.cost))
            status, why = REFUSALS.get(verdict, (429, b""))
            call.answer(status, why)
            return
        session = self._sessions.open(asked.auth_data, asked.payload, told_at)
        shown = {"session_id": session.id, "expiration": session.expires_s}
        call.answer(201, msgspec.json.encode(shown))

    def _show_session(self, call: Call) -> None:
        found = self._session_of(call, missing=(400, b'{"error":"session does not exist"}'))
        if found is not None:
            session, auth = found
            call.answer(200, msgspec.json.encode(session.shown(auth)))

    def _check_session(self, call: Call) -> None:
        if self._session_of(call, missing=(200, b'{"ok":false}')) is not None:
            call.answer(200, b'{"ok":true}')

    def _end_session(self, call: Call) -> None:
        found = self._session_of(call, missing=(400, b'{"error":"session does not exist"}'))
        if found is not None:
            session, _ = found
            self._sessions.close(session)
            shown = {"ended": True, "removed_session": session.id}
            call.answer(200, msgspec.json.encode(shown))

    def _session_of(self, call: Call, missing: tuple[int, bytes]) -> tuple[Session, Any] | None:
        """The session that a call names and is entitled to; None once it was refused."""
        try:
            named = msgspec.json.decode(call.body, type=_SessionNamed)
        except (msgspec.DecodeError, UnicodeDecodeError):
            call.answer(422, b'{"error":"invalid JSON"}')
            return None
        if not named.session_id:
            call.answer(422, b'{"error":"missing session_id"}')
            return None
        session = self._sessions.get(named.session_id)
        if session is None:
            status, why = missing
            call.answer(status, why)
            return None
        try:
            auth = msgspec.convert(named.session_auth, AuthData)
        except msgspec.ValidationError:
            auth = None
        if auth != session.auth:
            call.answer(401, b'{"error":"session_auth is not valid"}')
            return None
        return session, named.session_auth

    def _update(self, call: Call) -> None:
        token = (call.header(b"authorization") or b"").removeprefix(b"Bearer ")
        known = self._place.token.encode()
        if not known or not hmac.compare_digest(token, known):
            call.answer(401, b'{"error":"unauthorized"}')
            return
        try:
            self._place.update_file.write_text("")
        except OSError as error:
            call.answer(500, msgspec.json.encode({"error": f"cannot note the update: {error}"}))
            return
        call.answer(200, b'{"ok":true}')


def _slots(what: worker.Worker, measured: worker.Route | None) -> int:
    """Requests that the worker does at once, as its benchmark found good."""
    if measured is not None and measured.benchmark is not None and measured.parallel:
        return measured.benchmark.concurrency
    return what.at_once


def _complain(what: str, error: BaseException) -> None:
    _log.error("a request failed", asked=what, exc_info=error)
