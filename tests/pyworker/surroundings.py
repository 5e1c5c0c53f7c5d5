"""What surrounds a worker in these tests: an engine that is told everything, and a model server."""

import asyncio
import base64
import contextlib
import functools
import itertools
import random
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mercato.http.call import Call
from mercato.http.client import Origin, Pool
from mercato.http.line import Answer
from mercato.http.server import Handler, Server
from mercato.pyworker.clock import SystemClock
from mercato.pyworker.place import Place
from mercato.pyworker.server import PyWorker
from mercato.pyworker.worker import ModelLog, Route, Worker
from mercato.wire.worker import (
    CLOCK_HEADER,
    PROTOCOL_HEADER,
    AuthData,
    DeleteRequests,
    Finished,
    Status,
    issue,
    shared_secret,
    signed_text,
)

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
TOKEN = "known to two"
WORKER = 77


def pem(key: rsa.RSAPrivateKey = KEY) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@functools.cache
def signature(url: str, key: rsa.RSAPrivateKey = KEY) -> str:
    return base64.b64encode(key.sign(signed_text(url), PKCS1v15(), SHA256())).decode()


def complain(what: str, error: BaseException) -> None:
    """What a test's own server could not do is shown with the test."""
    sys.stderr.write(f"{what}: {error!r}\n")


async def until(true: Callable[[], bool]) -> None:
    """Wait for what only the inside of this process shows."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - what is looked at sets no event
            await asyncio.sleep(0.005)


class ManualClock:
    """A clock that goes when it is told to."""

    def __init__(self, now_s: float = 1_000_000.0) -> None:
        self.time_s = now_s

    def now_s(self) -> float:
        return self.time_s

    def steady_s(self) -> float:
        return self.time_s


class Engine:
    """Gives tickets and hears reports, as the contract states."""

    def __init__(self, *, full: bool = True, clock: Any = None) -> None:
        self.full = full
        self.clock = clock or SystemClock()
        self.numbers = itertools.count(1)
        self.statuses: list[Status] = []
        self.finished: list[Finished] = []
        self.heard = asyncio.Event()
        self.deaf = False
        self.refuses: Callable[[Call], bool] = lambda _: False
        self.server = Server(self._take, complain)
        self.url = ""

    @property
    def now_ms(self) -> int:
        return int(self.clock.now_s() * 1_000)

    @property
    def last(self) -> Status:
        """What the worker said last; nothing sensible before it did."""
        return self.statuses[-1] if self.statuses else Status(id=0, cur_load=-1.0)

    def _take(self, call: Call) -> None:
        headers = [(CLOCK_HEADER, b"%d" % self.now_ms)]
        if self.deaf:
            call.answer(503)
            return
        if self.refuses(call):
            call.answer(400, b"what cannot be")
            return
        if call.path == "/pubkey/":
            headers.append((PROTOCOL_HEADER, b"1" if self.full else b"0"))
            call.answer(200, pem(), b"text/plain", headers)
            return
        if call.path == "/worker_status/":
            self.statuses.append(msgspec.json.decode(call.body, type=Status))
        elif call.path == "/delete_requests/":
            self.finished += msgspec.json.decode(call.body, type=DeleteRequests).requests
        self.heard.set()
        call.answer(200, b"{}", headers=headers)

    def auth(self, url: str, *, worker: int = WORKER, cost: float = 100.0) -> AuthData:
        number = next(self.numbers)
        auth = AuthData(
            endpoint="vllm",
            url=url,
            cost=cost,
            reqnum=number,
            request_idx=1_000 + number,
            signature=signature(url),
        )
        auth.ticket = issue(shared_secret(TOKEN), auth, worker, self.now_ms)
        return auth

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until something is true of what was heard."""
        async with asyncio.timeout(20):
            while not true():
                self.heard.clear()
                await self.heard.wait()

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator["Engine"]:
        port = await self.server.listen("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{port}"
        try:
            yield self
        finally:
            await self.server.stop(0.0)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Running:
    """A worker that runs, and one of its clients."""

    def __init__(self, worker: PyWorker, place: Place, engine: Engine) -> None:
        self.worker = worker
        self.place = place
        self.engine = engine
        # A connection of its own for each: what is broken off is never taken for a stale one.
        self.pool = Pool(Origin.of(place.url), kept_s=-1.0)

    async def ask(
        self,
        path: str,
        payload: Any,
        *,
        auth: AuthData | None = None,
        session: str | None = None,
        cost: float = 100.0,
    ) -> Answer:
        body = {
            "auth_data": auth or self.engine.auth(self.place.url, cost=cost),
            "session_id": session,
            "payload": payload,
        }
        return await self.post(path, body)

    async def post(self, path: str, body: Any) -> Answer:
        encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return await self.pool.fetch("POST", path, encoded, timeout_s=30)


@contextlib.asynccontextmanager
async def model_server(handler: Handler) -> AsyncIterator[str]:
    server = Server(handler, complain)
    port = await server.listen("127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await server.stop(0.0)


def placed(engine: Engine, **changes: Any) -> Place:
    port, plain = free_ports(2)
    place = Place(
        id=WORKER,
        token=TOKEN,
        engines=(engine.url,),
        port=port,
        sessions_port=plain,
        url=f"http://127.0.0.1:{port}",
        tls=False,
    )
    return msgspec.structs.replace(place, **changes)


@contextlib.asynccontextmanager
async def running(
    what: Worker | tuple[Route, ...], *, full: bool = True, wait: bool = True, **changes: Any
) -> AsyncIterator[Running]:
    """A worker beside an engine; ready, unless `wait` is false."""
    worker = what if isinstance(what, Worker) else Worker(routes=what)
    async with Engine(full=full).up() as engine:
        place = placed(engine, **changes)
        one = PyWorker(worker, place, SystemClock(), random.SystemRandom())
        task = asyncio.create_task(one.run())
        try:
            if wait:
                async with asyncio.timeout(20):
                    await one.ready.wait()
                await engine.until(lambda: any(s.loadtime > 0 for s in engine.statuses))
            yield Running(one, place, engine)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def logged(path: Path) -> ModelLog:
    return ModelLog(file=str(path), loaded=("Model loaded",), failed=("CUDA error",))
