"""What is asked of every candidate: all that it takes, a steady rate, and streams."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from lineup import JSON_HEADERS, KEY, PATH, REST_CORE, Candidate
from model import CHUNKS
from tools import HERE, wrk

from measure import quantile
from mercato.http.call import Headers
from mercato.http.client import Origin, OriginFailed, Pool
from mercato.http.line import Line, Sink

CONNECTIONS: Final = 32
RATE_PER_S: Final = 1_000
STREAMS_PER_S: Final = 100
STREAMS: Final = 16
SHARE: Final = 0.5
"""Latency is asked for at no more than this share of what a candidate does at most: at more than it
can do, it would be that of a queue which grows for as long as one looks."""
PER_S_MAX: Final = 45_000
STREAMS_PER_S_MAX: Final = 1_000
"""More than any candidate does: so many tickets are made for each second."""


class Answer(Sink):
    """A sink that counts, and notes when the body began."""

    def __init__(self) -> None:
        self.status = 0
        self.events = 0
        """Pieces of text that came, where they are streamed."""
        self.first_s = 0.0

    def begin(self, line: Line, status: int, headers: Headers, length: int | None) -> None:
        del line, headers, length
        self.status = status

    def write(self, chunk: bytes) -> None:
        if not self.first_s:
            self.first_s = asyncio.get_running_loop().time()
        self.events += chunk.count(b"data: ")

    def flush(self) -> None:
        pass

    def end(self) -> None:
        pass


class Result:
    """What one candidate has shown: figures of every round, times of all its answers."""

    def __init__(self) -> None:
        self.per_s: list[float] = []
        self.cpu_us: list[float] = []
        self.rate_per_s: list[float] = []
        self.p50_ms: list[float] = []
        self.p99_ms: list[float] = []
        self.chunks_per_s: list[float] = []
        self.streams_per_s: list[float] = []
        self.first_p50_ms: list[float] = []
        self.first_p99_ms: list[float] = []
        self.bad: Counter[str] = Counter()
        """Answers that were not as they should be, by what was the matter."""

    def look(self, answer: Answer, *, stream: bool = False) -> None:
        """Count an answer that is bad."""
        if answer.status != 200:
            self.bad[f"status {answer.status}"] += 1
        elif stream and answer.events < 0.9 * CHUNKS:
            self.bad["not the whole stream"] += 1


async def closed_loop(one: Candidate, result: Result, seconds: int, home: Path) -> None:
    """As many requests as it takes, on 32 connections."""
    bodies = home / "bodies"
    bodies.write_bytes(b"\n".join(one.bodies(int(PER_S_MAX * seconds))) + b"\n")
    before_s = one.runs.cpu_s if one.runs else 0.0
    found = await wrk(
        one.url,
        HERE / "bodies.lua",
        *(PATH, str(bodies), KEY),
        connections=CONNECTIONS,
        seconds=seconds,
        core=REST_CORE,
    )
    result.per_s.append(found.per_s)
    if one.runs is not None:
        result.cpu_us.append((one.runs.cpu_s - before_s) * 1e6 / (found.per_s * seconds))
    if found.bad:
        result.bad["with all that it takes"] += found.bad


async def streams(one: Candidate, result: Result, seconds: int) -> None:
    """Sixteen streams at once, each followed by another while the time lasts."""
    pool, clock = Pool(Origin.of(one.url)), asyncio.get_running_loop().time
    bodies = itertools.cycle(one.bodies(STREAMS_PER_S_MAX * seconds, stream=True))
    began_s, ended = clock(), 0

    async def follow() -> None:
        nonlocal ended
        while clock() < began_s + seconds:
            answer = await _asked(pool, next(bodies), result)
            if answer is not None:
                ended += 1
                result.look(answer, stream=True)

    await asyncio.gather(*(follow() for _ in range(STREAMS)))
    result.chunks_per_s.append(ended * CHUNKS / (clock() - began_s))
    pool.close()


async def steady(one: Candidate, result: Result, seconds: int) -> None:
    """A thousand requests a second, or half of what it has just done: when the answer is whole."""
    rate_per_s = min(RATE_PER_S, SHARE * result.per_s[-1])
    took_ms: list[float] = []

    async def ask(pool: Pool, body: bytes, due_s: float) -> None:
        answer = await _asked(pool, body, result)
        if answer is not None:
            took_ms.append((asyncio.get_running_loop().time() - due_s) * 1e3)
            result.look(answer)

    count = int(rate_per_s * seconds)
    await _come(one, one.bodies(count), count, rate_per_s, ask)
    result.rate_per_s.append(rate_per_s)
    result.p50_ms.append(quantile(took_ms, 0.5))
    result.p99_ms.append(quantile(took_ms, 0.99))


async def steady_streams(one: Candidate, result: Result, seconds: int) -> None:
    """A hundred streams a second, or half of what it has just done: when its text begins."""
    rate_per_s = min(STREAMS_PER_S, SHARE * result.chunks_per_s[-1] / CHUNKS)
    first_ms: list[float] = []

    async def ask(pool: Pool, body: bytes, due_s: float) -> None:
        answer = await _asked(pool, body, result)
        if answer is not None:
            first_ms.append((answer.first_s - due_s) * 1e3)
            result.look(answer, stream=True)

    count = max(2, int(rate_per_s * seconds))
    await _come(one, one.bodies(count, stream=True), count, rate_per_s, ask)
    result.streams_per_s.append(rate_per_s)
    result.first_p50_ms.append(quantile(first_ms, 0.5))
    result.first_p99_ms.append(quantile(first_ms, 0.99))


Ask = Callable[[Pool, bytes, float], Coroutine[Any, Any, None]]


async def _come(
    one: Candidate, bodies: list[bytes], count: int, rate_per_s: float, ask: Ask
) -> None:
    """Ask at random moments, whatever becomes of those before."""
    luck, loop = random.Random(1), asyncio.get_running_loop()
    pool = Pool(Origin.of(one.url))
    due_s = loop.time() + 0.05
    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            due_s += luck.expovariate(rate_per_s)
            if (wait_s := due_s - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            tasks.create_task(ask(pool, bodies[number % len(bodies)], due_s))
    pool.close()


async def _asked(pool: Pool, body: bytes, result: Result) -> Answer | None:
    answer = Answer()
    try:
        await pool.exchange(pool.request("POST", PATH, body, JSON_HEADERS), answer)
    except OriginFailed as failure:
        result.bad[str(failure).replace(pool.origin.authority, "it")] += 1
        return None
    return answer
