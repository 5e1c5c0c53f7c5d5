"""What a route decision costs with 10,000 workers: in memory alone, and over HTTP.

Run: PYTHONPATH=bench:. python bench/dataplane/routes.py [workers]
"""

import asyncio
import random
import sys
import time
from collections import deque
from itertools import count

from measure import quantile
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


def decide(engine: Engine, workers: int) -> list[float]:
    """Ask and finish, with two requests at each worker on average; microseconds per ask."""
    (station,) = engine.stations.values()
    desk = station.desk
    under_way: deque[Ready] = deque()
    at = {post.url: post for post in station.fleet.posts.values()}
    took = []
    for turn in count():
        began = time.perf_counter()
        desk.ask(Ask(cost=100.0), lambda ready: under_way.append(ready) if ready else None)
        took.append((time.perf_counter() - began) * 1e6)
        if len(under_way) > 2 * workers:
            ready = under_way.popleft()
            done = Finished(request_idx=ready.request_idx, success=True, status="Success")
            desk.finish(at[ready.url], [done])
        if turn > DECISIONS + 2 * workers:
            return took[-DECISIONS:]
    return took


async def main() -> None:
    """Measure and print."""
    workers = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    for policy in (Policy.AUTO, Policy.VAST):
        engine = await furnished(workers, policy)
        took = decide(engine, workers)
        print(
            f"{policy:<6} {workers} workers: mean {sum(took) / len(took):6.1f} us, "
            f"p50 {quantile(took, 0.5):6.1f}, p99 {quantile(took, 0.99):6.1f} us a decision, "
            f"ticket included; {1e6 * len(took) / sum(took):,.0f} decisions/s"
        )


if __name__ == "__main__":
    asyncio.run(main())
