"""A serverless language model from nothing to two workers and back, with a live table.

Starts a market on this machine, makes a template, an endpoint and a worker group through the public
API, sends chat requests through the endpoint's OpenAI-compatible door, and prints what it took.
"""

import asyncio
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from rich.console import Console
from rich.live import Live
from rich.table import Table

IMAGE = "mercato/llm:1"
ENDPOINT = "smollm2"
REQUESTS = 12
AT_ONCE = 4
TOKENS = 24
QUESTIONS = (
    "Tell me about the sea.",
    "What is a market?",
    "Name three rivers.",
    "How do I boil an egg?",
)
READY_S = 120.0
QUIET_S = 600.0
"""All workers are asleep again within this."""


@dataclass
class Seen:
    """What the demonstration saw."""

    latencies_s: list[float] = field(default_factory=list)
    first_token_s: list[float] = field(default_factory=list)
    tokens: int = 0
    failed: list[str] = field(default_factory=list)
    awake_max: int = 0
    began_s: float = field(default_factory=time.monotonic)


class Market:
    """The market of this demonstration, as its renter."""

    def __init__(self, ready: dict[str, Any]) -> None:
        self.url: str = ready["url"]
        headers = {"Authorization": f"Bearer {ready['renter_key']}"}
        self.http = httpx2.AsyncClient(base_url=self.url, headers=headers, timeout=900)

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """One call of the API."""
        answer = await self.http.request(method, path, json=body)
        if answer.status_code != 200:
            sys.exit(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()

    async def set_up(self) -> int:
        """A template, an endpoint that scales to zero, a worker group; the endpoint's id."""
        template = await self.call(
            "POST",
            "/api/v0/template/",
            {
                "name": "SmolLM2 on the CPU",
                "image": IMAGE,
                "runtype": "ssh",
                "env": "-p 3000:3000",
                "onstart": "python3 /opt/worker/llm_worker.py",
                "recommended_disk_space": 4,
            },
        )
        endpoint = await self.call(
            "POST",
            "/api/v0/endptjobs/",
            {
                "endpoint_name": ENDPOINT,
                "min_load": 0,
                "cold_workers": 0,
                "max_workers": 2,
                "inactivity_timeout": 20,
                "policy": "queue",
            },
        )
        await self.call(
            "POST",
            "/api/v0/workergroups/",
            {
                "endpoint_id": endpoint["id"],
                "template_hash": template["template"]["hash_id"],
                "search_params": "num_gpus=1",
            },
        )
        return int(endpoint["id"])

    async def known(self, endpoint: int) -> None:
        """Until the engine knows the endpoint, which takes it a moment."""
        async with asyncio.timeout(10):
            while (
                await self.http.post("/get_endpoint_workers/", json={"id": endpoint})
            ).status_code != 200:
                await asyncio.sleep(0.1)

    async def workers(self, endpoint: int) -> list[dict[str, Any]]:
        """The endpoint's workers as the engine sees them."""
        found: list[dict[str, Any]] = await self.call(
            "POST", "/get_endpoint_workers/", {"id": endpoint}
        )
        return found

    async def chat(self, question: str, seen: Seen) -> None:
        """One streamed chat request through the endpoint's door."""
        body = {
            "model": ENDPOINT,
            "messages": [{"role": "user", "content": question}],
            "max_tokens": TOKENS,
            "stream": True,
        }
        began = time.monotonic()
        first: float | None = None
        url = f"/openai/{ENDPOINT}/v1/chat/completions"
        async with self.http.stream("POST", url, json=body) as answer:
            if answer.status_code != 200:
                seen.failed.append((await answer.aread()).decode()[:200])
                return
            async for line in answer.aiter_lines():
                if not line.startswith("data:") or line.endswith("[DONE]"):
                    continue
                choices = json.loads(line.removeprefix("data:")).get("choices")
                if choices and choices[0].get("delta", {}).get("content"):
                    first = first or time.monotonic() - began
                    seen.tokens += 1
        seen.latencies_s.append(time.monotonic() - began)
        seen.first_token_s.append(first or seen.latencies_s[-1])


@contextlib.asynccontextmanager
async def market_up(directory: Path) -> AsyncIterator[Market]:
    """A market on this machine, for as long as this is held."""
    ready = directory / "ready.json"
    program = str(Path(sys.executable).parent / "mercato")
    arguments = ["up", "--demo", "none", "--data", str(directory / "data"), "--port", "8480"]
    with (directory / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program, *arguments, "--ready-file", str(ready), stdout=log, stderr=log
        )
    try:
        until = time.monotonic() + READY_S
        while not ready.exists():
            if process.returncode is not None or time.monotonic() > until:
                sys.exit(f"the market does not come up: {(directory / 'log').read_text()[-500:]}")
            await asyncio.sleep(0.1)
        yield Market(json.loads(ready.read_text()))
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


def table(workers: list[dict[str, Any]], seen: Seen) -> Table:
    """The workers now, for people to look at."""
    elapsed = time.monotonic() - seen.began_s
    title = f"{elapsed:5.0f} s   {len(seen.latencies_s)} of {REQUESTS} answered"
    found = Table("WORKER", "STATE", "TOKENS/S", "REQUESTS", title=title)
    for worker in workers:
        perf = float(worker.get("measured_perf") or 0)
        found.add_row(
            str(worker["id"]),
            str(worker["status"]),
            f"{perf:.1f}" if perf else "-",
            str(worker.get("reqs_working", 0)),
        )
    return found


async def watch(market: Market, endpoint: int, seen: Seen, live: Live) -> None:
    """Keep the table true."""
    while True:
        workers = await market.workers(endpoint)
        awake = sum(worker["status"] == "idle" for worker in workers)
        seen.awake_max = max(seen.awake_max, awake)
        live.update(table(workers, seen))
        await asyncio.sleep(0.5)


async def until_quiet(market: Market, endpoint: int) -> None:
    """Until every worker sleeps again."""
    async with asyncio.timeout(QUIET_S):
        while True:
            workers = await market.workers(endpoint)
            if workers and all(worker["status"] == "stopped" for worker in workers):
                return
            await asyncio.sleep(0.5)


async def demonstrate(market: Market, console: Console) -> int:
    """Scale from zero, answer, scale to zero again; the exit status."""
    endpoint = await market.set_up()
    await market.known(endpoint)
    seen = Seen()
    gate = asyncio.Semaphore(AT_ONCE)

    async def ask(number: int) -> None:
        async with gate:
            await market.chat(QUESTIONS[number % len(QUESTIONS)], seen)

    with Live(table([], seen), console=console, refresh_per_second=4) as live:
        watching = asyncio.create_task(watch(market, endpoint, seen, live))
        await asyncio.gather(*(ask(number) for number in range(REQUESTS)))
        answered_s = time.monotonic() - seen.began_s
        await until_quiet(market, endpoint)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    await report(market, console, endpoint, seen, answered_s)
    return 1 if seen.failed or not seen.latencies_s else 0


async def report(
    market: Market, console: Console, endpoint: int, seen: Seen, answered_s: float
) -> None:
    """What it took, and why each worker started and slept."""
    for why in seen.failed:
        console.print(f"[red]failed:[/red] {why}")
    if seen.latencies_s:
        ranked, firsts = sorted(seen.latencies_s), sorted(seen.first_token_s)
        console.print(
            f"{len(ranked)} answers in {answered_s:.0f} s from nothing; latency p50 "
            f"{ranked[len(ranked) // 2]:.1f} s, slowest {ranked[-1]:.1f} s; first token p50 "
            f"{firsts[len(firsts) // 2]:.1f} s; {seen.tokens / answered_s:.1f} tokens/s; "
            f"at most {seen.awake_max} workers awake, none now"
        )
    now = int(time.time())  # noqa: TID251 - the bill of the day that this machine has
    window = json.dumps({"day": {"gte": now - 86_400, "lte": now + 60}})
    charges = await market.call("GET", f"/api/v0/charges/?select_filters={window}")
    cost = sum(charge["amount"] for charge in charges["results"])
    each = cost / max(1, seen.tokens) * 1_000_000
    console.print(f"cost so far ${cost:.6f}, ${each:.2f} a million tokens at these pretend prices")
    logs = await market.call("POST", "/get_endpoint_logs/", {"id": endpoint})
    console.print("Why:")
    for line in str(logs["info1"]).strip().splitlines()[-12:]:
        console.print(f"  {line}", highlight=False)


async def main() -> int:
    """Run the demonstration; its exit status."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="mercato-demo-") as directory:
        async with market_up(Path(directory)) as market:
            return await demonstrate(market, console)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
