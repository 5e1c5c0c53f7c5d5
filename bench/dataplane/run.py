"""The worker beside its peers, in one run, as ratios: throughput, added latency, streams.

Every candidate runs alone on the first core and passes requests on to the same model, which shares
the second with whoever asks. All take their turns in every round, so that a noisy machine is noisy
for all. Trust the ratios, not the figures; where others use the machine too, trust the processor
time of a request (`cpu us`, and how many times nginx's it is: above 1 is less than nginx).

Run: PYTHONPATH=bench:. python bench/dataplane/run.py [--rounds 3] [--seconds 3] [NAME ...]
"""

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Final

import uvloop
from lineup import (
    CANDIDATES,
    JSON_HEADERS,
    PATH,
    REST_CORE,
    Candidate,
    Clerk,
)
from model import CHUNKS, EVENT
from tools import HERE, Program, free_ports, wrk

from measure import Table, quantile, report
from mercato.http.call import Headers
from mercato.http.client import Line, Origin, OriginFailed, Pool

CONNECTIONS: Final = 32
RATE_PER_S: Final = 1_000
STREAMS: Final = 16
PER_S_MAX: Final = 45_000
"""More than any candidate does: so many tickets are made for each second."""


class Count:
    """A sink that counts."""

    def __init__(self) -> None:
        self.status = 0
        self.bytes = 0

    def begin(self, line: Line, status: int, headers: Headers, length: int | None) -> None:
        del line, headers, length
        self.status = status

    def write(self, chunk: bytes) -> None:
        self.bytes += len(chunk)

    def flush(self) -> None:
        pass

    def end(self) -> None:
        pass


class Result:
    """What one candidate has shown, a figure a round."""

    def __init__(self) -> None:
        self.per_s: list[float] = []
        self.cpu_us: list[float] = []
        self.p50_ms: list[float] = []
        self.p99_ms: list[float] = []
        self.chunks_per_s: list[float] = []
        self.bad = 0


async def closed_loop(one: Candidate, result: Result, seconds: float, home: Path) -> None:
    """As many requests as it takes, on 32 connections."""
    bodies = home / "bodies"
    bodies.write_bytes(b"\n".join(one.bodies(int(PER_S_MAX * seconds))) + b"\n")
    before_s = one.runs.cpu_s if one.runs else 0.0
    found = await wrk(
        one.url,
        HERE / "bodies.lua",
        PATH,
        str(bodies),
        connections=CONNECTIONS,
        seconds=seconds,
        core=REST_CORE,
    )
    result.per_s.append(found.per_s)
    if one.runs is not None:
        result.cpu_us.append((one.runs.cpu_s - before_s) * 1e6 / (found.per_s * seconds))
    result.bad += found.bad


async def open_loop(one: Candidate, result: Result, seconds: float) -> None:
    """A thousand requests a second, whatever becomes of them, at random moments."""
    luck, loop = random.Random(1), asyncio.get_running_loop()
    pool = Pool(Origin.of(one.url))
    count = int(RATE_PER_S * seconds)
    bodies = one.bodies(count)
    took_ms: list[float] = []

    async def ask(body: bytes, due_s: float) -> None:
        sink = Count()
        try:
            await pool.exchange(pool.request("POST", PATH, body, JSON_HEADERS), sink)
        except OriginFailed:
            result.bad += 1
            return
        took_ms.append((loop.time() - due_s) * 1e3)
        result.bad += sink.status != 200

    tasks = []
    due_s = loop.time() + 0.05
    for number in range(count):
        due_s += luck.expovariate(RATE_PER_S)
        if (wait_s := due_s - loop.time()) > 0:
            await asyncio.sleep(wait_s)
        tasks.append(loop.create_task(ask(bodies[number % len(bodies)], due_s)))
    await asyncio.gather(*tasks)
    pool.close()
    result.p50_ms.append(quantile(took_ms, 0.5))
    result.p99_ms.append(quantile(took_ms, 0.99))


async def streams(one: Candidate, result: Result) -> None:
    """Sixteen streams at once, each read to its end, three times over."""
    pool = Pool(Origin.of(one.url))
    bodies = iter(one.bodies(4 * STREAMS, stream=True) * 4 * STREAMS)
    began_s = asyncio.get_running_loop().time()

    async def follow() -> None:
        for _ in range(3):
            sink = Count()
            await pool.exchange(pool.request("POST", PATH, next(bodies), JSON_HEADERS), sink)
            result.bad += sink.status != 200 or sink.bytes < CHUNKS * len(EVENT) * 0.5

    await asyncio.gather(*(follow() for _ in range(STREAMS)))
    took_s = asyncio.get_running_loop().time() - began_s
    result.chunks_per_s.append(3 * STREAMS * CHUNKS / took_s)
    pool.close()


async def measure(names: list[str], rounds: int, seconds: float, home: Path) -> dict[str, Result]:
    """All rounds of all candidates that can be started."""
    clerk = Clerk()
    await clerk.listen()
    (model_port,) = free_ports(1)
    model = Program(sys.executable, HERE / "model.py", model_port, core=REST_CORE, cwd=home / "m")
    model.start()
    results: dict[str, Result] = {}
    try:
        for turn in range(rounds):
            for name in names:
                (port,) = free_ports(1)
                one = CANDIDATES[name](home / f"{name}{turn}", model_port, port, clerk)
                if one is None or not await one.start():
                    print(f"{name}: cannot be measured here", file=sys.stderr)
                    if one is not None:
                        one.stop()
                    continue
                result = results.setdefault(one.name, Result())
                try:
                    await closed_loop(one, result, seconds, home)
                    await open_loop(one, result, seconds)
                    await streams(one, result)
                finally:
                    one.stop()
    finally:
        model.stop()
    return results


def show(results: dict[str, Result], rounds: int, seconds: float) -> None:
    """A table: medians over the rounds, and ratios."""
    middle = statistics.median
    floor = results.get("nginx")
    vendor = results.get("vastai worker")
    base = results["direct"]

    def ratio(figure: float, other: Result | None, name: str) -> str:
        return f"{figure / middle(getattr(other, name)):.2f}" if other else "-"

    rows = []
    for name, result in results.items():
        per_s, chunks = middle(result.per_s), middle(result.chunks_per_s)
        cpu_us = middle(result.cpu_us) if result.cpu_us else 0.0
        rows.append(
            (
                name,
                f"{per_s:,.0f}",
                ratio(per_s, floor, "per_s"),
                ratio(per_s, vendor, "per_s"),
                f"{cpu_us:,.0f}",
                f"{middle(floor.cpu_us) / cpu_us:.2f}" if floor and cpu_us else "-",
                f"{middle(result.p50_ms) - middle(base.p50_ms):.2f}",
                f"{middle(result.p99_ms) - middle(base.p99_ms):.2f}",
                f"{chunks:,.0f}",
                ratio(chunks, floor, "chunks_per_s"),
                str(result.bad),
            )
        )
    report(
        "dataplane",
        "The worker beside its peers",
        f"Medians of {rounds} rounds of {seconds:g} s. Requests a second on {CONNECTIONS} "
        "connections; processor time of a request, and how many of it nginx's is; added latency at "
        f"{RATE_PER_S:,} requests a second over going straight to the model, whose p50 is "
        f"{middle(base.p50_ms):.2f} ms and p99 {middle(base.p99_ms):.2f} ms; chunks a second of "
        f"{STREAMS} streams; bad answers.",
        [
            Table(
                "",
                (
                    *("candidate", "req/s", "x nginx", "x vastai", "cpu us", "nginx's x"),
                    *("p50 +ms", "p99 +ms", "chunks/s", "x nginx", "bad"),
                ),
                rows,
            )
        ],
    )


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(CANDIDATES), choices=list(CANDIDATES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    os.sched_setaffinity(0, {REST_CORE})
    names = [name for name in CANDIDATES if name == "direct" or name in options.names]
    with tempfile.TemporaryDirectory() as home:
        work = measure(names, options.rounds, options.seconds, Path(home))
        show(uvloop.run(work), options.rounds, options.seconds)


if __name__ == "__main__":
    main()
