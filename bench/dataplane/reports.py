"""What a thousand bad reports a second do to the routes of the same engine.

Reports with a wrong token, in another worker's name, and that are no report at all, beside a steady
stream of route calls; in turn with the same routes and no reports.
Run: PYTHONPATH=bench:. python bench/dataplane/reports.py [rounds]
"""

import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path
from statistics import median

import msgspec
from tools import HERE, Load, Program, free_ports, wrk

from measure import Table, report
from mercato.http.client import Origin, OriginFailed, Pool

ROUNDS = 7
SECONDS = 4
ENGINE_CORE, REST_CORE = 0, 1
CONNECTIONS = 16
ROUTE_EVERY_MS, BAD_EVERY_MS = 30, 42
"""On each connection: some 500 route calls a second, and 350 reports of each of three sorts."""
WORKERS = 4


def engine_file(home: Path) -> Path:
    """An endpoint on which every route call is answered at once."""
    rows = ", ".join(f'{{id = {n}, token = "token {n}"}}' for n in range(1, WORKERS + 1))
    file = home / "engine.toml"
    file.write_text(
        f'[[endpoint]]\nname = "llm"\nkey = "key"\nslots = 4096\nworkers = [{rows}]\n'
        'parameters = {state = "suspended", policy = "vast", worker_wait_max_s = 1e9}\n'
    )
    return file


class Reporting:
    """Honest workers, which must go on being heard beside the others."""

    def __init__(self, url: str) -> None:
        self._pool = Pool(Origin.of(url))

    async def once(self) -> None:
        for worker in range(1, WORKERS + 1):
            said = {
                "id": worker,
                "mtoken": f"token {worker}",
                "loadtime": 1.0,
                "max_perf": 1e9,
                "url": f"http://127.0.0.1:{worker}",
                "slots": 4_096,
            }
            answer = await self._pool.fetch("POST", "/worker_status/", msgspec.json.encode(said))
            assert answer.status == 200, answer

    async def for_ever(self) -> None:
        while True:
            await self.once()
            await asyncio.sleep(1)

    async def begin(self) -> None:
        """Report for the first time, as soon as there is an engine."""
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(OriginFailed):
                    return await self.once()
                await asyncio.sleep(0.1)


async def steady(url: str, path: str, body: Path, every_ms: int) -> Load:
    """One call over and over."""
    return await wrk(
        url,
        HERE / "steady.lua",
        *(path, str(body), str(every_ms)),
        connections=CONNECTIONS,
        seconds=SECONDS,
        core=REST_CORE,
    )


async def play(url: str, home: Path, rounds: int) -> tuple[list[Load], list[Load], list[float]]:
    """Routes alone, routes beside bad reports, and how many of those came a second, in turn."""
    bodies = {
        "route": {"endpoint": "llm", "api_key": "key", "cost": 1.0},
        "forged": {"id": 1, "mtoken": "token 2", "loadtime": 1.0, "max_perf": 1.0},
        "foreign": {"id": 99, "mtoken": "token 1", "loadtime": 1.0, "max_perf": 1.0},
        "none": ["no", "report"],
    }
    files = {name: home / f"{name}.json" for name in bodies}
    for name, body in bodies.items():
        files[name].write_bytes(msgspec.json.encode(body))
    quiet, loud, bad_per_s = [], [], []
    for _ in range(rounds):
        quiet.append(await steady(url, "/route/", files["route"], ROUTE_EVERY_MS))
        bad = [
            steady(url, "/worker_status/", files[name], BAD_EVERY_MS)
            for name in ("forged", "foreign", "none")
        ]
        beside, *others = await asyncio.gather(
            steady(url, "/route/", files["route"], ROUTE_EVERY_MS), *bad
        )
        loud.append(beside)
        bad_per_s.append(sum(each.per_s for each in others))
        # All of them are refused, and no route is.
        assert all(each.bad > 0.9 * each.per_s * SECONDS for each in others)
    assert not any(each.bad for each in quiet + loud)
    return quiet, loud, bad_per_s


async def main() -> None:
    """Measure, print and keep."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    port = free_ports(1)[0]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        command = (Path(sys.executable).parent / "mercato", "engine", "--standalone")
        engine = Program(
            *command, engine_file(home), "--port", port, core=ENGINE_CORE, cwd=home / "engine"
        )
        engine.start()
        try:
            honest = Reporting(url)
            await honest.begin()
            going = asyncio.create_task(honest.for_ever())
            quiet, loud, bad_per_s = await play(url, home, rounds)
            going.cancel()
        finally:
            engine.stop()
    rows = [
        (
            name,
            f"{median(each.per_s for each in loads):,.0f}",
            f"{bad:,.0f}",
            f"{median(each.p50_ms for each in loads):.2f}",
            f"{median(each.p99_ms for each in loads):.2f}",
        )
        for name, loads, bad in (
            ("routes alone", quiet, 0.0),
            ("beside bad reports", loud, median(bad_per_s)),
        )
    ]
    ratio = median(b.p99_ms / a.p99_ms for a, b in zip(quiet, loud, strict=True))
    rows.append(("ratio of the p99", "", "", "", f"{ratio:.2f}"))
    columns = ("", "routes/s", "bad reports/s", "p50 ms", "p99 ms")
    text = (
        f"Medians of {rounds} rounds of {SECONDS} s, one without bad reports and one with them "
        "in turn. The reports have another worker's token, the number of no worker, or are no "
        "reports; every one is refused. The engine has one core, all clients share the other."
    )
    report(
        __file__, "Routes beside a thousand bad reports a second", text, [Table("", columns, rows)]
    )


if __name__ == "__main__":
    asyncio.run(main())
