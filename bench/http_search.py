"""Searches a second over HTTP, beside the same server returning the same bytes all the time.

Run as `.venv/bin/python bench/http_search.py`. One server process with 20,000 offers, one process
that asks over 16 connections as fast as it is answered; runs of all kinds take turns. In one kind
all ask the same, in the others every search is another query: for the same disk, as clients ask, or
each for another, so that every row has another price.
"""

import asyncio
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx2
import msgspec
import psutil  # type: ignore[import-untyped]
import uvicorn
import uvloop

from measure import Table, ms, quantile, report
from mercato.control import logs
from mercato.control.api.call import Call, Nothing
from mercato.control.api.route import Route
from mercato.control.api.routes import ROUTES
from mercato.control.api.server import Api
from mercato.control.app import ControlPlane, create_app
from mercato.control.embedded import EmbeddedPostgres
from mercato.control.migrate import migrate
from mercato.control.settings import Settings
from mercato.market.access import Permission
from offers_market import DEFAULTS, Market

OFFERS = 20_000
CONNECTIONS = 16
SECONDS = 4.0
ROUNDS = 5
PATH = "/api/v0/bundles/"
KINDS = {
    "same": "the same search",
    "other": "another search every time",
    "new": "and every row put together anew",
    "route": "a route with the same bytes",
    "bare": "the bare server with the same bytes",
}


def main() -> None:
    runs: dict[str, list[Run]] = {kind: [] for kind in KINDS}
    with (
        tempfile.TemporaryDirectory(prefix="mercato-bench-") as home,
        EmbeddedPostgres(Path(home)) as url,
        server(url, Path(home)) as (address, process),
    ):
        answer = httpx2.post(f"{address}{PATH}", json=query(0, 8.0)).content
        offers = msgspec.json.decode(answer)["offers"]
        for _ in range(ROUNDS):
            for kind, seen in runs.items():
                seen.append(uvloop.run(load(address, process, kind)))
    cpu = {kind: quantile([run.cpu_us for run in seen], 0.5) for kind, seen in runs.items()}
    rows = []
    for kind, seen in runs.items():
        waits = [wait for run in seen for wait in run.waits]
        rows.append(
            [
                KINDS[kind],
                f"{quantile([run.rate for run in seen], 0.5):,.0f}",
                ms(quantile(waits, 0.5)),
                ms(quantile(waits, 0.99)),
                f"{cpu[kind]:,.0f}",
                f"{cpu['route'] / cpu[kind]:.2f}",
                f"{cpu['bare'] / cpu[kind]:.2f}",
            ]
        )
    report(
        __file__,
        "Searching offers over HTTP",
        f"{len(offers)} offers of {len(offers[0])} fields, {len(answer) / 1_000:.0f} kB, of "
        f"{OFFERS:,}; {CONNECTIONS} connections, {ROUNDS} runs of {SECONDS:g} s of each kind in "
        "turn, asked and answered on the same cores. The shares "
        "compare the server's processor time for an answer, which other work on the machine "
        "disturbs least.",
        [
            Table(
                "",
                (
                    *("answer", "a second", "p50 ms", "p99 ms", "CPU us"),
                    *("of a route with the same bytes", "of the bare server with them"),
                ),
                rows,
            )
        ],
    )


@dataclass(frozen=True)
class Run:
    """What came of one run: answers a second, waits in milliseconds, the server's time for one."""

    rate: float
    waits: list[float]
    cpu_us: float


def query(number: int, disk_gb: float) -> dict[str, Any]:
    """Another query every time, which many offers match."""
    return {
        **DEFAULTS,
        "num_gpus": {"gte": 1},
        "disk_space": {"gte": 10 + number / 10_000},
        "allocated_storage": disk_gb,
        "order": [["dph_total", "asc"]],
        "type": "on-demand",
        "limit": 64,
    }


async def load(address: str, process: psutil.Process, kind: str) -> Run:
    """Ask for SECONDS."""
    loop = asyncio.get_running_loop()
    host, _, port = address.removeprefix("http://").partition(":")
    path = {"route": "/constant", "bare": "/bare"}.get(kind, PATH)
    numbers = [0] if kind == "same" else range(5_000)
    bodies = [
        msgspec.json.encode(query(number, 8.0 + number / 1_000 if kind == "new" else 8.0))
        for number in numbers
    ]
    requests = itertools.cycle(
        b"POST %b HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\nContent-Length: %d"
        b"\r\n\r\n%b" % (path.encode(), host.encode(), len(body), body)
        for body in bodies
    )
    until = loop.time() + SECONDS
    spent = process.cpu_times()
    began = time.perf_counter()
    asking = [
        (await loop.create_connection(lambda: Asking(requests, until, loop), host, int(port)))[1]
        for _ in range(CONNECTIONS)
    ]
    await asyncio.gather(*(one.done for one in asking))
    lasted = time.perf_counter() - began
    more = process.cpu_times()
    cpu_s = more.user + more.system - spent.user - spent.system
    waits = [wait for one in asking for wait in one.waits]
    return Run(len(waits) / lasted, waits, cpu_s / len(waits) * 1e6)


class Asking(asyncio.Protocol):
    """One connection: asks again as soon as it is answered."""

    def __init__(
        self, requests: Iterator[bytes], until: float, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.waits: list[float] = []
        self.done: asyncio.Future[None] = loop.create_future()
        self._requests = requests
        self._until = until
        self._loop = loop
        self._left = 0
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        if not self._left:
            head, _, body = data.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = head.lower().partition(b"content-length: ")[2]
            self._left = int(length.partition(b"\r\n")[0]) - len(body)
        else:
            self._left -= len(data)
        if not self._left:
            self.waits.append((time.perf_counter() - self._sent) * 1_000)
            if self._loop.time() < self._until:
                self._ask()
            else:
                self._transport.close()
                self.done.set_result(None)

    def _ask(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(next(self._requests))


@contextmanager
def server(database_url: str, home: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The control plane with its offers in a process of its own; its address."""
    process = subprocess.Popen(
        [sys.executable, __file__, "serve", database_url, str(home)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().decode().strip(), psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def serve(database_url: str, home: Path) -> None:
    logs.set_up("json", "info")
    migrate(database_url)
    app = create_app(Settings(database_url=database_url, data_key=home / "data.key", calls_per_s=0))
    plane: ControlPlane = app.state.plane

    async def constant(call: Call, asked: Nothing) -> bytes:  # noqa: ARG001 - nothing is asked
        """Answer the same bytes always."""
        return answer

    plane.api = Api(
        plane.services,
        [*ROUTES, Route("POST", "/constant", Permission.PUBLIC, constant)],
    )

    async def bare_too(scope: Any, receive: Any, send: Any) -> None:
        """The control plane, but for two paths that always answer the same."""
        if scope["type"] == "http" and scope["path"] != "/bare":
            await plane.api(scope, receive, send)
        elif scope["type"] == "http":
            await receive()
            length = str(len(answer)).encode()
            headers = [(b"content-type", b"application/json"), (b"content-length", length)]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": answer})
        else:
            await app(scope, receive, send)

    rows = {number: row for some in Market(OFFERS).rows() for number, row in some.items()}
    plane.services.offers._index.change(rows)  # noqa: SLF001 - a market without its hosts
    answer = b'{"success":true,"offers":' + plane.services.offers.search(query(0, 8.0), 0) + b"}"
    config = uvicorn.Config(bare_too, port=0, log_config=None, access_log=False, lifespan="on")
    uvloop.run(_serve(uvicorn.Server(config)))


async def _serve(running: uvicorn.Server) -> None:
    serving = asyncio.create_task(running.serve())
    while not running.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    port = running.servers[0].sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}", flush=True)
    await serving


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
