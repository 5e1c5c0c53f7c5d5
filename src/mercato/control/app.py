"""The control plane put together: settings, database, offers, agents, loops, API.

`create_app` builds it for any ASGI server, `serve` runs it with uvicorn until it is told to stop.
"""

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any, Final, Protocol

import psycopg
import structlog
import uvicorn
from prometheus_client import generate_latest
from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from mercato.control import logs
from mercato.control.api import documentation, openapi
from mercato.control.api.agents import Agents
from mercato.control.api.auth import KeyRing
from mercato.control.api.fleet import Recruiter
from mercato.control.api.limits import RateLimits
from mercato.control.api.offer_book import OfferBook
from mercato.control.api.order_desk import OrderDesk
from mercato.control.api.requests import Requests
from mercato.control.api.routes import ROUTES
from mercato.control.api.server import Api
from mercato.control.api.services import Services
from mercato.control.blobs.blobs import Blobs
from mercato.control.blobs.directory import Directory
from mercato.control.blobs.s3 import S3, Bucket
from mercato.control.clock import Clock, SystemClock
from mercato.control.db import AWAY, Database
from mercato.control.flows import ordering, serving
from mercato.control.flows.house import House
from mercato.control.flows.observing import observe
from mercato.control.loops.all import loops
from mercato.control.loops.driver import Driver
from mercato.control.metrics import registry
from mercato.control.migrate import SchemaTooNew, migrate
from mercato.control.payments.provider import Provider
from mercato.control.payments.providers import BY_HAND, Providers
from mercato.control.payments.stripe import Stripe
from mercato.control.pokes import Pokes
from mercato.control.secrets_box import SecretsBox
from mercato.control.settings import Settings
from mercato.control.store import views
from mercato.market.ids import MachineId
from mercato.wire.agent import FRAME_BYTES_MAX

STOP_GRACE_S: Final = 5
"""Requests at work when the server stops get this long."""

_log = structlog.get_logger("mercato.app")


class CannotStart(Exception):  # noqa: N818 - one line for the operator
    """The control plane cannot start; the message says why and what to do."""


class ControlPlane:
    """Every part of one replica, and how they start and stop together."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        """Build the parts; nothing runs yet."""
        self._work: set[asyncio.Task[None]] = set()
        self.also_hears: Callable[[Sequence[str]], None] = lambda _topics: None
        """Hears every topic that was poked; what accompanies the control plane sets it."""
        self._pokes = Pokes(settings.database_url, self._hear, self._was_deaf)
        self.db = Database(
            settings.database_url,
            connections_max=settings.connections_max,
            on_poke=self._pokes.tell,
        )
        house = House(box=SecretsBox.at(settings.data_key), rules=settings.rules)
        keys = KeyRing(self.db, clock)
        agents = Agents(self.db, clock, keys, partial(observe, house=house))
        providers, blobs = _providers(settings), _blobs(settings, house)
        self.driver = Driver(loops(self.db, house, clock.now_ms(), providers, blobs), clock)
        orders = OrderDesk(self.db, clock, house)
        self._requests = Requests()
        counted = registry(self.db, self.driver.loops, lambda: agents.connected, self._states)
        counted.register(self._requests)
        self.services = Services(
            db=self.db,
            clock=clock,
            house=house,
            keys=keys,
            limits=RateLimits(per_s=settings.calls_per_s, burst=settings.calls_burst),
            agents=agents,
            offers=OfferBook(self.db, clock, orders.offered),
            orders=orders,
            providers=providers,
            blobs=blobs,
            observe=self._requests.count,
            exposition=partial(generate_latest, counted),
            loops=lambda: self.driver.loops,
            spawn=self._spawn,
            openapi=openapi.encoded(ROUTES),
            documentation=documentation.page(ROUTES),
            body_bytes_max=settings.body_bytes_max,
            upload_bytes_max=settings.upload_bytes_max,
            public_url=settings.public_url,
        )
        self.api = Api(self.services, ROUTES)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everything runs while this is held."""
        await asyncio.to_thread(self._open)
        running = [
            asyncio.create_task(self._pokes.run(), name="pokes"),
            asyncio.create_task(self.services.offers.run(), name="offers"),
            asyncio.create_task(self.services.orders.run(), name="orders"),
            asyncio.create_task(self.driver.run(), name="loops"),
        ]
        try:
            yield
        finally:
            await self.services.agents.hang_up()
            for task in (*running, *self._work):
                task.cancel()
            await asyncio.gather(*running, *self._work, return_exceptions=True)
            await asyncio.to_thread(self.db.close)

    def recruiter(self, engine_url: str) -> Recruiter:
        """The market as an engine in this process knows it; workers report to `engine_url`."""
        return Recruiter(
            db=self.db,
            clock=self.services.clock,
            house=self.services.house,
            offers=self.services.offers,
            keys=self.services.keys,
            blobs=self.services.blobs,
            engine_url=engine_url,
        )

    def _open(self) -> None:
        try:
            self.db.open()
        except AWAY as problem:
            reason = (str(problem).strip().splitlines() or ["no answer"])[0]
            raise CannotStart(f"the database cannot be reached: {reason}") from None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("background_work_failed", exc_info=task.exception())

    def _hear(self, topics: Sequence[str]) -> None:
        machines = [
            MachineId(int(name))
            for kind, _, name in (topic.partition(":") for topic in topics)
            if kind == "machine"
        ]
        if machines:
            self.services.offers.poke(machines)
            self.services.agents.poke(machines)
        if "keys" in topics:
            self.services.keys.forget()
        if ordering.TOPIC in topics:
            self.services.orders.poke()
        self.driver.poke(topics)
        self.also_hears(topics)

    def _states(self) -> dict[str, int]:
        return self.db.run_now(views.states)

    def _was_deaf(self) -> None:
        """Pokes may have been lost: ask everybody and believe no key."""
        self.services.agents.poke_everyone()
        self.services.orders.poke()
        self.services.keys.forget()
        self.also_hears(["keys", serving.TOPIC])


def _providers(settings: Settings) -> Providers:
    """Payments by hand always, and through Stripe where the operator has an account there."""
    by_name: dict[str, Provider] = dict(BY_HAND.by_name)
    if settings.stripe_key is None:
        return BY_HAND
    by_name["stripe"] = Stripe(
        settings.stripe_key, settings.stripe_webhook_secret or "", settings.stripe_url
    )
    return Providers(by_name, "stripe")


def _blobs(settings: Settings, house: House) -> Blobs:
    """A bucket where the operator has one, else a directory of this server."""
    if settings.s3_url is None:
        root = settings.uploads or settings.data_key.parent / "uploads"
        return Directory(root, house.box.derived("mercato uploads"))
    return S3(
        Bucket(
            url=settings.s3_url,
            name=settings.s3_bucket,
            region=settings.s3_region,
            prefix=settings.s3_prefix,
            access_key=settings.s3_access_key,
            secret_key=settings.s3_secret_key,
        )
    )


class Companion(Protocol):
    """What is served beside the control plane in its process, such as an engine."""

    def around(self, rest: ASGIApp) -> ASGIApp:
        """An application that answers the companion's calls and leaves the rest to `rest`."""
        ...

    def running(self) -> contextlib.AbstractAsyncContextManager[None]:
        """The companion runs while this is held; the control plane does already."""
        ...


Accompanied = Callable[[ControlPlane], Companion]


def create_app(
    settings: Settings, clock: Clock | None = None, by: Accompanied | None = None
) -> Starlette:
    """The control plane, and what accompanies it, as an ASGI application."""
    plane = ControlPlane(settings, clock or SystemClock())
    companion = None if by is None else by(plane)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as parts:
            await parts.enter_async_context(plane.running())
            if companion is not None:
                await parts.enter_async_context(companion.running())
            yield

    async def agent_line(websocket: WebSocket) -> None:
        await plane.services.agents.serve(websocket)

    app = Starlette(
        routes=[
            WebSocketRoute("/agent/v1/connect", agent_line),
            Mount("/", plane.api if companion is None else companion.around(plane.api)),
        ],
        lifespan=lifespan,
    )
    app.state.plane = plane
    return app


def serve(settings: Settings, by: Accompanied | None = None) -> int:
    """Run the control plane, and what accompanies it, until it is told to stop; the exit status.

    What keeps it from starting is told in one line on standard error.
    """
    logs.set_up(settings.log_format, settings.log_level)
    try:
        with _listen(settings.host, settings.port) as listener:
            _migrate(settings.database_url)
            return _serve(settings, listener, by)
    except CannotStart as problem:
        print(f"mercato: {problem}", file=sys.stderr)  # noqa: T201 - for whoever started it
        return 1


def _serve(settings: Settings, listener: socket.socket, by: Accompanied | None) -> int:
    config = uvicorn.Config(
        create_app(settings, by=by),
        log_config=None,
        access_log=False,
        ws_max_size=FRAME_BYTES_MAX,
        timeout_graceful_shutdown=STOP_GRACE_S,
        server_header=False,
        lifespan="on",
    )
    server = uvicorn.Server(config)
    # Having stopped, uvicorn raises the signal that told it to once more. It has been heard, and
    # whoever called us still has things to put away: an embedded database above all.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_heard: None)
    _log.info("serving", url=f"http://{settings.host}:{settings.port}")
    server.run(sockets=[listener])
    return 0 if server.started else 1


def _migrate(url: str) -> None:
    try:
        migrate(url)
    except SchemaTooNew as problem:
        raise CannotStart(str(problem)) from None
    except psycopg.Error as problem:
        reason = (str(problem).strip().splitlines() or ["no answer"])[0]
        raise CannotStart(f"the database cannot be reached: {reason}; check DATABASE_URL") from None


@contextlib.contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(2_048)
        except (OSError, OverflowError) as problem:
            reason = getattr(problem, "strerror", None) or str(problem)
            raise CannotStart(
                f"cannot listen on {host}:{port}: {reason}; choose another with --port"
            ) from None
        yield listener
