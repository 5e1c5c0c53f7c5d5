"""What a route decision costs: with 10,000 workers, and by cached prefix among 64.

Everything of a route call but HTTP: the choice, the books, the ticket.
Run: PYTHONPATH=bench:. python bench/dataplane/routes.py [workers]
"""

import asyncio
import random
import sys
import time
from collections import deque
from collections.abc import Iterator
from itertools import count, repeat

from measure import Table, quantile, report
from mercato.engine.clock import SystemClock
from mercato.engine.engine import Engine
from mercato.engine.request import Ask, Ready
from mercato.engine.standalone import StandaloneMarket
from mercato.serverless.endpoint import Endpoint, Policy
from mercato.wire.worker import Finished, Status

DECISIONS = 50_000


async def furnished(workers: int, policy: Policy) -> Engine:
    """An engine with so many ready workers of unlike speed, on one endpoint."""
    luck = random.Random(1)
    market = StandaloneMarket(SystemClock())
    endpoint = market.add_endpoint("llm", "key", Endpoint(policy=policy))
    for worker in range(1, workers + 1):
        market.add_worker(
            endpoint, worker, "token", kind=f"{worker % 7}x GPU", gpu_price=worker % 90
        )
    engine = Engine(market, SystemClock(), "bench")
    await engine.open()
    for worker in range(1, workers + 1):
        station, post = engine.post(worker) or sys.exit("no such worker")
        station.desk.hear(
            post,
            Status(
                id=worker,
                loadtime=1.0,
                max_perf=luck.uniform(50, 500),
                url=f"http://127.0.0.1:{1 + worker}",
                slots=8,
            ),
        )
    return engine


Chains = Iterator[tuple[int, ...]]


def talks() -> Chains:
    """Prompts of talks that grow turn by turn, up to 64 blocks; all begin with one long text."""
    luck = random.Random(2)
    open_talks: deque[tuple[int, ...]] = deque(maxlen=2_000)
    for turn in count():
        before = tuple(range(8))
        if open_talks and luck.random() < 0.7:
            before = open_talks[luck.randrange(len(open_talks))]
        chain = (*before, *(1_000 + 8 * turn + n for n in range(luck.randint(1, 8))))[:64]
        open_talks.append(chain)
        yield chain


def decide(engine: Engine, workers: int, chains: Chains) -> tuple[list[float], float]:
    """Ask and finish, with two requests at each worker on average.

    Microseconds on the wall of each ask, and of the processor for an ask on average.
    """
    (station,) = engine.stations.values()
    desk = station.desk
    under_way: deque[Ready] = deque()
    at = {post.url: post for post in station.fleet.posts.values()}
    took: list[float] = []
    spent_s = 0.0
    for turn in range(DECISIONS + 2 * workers):
        ask = Ask(cost=100.0, chain=next(chains))
        spent, began = time.thread_time(), time.perf_counter()
        desk.ask(ask, lambda ready: under_way.append(ready) if ready else None)
        took.append((time.perf_counter() - began) * 1e6)
        if turn >= 2 * workers:
            spent_s += time.thread_time() - spent
        if len(under_way) > 2 * workers:
            ready = under_way.popleft()
            done = Finished(request_idx=ready.request_idx, success=True, status="Success")
            desk.finish(at[ready.url], [done])
    return took[-DECISIONS:], spent_s / DECISIONS * 1e6


async def main() -> None:
    """Measure, print and keep."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    rows = []
    for name, policy, workers, chains in (
        ("policy auto", Policy.AUTO, most, repeat(())),
        ("policy vast", Policy.VAST, most, repeat(())),
        ("policy auto", Policy.AUTO, 64, repeat(())),
        ("policy auto, by prefix", Policy.AUTO, 64, talks()),
        ("policy vast, by prefix", Policy.VAST, 64, talks()),
    ):
        engine = await furnished(workers, policy)
        took, processor = decide(engine, workers, chains)
        rows.append(
            (
                name,
                f"{workers:,}",
                f"{processor:.1f}",
                f"{quantile(took, 0.5):.1f}",
                f"{quantile(took, 0.99):.1f}",
                f"{1e6 / processor:,.0f}",
            )
        )
    columns = ("", "workers", "processor us", "p50 us", "p99 us", "a second and core")
    text = (
        "All of a route call but its HTTP: the choice, the books and the signed ticket, on workers "
        "of unlike speed with two requests each on average. By prefix: prompts of up to 64 blocks "
        "of growing talks that all begin alike, the worst case for a choice by what is cached. On "
        "a busy machine the 99th percentile is the wait for a core."
    )
    report(__file__, "What a route decision costs", text, [Table("", columns, rows)])


if __name__ == "__main__":
    asyncio.run(main())
