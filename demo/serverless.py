"""A serverless language model from nothing to two workers and back, with a live table.

Starts a market on this machine, makes a template, an endpoint and a worker group through the public
API, chats through the endpoint's OpenAI-compatible door until two workers serve, then leaves, and
waits until both sleep. Prints what it took. Ends by itself; what it started is gone then.
"""

import asyncio
import contextlib
import json
import shutil
import signal
import socket
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
ANSWERS = 24
"""At least as many are wanted, and two workers awake at once."""
PEOPLE = 12
TOKENS = 24
QUESTIONS = (
    "Tell me about the sea.",
    "What is a market?",
    "Name three rivers.",
    "How do I boil an egg?",
)
READY_S = 120.0
"""The market is up within this."""
BOUND_S = 900.0
"""All of it is over within this, the end of the market not counted; three minutes is usual."""
STOP_S = 60.0


class Failed(Exception):  # noqa: N818 - one line for whoever watches
    """The demonstration cannot go on; the message says why."""


@dataclass
class Seen:
    """What the demonstration saw."""

    latencies_s: list[float] = field(default_factory=list)
    first_token_s: list[float] = field(default_factory=list)
    tokens: int = 0
    failed: list[str] = field(default_factory=list)
    answered_s: float = 0.0
    """When the last chat was answered."""
    awake_max: int = 0
    states: dict[int, str] = field(default_factory=dict)
    began_s: float = field(default_factory=time.monotonic)

    @property
    def elapsed_s(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.began_s

    @property
    def enough(self) -> bool:
        """Whether everything has been shown that the chats can show."""
        return len(self.latencies_s) >= ANSWERS and self.awake_max >= 2


class Market:
    """The market of this demonstration, as its renter."""

    def __init__(self, ready: dict[str, Any]) -> None:
        headers = {"Authorization": f"Bearer {ready['renter_key']}"}
        self.http = httpx2.AsyncClient(base_url=ready["url"], headers=headers, timeout=BOUND_S)

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """One call of the API. Raises Failed when it is refused."""
        answer = await self.http.request(method, path, json=body)
        if answer.status_code != 200:
            raise Failed(f"{method} {path}: {answer.status_code} {answer.text}")
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
        body = {"id": endpoint}
        while (await self.http.post("/get_endpoint_workers/", json=body)).status_code != 200:
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
    """A market on this machine, for as long as this is held; its containers end with it."""
    ready = directory / "ready.json"
    program = str(Path(sys.executable).parent / "mercato")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    arguments = ["up", "--demo", "none", "--data", str(directory / "data"), "--port", port]
    with (directory / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            *("--ready-file", str(ready)),
            stdout=log,
            stderr=log,
            # Ctrl-C is for this program alone, which ends the other in its turn.
            start_new_session=True,
        )
    try:
        async with asyncio.timeout(READY_S):
            while not ready.exists():
                if process.returncode is not None:
                    raise Failed(f"the market ended with status {process.returncode}")
                await asyncio.sleep(0.1)
        yield Market(json.loads(ready.read_text()))
    except TimeoutError as late:
        raise Failed(f"the market is not up after {READY_S:.0f} s") from late
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()


def table(workers: list[dict[str, Any]], seen: Seen) -> Table:
    """The workers now, for people to look at."""
    title = f"{seen.elapsed_s:5.0f} s   {len(seen.latencies_s)} chats answered"
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
    """Keep the table true, and tell of each change."""
    while True:
        workers = await market.workers(endpoint)
        awake = sum(worker["status"] == "idle" for worker in workers)
        seen.awake_max = max(seen.awake_max, awake)
        for worker in workers:
            if seen.states.get(worker["id"]) != worker["status"]:
                seen.states[worker["id"]] = worker["status"]
                tell(live.console, seen, f"worker {worker['id']} is {worker['status']}")
        live.update(table(workers, seen))
        await asyncio.sleep(0.5)


def tell(console: Console, seen: Seen, line: str) -> None:
    """A line about what has just happened."""
    console.print(f"{seen.elapsed_s:5.0f} s  {line}", highlight=False)


async def until_quiet(seen: Seen) -> None:
    """Until every worker sleeps again, as the one who watches sees it."""
    while set(seen.states.values()) != {"stopped"}:
        await asyncio.sleep(0.5)


async def chats(market: Market, seen: Seen) -> None:
    """People who chat, one question after another, until everything was shown."""

    async def person(number: int) -> None:
        while not seen.enough and len(seen.failed) < PEOPLE:
            await market.chat(QUESTIONS[number % len(QUESTIONS)], seen)

    await asyncio.gather(*(person(number) for number in range(PEOPLE)))


async def demonstrate(market: Market, console: Console) -> None:
    """Scale from zero, answer, scale to zero again. Raises Failed."""
    endpoint = await market.set_up()
    await market.known(endpoint)
    seen = Seen()
    with Live(table([], seen), console=console, refresh_per_second=4) as live:
        tell(console, seen, f"there is no worker; {PEOPLE} people begin to chat")
        watching = asyncio.create_task(watch(market, endpoint, seen, live))
        acting = asyncio.create_task(_act(market, console, seen))
        try:
            done, _ = await asyncio.wait(
                {watching, acting}, timeout=BOUND_S, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in (watching, acting):
                task.cancel()
            await asyncio.gather(watching, acting, return_exceptions=True)
    if not done:
        raise Failed(f"it is not over after {BOUND_S:.0f} s; is this machine busy?")
    for task in done:
        task.result()
    await report(market, console, endpoint, seen)


async def _act(market: Market, console: Console, seen: Seen) -> None:
    """Chat, then wait until all is quiet."""
    await chats(market, seen)
    seen.answered_s = seen.elapsed_s
    if seen.failed:
        raise Failed(f"a chat failed: {seen.failed[0]}")
    tell(console, seen, "everybody has left; the workers have a minute to get bored")
    await until_quiet(seen)
    tell(console, seen, "both sleep: only their disks cost anything now")


async def report(market: Market, console: Console, endpoint: int, seen: Seen) -> None:
    """What it took, and why each worker started and slept."""
    answered_s = seen.answered_s
    ranked, firsts = sorted(seen.latencies_s), sorted(seen.first_token_s)
    console.print(
        f"\n{len(ranked)} answers in {answered_s:.0f} s from nothing; latency p50 "
        f"{ranked[len(ranked) // 2]:.1f} s, slowest {ranked[-1]:.1f} s; first token p50 "
        f"{firsts[len(firsts) // 2]:.1f} s; {seen.tokens / answered_s:.1f} tokens/s; "
        f"at most {seen.awake_max} workers awake, none now",
        soft_wrap=True,
    )
    now = int(time.time())  # noqa: TID251 - the bill of the day that this machine has
    window = json.dumps({"day": {"gte": now - 86_400, "lte": now + 60}})
    charges = await market.call("GET", f"/api/v0/charges/?select_filters={window}")
    cost = sum(charge["amount"] for charge in charges["results"])
    each = cost / max(1, seen.tokens) * 1_000_000
    bill = f"cost so far ${cost:.6f}, ${each:.2f} a million tokens at these pretend prices"
    console.print(bill, soft_wrap=True)
    logs = await market.call("POST", "/get_endpoint_logs/", {"id": endpoint})
    console.print("Why:")
    for line in str(logs["info1"]).strip().splitlines()[-12:]:
        console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)


async def main() -> int:
    """Run the demonstration; its exit status."""
    console = Console()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    directory = Path(tempfile.mkdtemp(prefix="mercato-demo-"))
    console.print(f"A market comes up on this machine; its log is {directory / 'log'}")
    try:
        async with market_up(directory) as market:
            await demonstrate(market, console)
    except (Failed, httpx2.HTTPError) as why:
        console.print(f"[red]The demonstration failed:[/red] {why!s:.500}")
        console.print(f"What happened is in {directory / 'log'}")
        return 1
    except asyncio.CancelledError:
        console.print("Stopped.")
        shutil.rmtree(directory)
        return 130
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
