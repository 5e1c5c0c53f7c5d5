"""The agent's connection, against a real server on a real socket."""

import asyncio
import contextlib
import random
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from aiohttp import WSMsgType, web

from mercato.agent import client, main
from mercato.agent.client import AgentTrouble
from mercato.agent.clock import SystemClock
from mercato.agent.main import Setup
from mercato.agent.memory import Memory
from mercato.agent.pretend_engine import PretendEngine
from mercato.agent.sync import Host
from mercato.market.instance import Actual
from mercato.wire.agent import (
    FRAME_BYTES_MAX,
    Answer,
    Ask,
    Desired,
    Execute,
    FromAgent,
    Join,
    Joined,
    Logs,
    Observed,
    Poke,
)
from tests.agent.builders import MACHINE, desired, wanted
from tests.agent.test_host import QUICK, living

TOKEN = "join-token"
KEY = "machine-key"


class Market:
    """The other end of the line."""

    def __init__(self) -> None:
        self.desired = desired()
        self.reports: list[Observed] = []
        self.answers: asyncio.Queue[Answer] = asyncio.Queue()
        self.connections: list[web.WebSocketResponse] = []
        self.heard = asyncio.Condition()
        self.close_code: int | None = None

    async def join(self, request: web.Request) -> web.Response:
        if request.headers["Authorization"] != f"Bearer {TOKEN}":
            return web.json_response({"msg": "no"}, status=401)
        msgspec.json.decode(await request.read(), type=Join)
        joined = Joined(machine=MACHINE, machine_key=KEY)
        return web.Response(body=msgspec.json.encode(joined), content_type="application/json")

    async def connect(self, request: web.Request) -> web.StreamResponse:
        if request.headers["Authorization"] != f"Bearer {KEY}":
            return web.json_response({"msg": "no"}, status=401)
        line = web.WebSocketResponse()
        await line.prepare(request)
        if self.close_code is not None:
            await line.close(code=self.close_code)
            return line
        self.connections.append(line)
        async for frame in line:
            assert frame.type is WSMsgType.TEXT
            heard = msgspec.json.decode(frame.data, type=FromAgent)
            if isinstance(heard, Answer):
                await self.answers.put(heard)
                continue
            self.reports.append(heard)
            await self.send(self.desired)
            async with self.heard:
                self.heard.notify_all()
        return line

    async def send(self, frame: Desired | Poke | Ask) -> None:
        await self.connections[-1].send_str(msgspec.json.encode(frame).decode())

    async def until_running(self, number: int) -> Observed:
        async with asyncio.timeout(10.0), self.heard:
            await self.heard.wait_for(
                lambda: any(
                    each.id == number and each.actual is Actual.RUNNING
                    for each in (self.reports[-1].instances if self.reports else ())
                )
            )
        return self.reports[-1]


@contextlib.asynccontextmanager
async def serving(market: Market) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/agent/v1/join", market.join)
    app.router.add_get("/agent/v1/connect", market.connect)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def connected(url: str, host: Host, key: str = KEY) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(client.stay_connected(url, key, host, random.Random(1)))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def a_host() -> contextlib.AbstractAsyncContextManager[Host]:
    return living(PretendEngine(SystemClock(), QUICK), Memory())


async def test_the_whole_each_way_over_one_line() -> None:
    market = Market()
    market.desired = desired(wanted(1))
    async with serving(market) as url, a_host() as host, connected(url, host):
        report = await market.until_running(1)
        assert report.desired_generation == 1
        generations = [each.generation for each in market.reports]
        assert generations == sorted(set(generations))
        await market.send(Ask(id=9, deadline_s=2.0, work=Execute(instance=1, command="true")))
        answer = await asyncio.wait_for(market.answers.get(), 5.0)
        assert (answer.id, answer.exit_code) == (9, 0)


async def test_a_poke_is_answered_at_once() -> None:
    market = Market()
    async with serving(market) as url, a_host() as host, connected(url, host):
        async with asyncio.timeout(5.0), market.heard:
            await market.heard.wait_for(lambda: len(market.reports) >= 1)
        market.desired = desired(wanted(1), generation=2)
        async with asyncio.timeout(2.0):
            await market.send(Poke())
            await market.until_running(1)


async def test_a_lost_line_is_taken_up_again() -> None:
    market = Market()
    market.desired = desired(wanted(1))
    async with serving(market) as url, a_host() as host, connected(url, host):
        before = await market.until_running(1)
        await market.connections[-1].close()
        async with asyncio.timeout(10.0), market.heard:
            await market.heard.wait_for(lambda: len(market.connections) == 2)
        after = await market.until_running(1)
        assert after.instances[0].started_at_ms == before.instances[0].started_at_ms


class TalkativeEngine(PretendEngine):
    """Its instances have printed more than a line takes at once."""

    def __init__(self, printed: str) -> None:
        super().__init__(SystemClock(), QUICK)
        self._printed = printed

    async def logs(self, instance: int, tail: int) -> str:
        return f"{self._printed}the last {tail} of {instance}\n"


@pytest.mark.parametrize("printed", ["a long line\n" * 500_000, "\0" * 1_000_000, "é🦆" * 900_000])
async def test_of_an_answer_that_is_too_long_the_last_part_comes(printed: str) -> None:
    market = Market()
    host = living(TalkativeEngine(printed), Memory())
    async with serving(market) as url, host as talkative, connected(url, talkative):
        async with asyncio.timeout(5.0), market.heard:
            await market.heard.wait_for(lambda: len(market.reports) >= 1)
        await market.send(Ask(id=1, deadline_s=9.0, work=Logs(instance=4, tail=7)))
        answer = await asyncio.wait_for(market.answers.get(), 9.0)
        assert len(market.connections) == 1
    note, _, rest = answer.output.partition("\n")
    whole = len(printed) + len("the last 7 of 4\n")
    assert note == f"[cut: the first {whole - len(rest)} of {whole} characters are left out]"
    assert rest.endswith("the last 7 of 4\n")
    assert len(msgspec.json.encode(answer)) > 0.9 * FRAME_BYTES_MAX


async def test_a_wrong_key_is_final() -> None:
    async with serving(Market()) as url, a_host() as host, connected(url, host, "wrong") as task:
        with pytest.raises(AgentTrouble, match="machine key is wrong"):
            await asyncio.wait_for(task, 5.0)


@pytest.mark.parametrize(
    ("code", "said"),
    [(4401, "key is wrong"), (4403, "key is wrong"), (4410, "taken off"), (4426, "version")],
)
async def test_a_final_close_code_is_final(code: int, said: str) -> None:
    market = Market()
    market.close_code = code
    async with serving(market) as url, a_host() as host, connected(url, host) as task:
        with pytest.raises(AgentTrouble, match=said):
            await asyncio.wait_for(task, 5.0)


async def test_joining_keeps_the_key_private(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(Market()) as url:
        assert await main.join(url, TOKEN, data, Setup(pretend=True)) == MACHINE
        assert main.joined_machine(data) == MACHINE
        assert stat.S_IMODE((data / "machine.json").stat().st_mode) == 0o600
        with pytest.raises(AgentTrouble, match="already belongs to a machine"):
            await main.join(url, TOKEN, data, Setup(pretend=True))
        with pytest.raises(AgentTrouble, match="join token is wrong"):
            await main.join(url, "wrong", tmp_path / "other", Setup(pretend=True))
        assert main.joined_machine(tmp_path / "other") is None


async def test_a_joined_machine_runs(tmp_path: Path) -> None:
    market = Market()
    market.desired = desired(wanted(1))
    async with serving(market) as url:
        await main.join(url, TOKEN, tmp_path / "data", Setup(pretend=True))
        task = asyncio.create_task(main.run(tmp_path / "data", stop_all=True))
        await market.until_running(1)
        with pytest.raises(AgentTrouble, match="another agent already runs"):
            await main.run(tmp_path / "data")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_trouble_is_one_line_and_a_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["run", "--data", str(tmp_path)]) == 1
    assert main.main(["join", "http://127.0.0.1:9", "t", "--data", str(tmp_path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "run `agent join` first" in lines[0]
    assert "cannot be reached" in lines[1]
