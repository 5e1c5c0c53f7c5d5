"""From nothing to a thousand requests a second at once: engine, two workers, a model, one client.

Each request asks the engine for a worker and then that worker for an answer, as clients do. What
counts are errors; times are those of a machine that all of it shares.
Run: PYTHONPATH=bench:. python bench/dataplane/step.py [rate] [seconds]
"""

import asyncio
import random
import sys
import tempfile
from pathlib import Path

import msgspec

from measure import Table, quantile, report
from mercato.http.client import Origin, OriginFailed, Pool
from tests.engine.street import KEY, Street

WORKERS = 2


class Crowd:
    """Requests that come at random moments, whatever becomes of those before."""

    def __init__(self, street: Street) -> None:
        self.engine = Pool(Origin.of(street.url))
        self.workers: dict[str, Pool] = {}
        self.took_ms: list[float] = []
        self.errors: list[str] = []

    async def come(self, rate_per_s: float, seconds: float) -> None:
        luck, loop = random.Random(1), asyncio.get_running_loop()
        due_s, tasks = loop.time(), []
        for _ in range(int(rate_per_s * seconds)):
            due_s += luck.expovariate(rate_per_s)
            if (wait_s := due_s - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            tasks.append(loop.create_task(self._ask(due_s)))
        await asyncio.gather(*tasks)

    async def _ask(self, due_s: float) -> None:
        asked = {"endpoint": "llm", "api_key": KEY, "cost": 1.0, "request_idx": 0}
        try:
            while True:
                route = await self.engine.fetch("POST", "/route/", msgspec.json.encode(asked))
                said = msgspec.json.decode(route.body)
                if "url" in said:
                    break
                asked["request_idx"] = said["request_idx"]
            pool = self.workers.setdefault(said["url"], Pool(Origin.of(said["url"])))
            body = {"auth_data": said, "session_id": None, "payload": {"n": 1}}
            answer = await pool.fetch("POST", "/generate", msgspec.json.encode(body), timeout_s=60)
            if answer.status != 200:
                self.errors.append(f"{answer.status} {answer.body[:80]!r}")
        except OriginFailed as error:
            self.errors.append(str(error))
        self.took_ms.append((asyncio.get_running_loop().time() - due_s) * 1e3)


async def main() -> None:
    """Measure, print and keep."""
    rate, seconds = (float(one) for one in (*sys.argv[1:], "1000", "10")[:2])
    with tempfile.TemporaryDirectory() as home:
        async with Street.up(Path(home), "ours", WORKERS) as street:
            crowd = Crowd(street)
            await crowd.come(rate, seconds)
            await street.until_nothing_is_here()
    for why in sorted(set(crowd.errors)):
        print(why)
    took = crowd.took_ms
    row = (
        f"{rate:,.0f} a second for {seconds:.0f} s",
        f"{len(took):,}",
        str(len(crowd.errors)),
        f"{quantile(took, 0.5):.1f}",
        f"{quantile(took, 0.99):.1f}",
    )
    columns = ("", "requests", "errors", "p50 ms", "p99 ms")
    text = (
        "A standalone engine, two workers, their model and the client, all on this machine; at the "
        "end every count of what is under way was exactly 0."
    )
    report(
        __file__, "From nothing to a thousand requests a second", text, [Table("", columns, [row])]
    )


if __name__ == "__main__":
    asyncio.run(main())
