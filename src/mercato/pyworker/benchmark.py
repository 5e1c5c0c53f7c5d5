"""How much a worker does in a second, measured by itself once its model is loaded."""

import asyncio
import contextlib
import hashlib
import statistics
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgspec

from mercato.http.call import JSON, Call, Headers
from mercato.http.client import OriginFailed
from mercato.http.relay import Relay
from mercato.pyworker.clock import Clock
from mercato.pyworker.model import Model
from mercato.pyworker.request import answered, sent, units
from mercato.pyworker.worker import Benchmark, Route

FILE: Final = Path(".has_benchmark")
"""Keeps the figure over restarts, in the working directory, as the official worker does."""


class BenchmarkFailed(Exception):  # noqa: N818 - the figure is missing, and why
    """Not one request of the benchmark was answered well."""


class _Trial(Call):
    """A call that nobody waits for: only how it went matters."""

    __slots__ = ("status",)

    def __init__(self, path: str) -> None:
        super().__init__("POST", path, "", (), b"")
        self.status = 0

    def answer(
        self, status: int, body: bytes = b"", content_type: bytes = JSON, headers: Headers = ()
    ) -> None:
        """Note the status."""
        del body, content_type, headers
        self.status = status
        self.begun = self.ended = True

    def begin(self, status: int, headers: Headers, length: int | None) -> None:
        """Note the status."""
        del headers, length
        self.status = status
        self.begun = True

    def write(self, chunk: bytes) -> None:
        """Let it go."""

    def end(self) -> None:
        """It went well."""
        self.ended = True

    def abort(self) -> None:
        """It broke off."""
        self.status = 0


async def measured(route: Route, model: Model, clock: Clock, file: Path = FILE) -> float:
    """Units a second: the median of the rounds, or what an earlier run of this route found.

    The official worker takes the best round, and so promises what it seldom keeps.

    Raises:
        BenchmarkFailed: when no request of a round was answered with 200.
    """
    assert route.benchmark is not None
    known = _known(file, route)
    if known is not None:
        return known
    payloads = _payloads(route.benchmark)
    if route.benchmark.warm_up:
        await _tried(route, next(payloads), model)
    rounds = [await _round(route, payloads, model, clock) for _ in range(route.benchmark.rounds)]
    perf = statistics.median(rounds)
    _remember(file, route, perf)
    return perf


def _remember(file: Path, route: Route, perf: float) -> None:
    # Without a place to write it is measured again after a restart.
    with contextlib.suppress(OSError):
        file.write_text(f"{perf!r}\n{_fingerprint(route)}\n")


async def _round(route: Route, payloads: Any, model: Model, clock: Clock) -> float:
    assert route.benchmark is not None
    sent = [next(payloads) for _ in range(route.benchmark.concurrency if route.parallel else 1)]
    began_s = clock.steady_s()
    went_well = await asyncio.gather(*(_tried(route, payload, model) for payload in sent))
    took_s = clock.steady_s() - began_s
    done = [
        units(route, msgspec.Raw(msgspec.json.encode(payload)))
        for payload, well in zip(sent, went_well, strict=True)
        if well
    ]
    if not done:
        raise BenchmarkFailed(
            f"no request of the benchmark of {route.path} was answered with 200; "
            "look at the model server's log"
        )
    return sum(done) / max(took_s, 1e-6)


async def _tried(route: Route, payload: Any, model: Model) -> bool:
    trial = _Trial(route.path)
    if route.answer is not None:
        await answered(route, payload, model, trial)
    else:
        with contextlib.suppress(OriginFailed):
            body = sent(route, msgspec.Raw(msgspec.json.encode(payload)))
            await model.relay(route.to or route.path, body, Relay(trial))
    return trial.status == 200 and trial.ended


def _payloads(benchmark: Benchmark) -> Any:
    given = benchmark.payloads
    if callable(given):
        return (given() for _ in count())
    return (given[turn % len(given)] for turn in count())


def _known(file: Path, route: Route) -> float | None:
    try:
        lines = file.read_text().splitlines()
        perf = float(lines[0])
    except (OSError, ValueError, IndexError):
        return None
    # A file of the official worker has one line, and is believed as that believes it.
    if perf > 0 and (len(lines) == 1 or lines[1] == _fingerprint(route)):
        return perf
    return None


def _fingerprint(route: Route) -> str:
    """Differs when what is measured does."""
    benchmark = route.benchmark
    assert benchmark is not None
    given = "made" if callable(benchmark.payloads) else list(benchmark.payloads)
    parts = (route.path, route.to, route.parallel, benchmark.concurrency, given)
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]
