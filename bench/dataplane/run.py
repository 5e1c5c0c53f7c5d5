"""The worker beside its peers, in one run, as ratios: throughput, added latency, streams.

Every candidate runs alone on the first core and passes requests on to the same model, which shares
the second with whoever asks. All take their turns in every round, so that a noisy machine is noisy
for all. Trust the ratios, not the figures; where others use the machine too, trust the processor
time of a request (`cpu us`, and how many times nginx's it is: above 1 is less than nginx).

Peers from PyPI get environments of their own in ~/.cache/mercato-bench (MERCATO_BENCH_CACHE).

Run: PYTHONPATH=bench:. python bench/dataplane/run.py [--rounds 3] [--seconds 2] [NAME ...]
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import uvloop
from lineup import CANDIDATES, REST_CORE, Candidate, Clerk
from loads import (
    CONNECTIONS,
    RATE_PER_S,
    STREAMS,
    STREAMS_PER_S,
    Result,
    closed_loop,
    steady,
    steady_streams,
    streams,
)
from tools import HERE, CannotRun, Program, free_ports

from measure import Table, report

WARM_S: Final = 1
STREAMS_S: Final = 1


class Run:
    """All rounds of all candidates that can be started."""

    def __init__(self, names: Sequence[str], seconds: int, home: Path) -> None:
        self.results: dict[str, Result] = {}
        self.cannot: dict[str, str] = {}
        """Why a candidate could not be measured."""
        self._names = names
        self._seconds = seconds
        self._home = home

    async def play(self, rounds: int) -> None:
        """Let each take its turn in each round."""
        clerk = Clerk()
        await clerk.listen()
        (port,) = free_ports(1)
        home = self._home / "m"
        model = Program(sys.executable, HERE / "model.py", port, core=REST_CORE, cwd=home)
        model.start()
        try:
            for turn in range(rounds):
                for name in self._names:
                    if name not in self.cannot:
                        await self._take_turn(name, self._home / f"{name}{turn}", port, clerk)
        finally:
            model.stop()

    async def _take_turn(self, name: str, home: Path, model: int, clerk: Clerk) -> None:
        (port,) = free_ports(1)
        one: Candidate | None = None
        try:
            one = CANDIDATES[name](home, model, port, clerk)
            await one.start()
            await self._ask(one)
        except CannotRun as error:
            self.cannot[name] = str(error)
            print(f"{name}: {error}", file=sys.stderr)
        finally:
            if one is not None:
                one.stop()

    async def _ask(self, one: Candidate) -> None:
        await closed_loop(one, Result(), WARM_S, self._home)
        result = self.results.setdefault(one.name, Result())
        await closed_loop(one, result, self._seconds, self._home)
        await steady(one, result, self._seconds)
        await streams(one, result, STREAMS_S)
        await steady_streams(one, result, self._seconds)


middle = statistics.median


def times(figure: float, other: Result | None, name: str) -> str:
    """How many times the other's figure."""
    return f"{figure / middle(getattr(other, name)):.2f}" if other else "-"


def added(result: Result, base: Result, name: str) -> str:
    """Milliseconds more than going straight to the model."""
    return f"{middle(getattr(result, name)) - middle(getattr(base, name)):.2f}"


def whole_answers(results: dict[str, Result]) -> Table:
    """Requests that are answered at once."""
    floor, vendor = results.get("nginx"), results.get("vastai worker")
    rows = []
    for name, result in results.items():
        per_s = middle(result.per_s)
        cpu_us = middle(result.cpu_us) if result.cpu_us else 0.0
        rows.append(
            (
                name,
                f"{per_s:,.0f}",
                times(per_s, floor, "per_s"),
                times(per_s, vendor, "per_s"),
                f"{cpu_us:,.0f}",
                f"{middle(floor.cpu_us) / cpu_us:.2f}" if floor and cpu_us else "-",
                f"{middle(result.rate_per_s):,.0f}",
                added(result, results["direct"], "p50_ms"),
                added(result, results["direct"], "p99_ms"),
                str(result.bad.total()),
            )
        )
    columns = (
        *("candidate", "req/s", "x nginx", "x vastai", "cpu us", "nginx's x"),
        *("at req/s", "p50 +ms", "p99 +ms", "bad"),
    )
    return Table("Whole answers", columns, rows)


def streamed(results: dict[str, Result]) -> Table:
    """Answers that come in pieces."""
    floor, vendor = results.get("nginx"), results.get("vastai worker")
    rows = []
    for name, result in results.items():
        chunks = middle(result.chunks_per_s)
        rows.append(
            (
                name,
                f"{chunks:,.0f}",
                times(chunks, floor, "chunks_per_s"),
                times(chunks, vendor, "chunks_per_s"),
                f"{middle(result.streams_per_s):,.0f}",
                added(result, results["direct"], "first_p50_ms"),
                added(result, results["direct"], "first_p99_ms"),
            )
        )
    columns = (
        *("candidate", "chunks/s", "x nginx", "x vastai"),
        *("at streams/s", "first p50 +ms", "first p99 +ms"),
    )
    return Table("Streams", columns, rows)


def show(run: Run, rounds: int, seconds: int) -> None:
    """Tables: medians over the rounds, and ratios."""
    results = run.results
    base = results["direct"]
    text = f"""
Medians of {rounds} rounds of {seconds} s. Requests a second on {CONNECTIONS} connections;
processor time of a request, and how many of it nginx's is; latency that is added at {RATE_PER_S:,}
requests a second, or at half of what a candidate does where that is less, to going straight to the
model, whose p50 is {middle(base.p50_ms):.2f} ms and p99 {middle(base.p99_ms):.2f} ms.

Chunks a second of {STREAMS} streams; what is added at {STREAMS_PER_S} streams a second, or at half
as many as it does, until the text begins (straight to the model p50
{middle(base.first_p50_ms):.2f} ms, p99 {middle(base.first_p99_ms):.2f} ms).
"""
    bad = [
        f"- Bad answers of {name}: {count:,} x {why}."
        for name, result in results.items()
        for why, count in result.bad.most_common()
    ]
    cannot = [f"- {name} could not be measured here: {why}." for name, why in run.cannot.items()]
    tables = [whole_answers(results), streamed(results)]
    report("dataplane", "The worker beside its peers", "\n".join([text, *bad, *cannot]), tables)


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(CANDIDATES)}; all by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2)
    options = parser.parse_args()
    os.sched_setaffinity(0, {REST_CORE})
    if unknown := set(options.names) - set(CANDIDATES):
        parser.error(f"no such candidate: {', '.join(sorted(unknown))}")
    asked = {"direct", *(options.names or CANDIDATES)}
    names = [name for name in CANDIDATES if name in asked]
    with tempfile.TemporaryDirectory() as home:
        run = Run(names, options.seconds, Path(home))
        uvloop.run(run.play(options.rounds))
        show(run, options.rounds, options.seconds)


if __name__ == "__main__":
    main()
